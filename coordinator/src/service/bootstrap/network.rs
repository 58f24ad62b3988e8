//! The range of addresses of Services, and the Service by which pods reach the API.

use std::net::IpAddr;

use dunlin_api::{Kind, Status, kind, time::format_time};
use serde_json::{Value, json};

use crate::service::{ApiService, ObjectRef, User};

impl ApiService {
    /// Makes the range and the Service `kubernetes` where they are missing.
    pub(super) async fn ensure_network(&self) -> Result<(), Status> {
        let user = User::controller_manager();
        let network = self.service_network();
        let range =
            ObjectRef { kind: kind_of("networking.k8s.io/v1", "ServiceCIDR"), namespace: "", name: NAME };
        if self.read_value(range).await?.is_none() {
            let object = json!({
                "metadata": {"name": NAME, "finalizers": [RANGE_FINALIZER]},
                "spec": {"cidrs": [network.addresses.to_string()]},
            });
            self.create(&user, range.kind, "", object).await?;
        }
        self.modify(&user, range, "status", None, |object| self.mark_ready(object)).await?;
        let service = ObjectRef { kind: kind_of("v1", "Service"), namespace: NAMESPACE, name: NAME };
        if self.read_value(service).await?.is_none() {
            let object = json!({
                "metadata": {"name": NAME, "labels": {"component": "apiserver", "provider": "kubernetes"}},
                "spec": {
                    "clusterIP": network.api_address().to_string(),
                    "ports": [{"name": PORT_NAME, "port": 443, "targetPort": API_PORT}],
                },
            });
            self.create(&user, service.kind, NAMESPACE, object).await?;
        }
        Ok(())
    }

    /// Tells pods where the API is: its Service leads to these addresses, at this port.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn publish_api(&self, addresses: &[IpAddr], port: u16) -> Result<(), Status> {
        let user = User::controller_manager();
        let port_of = |value: &Value| value["spec"]["ports"][0]["targetPort"].clone();
        let service = ObjectRef { kind: kind_of("v1", "Service"), namespace: NAMESPACE, name: NAME };
        self.modify(&user, service, "", None, |object| {
            let is_other = port_of(object) != port;
            object["spec"]["ports"][0]["targetPort"] = port.into();
            is_other
        })
        .await?;
        let mut texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        let ips: Vec<Value> = texts.iter().map(|address| json!({"ip": address})).collect();
        let subsets = if ips.is_empty() {
            json!([])
        } else {
            json!([{"addresses": ips, "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}]}])
        };
        let endpoints = json!({
            "metadata": {"name": NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": subsets,
        });
        self.write(kind_of("v1", "Endpoints"), endpoints, &["subsets"]).await?;
        let is_ipv6 = addresses.first().is_some_and(IpAddr::is_ipv6);
        let endpoints =
            texts.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": true}}));
        let slice = json!({
            "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
            "addressType": if is_ipv6 { "IPv6" } else { "IPv4" },
            "endpoints": endpoints.collect::<Vec<_>>(),
            "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
        });
        self.write(kind_of("discovery.k8s.io/v1", "EndpointSlice"), slice, &["endpoints", "ports"]).await
    }

    /// Creates an object of the API's namespace, or gives it these fields.
    async fn write(&self, kind: &'static Kind, object: Value, fields: &[&str]) -> Result<(), Status> {
        let user = User::controller_manager();
        let target = ObjectRef { kind, namespace: NAMESPACE, name: NAME };
        if self.read_value(target).await?.is_none() {
            return self.create(&user, kind, NAMESPACE, object).await.map(drop);
        }
        let change = |current: &mut Value| {
            for field in fields {
                current[*field] = object[*field].clone();
            }
            true
        };
        self.modify(&user, target, "", None, change).await?;
        Ok(())
    }

    fn mark_ready(&self, range: &mut Value) -> bool {
        let conditions = range["status"]["conditions"].as_array().into_iter().flatten();
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        if conditions.into_iter().any(is_ready) {
            return false;
        }
        range["status"] = json!({"conditions": [{
            "type": "Ready",
            "status": "True",
            "lastTransitionTime": format_time(self.clock().now()),
            "reason": "",
            "message": "Kubernetes Service CIDR is ready",
        }]});
        true
    }
}

fn kind_of(api_version: &str, name: &str) -> &'static Kind {
    kind::by_kind(api_version, name).expect("the registry has the kinds of a cluster's network")
}

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
const PORT_NAME: &str = "https";
/// Where the API is until its socket says otherwise.
const API_PORT: u16 = 6443;
/// Keeps a range until no Service has an address of it.
const RANGE_FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

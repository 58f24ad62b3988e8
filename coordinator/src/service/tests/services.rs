//! Addresses and ports of Services.

use dunlin_link::rpc::Method;
use serde_json::{Value, json};

use super::{Fixture, Request};
use crate::service::{ServiceNetwork, numbers::ip_address_kind, stored};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

async fn addresses(fixture: &Fixture) -> Vec<String> {
    let found = fixture.service.all_below(&stored::prefix(ip_address_kind(), "")).await.unwrap();
    found.iter().map(|item| item.key.rsplit('/').next().unwrap().to_owned()).collect()
}

async fn ports(fixture: &Fixture) -> Vec<String> {
    let found = fixture.service.all_below("/dunlin/nodeports/").await.unwrap();
    found.iter().map(|item| item.key.rsplit('/').next().unwrap().to_owned()).collect()
}

/// A fixture whose cluster has no Service of its own.
async fn fixture(range: &str, node_ports: std::ops::RangeInclusive<u16>) -> Fixture {
    let fixture = Fixture::start_with(|service| {
        service.attach_network(ServiceNetwork { addresses: range.parse().unwrap(), node_ports });
    });
    fixture.await
}

#[tokio::test]
async fn an_address_is_recorded_and_given_back() {
    let fixture = Fixture::start().await;
    let own = addresses(&fixture).await;
    let made = fixture.create(SERVICES, &service("a", json!({"clusterIP": "10.43.9.9"}))).await;
    assert_eq!(made["spec"]["clusterIPs"], json!(["10.43.9.9"]));
    let path = "/apis/networking.k8s.io/v1/ipaddresses/10.43.9.9";
    let record = fixture.get(path).await;
    assert_eq!(
        record["spec"],
        json!({"parentRef": {"resource": "services", "namespace": "default", "name": "a"}})
    );
    assert_eq!(record["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"], "IPv4");
    let same = service("b", json!({"clusterIP": "10.43.9.9"}));
    let refused = fixture.expect(422, Request::new(Method::Post, SERVICES).with_body(&same)).await;
    assert_eq!(
        refused["message"],
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.9.9\"]: failed to allocate IP 10.43.9.9: \
         provided IP is already allocated"
    );
    let name = json!({"spec": {"type": "ExternalName", "externalName": "x.example"}});
    let request = Request::new(Method::Patch, &format!("{SERVICES}/a")).with_body(&name);
    fixture.expect(200, request.of_type("application/merge-patch+json")).await;
    assert_eq!(addresses(&fixture).await, own, "an ExternalName has no address");
    fixture.create(SERVICES, &service("c", json!({}))).await;
    assert_eq!(addresses(&fixture).await.len(), own.len() + 1);
    fixture.expect(200, Request::new(Method::Delete, &format!("{SERVICES}/c"))).await;
    assert_eq!(addresses(&fixture).await, own);
}

#[tokio::test]
async fn ports_of_nodes_are_recorded_and_given_back() {
    let fixture = Fixture::start().await;
    let port = json!([{"port": 80, "nodePort": 30080}]);
    fixture.create(SERVICES, &service("a", json!({"type": "NodePort", "ports": port}))).await;
    assert_eq!(ports(&fixture).await, ["30080"]);
    let same = service("b", json!({"type": "NodePort", "ports": port}));
    let refused = fixture.expect(422, Request::new(Method::Post, SERVICES).with_body(&same)).await;
    assert_eq!(
        refused["message"],
        "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    let other = json!({"spec": {"ports": [{"port": 80, "nodePort": 30081}]}});
    let request = Request::new(Method::Patch, &format!("{SERVICES}/a")).with_body(&other);
    fixture.expect(200, request.of_type("application/merge-patch+json")).await;
    assert_eq!(ports(&fixture).await, ["30081"]);
    fixture.expect(200, Request::new(Method::Delete, &format!("{SERVICES}/a"))).await;
    assert_eq!(ports(&fixture).await, [""; 0]);
}

#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let fixture = Fixture::start().await;
    let own = addresses(&fixture).await;
    let body = service("a", json!({"type": "NodePort"}));
    let request = Request::new(Method::Post, SERVICES).with_body(&body).with_query("dryRun", "All");
    let answered = fixture.expect(201, request).await;
    assert!(answered["spec"]["clusterIP"].as_str().unwrap().starts_with("10.43."));
    assert!(answered["spec"]["ports"][0]["nodePort"].as_u64().unwrap() >= 30_000);
    assert_eq!((addresses(&fixture).await, ports(&fixture).await), (own, Vec::new()));
}

#[tokio::test]
async fn a_range_that_is_used_up_says_so() {
    let fixture = fixture("10.43.0.0/29", 30_000..=30_001).await;
    // The first of six is the API's own.
    for count in 0..5 {
        fixture.create(SERVICES, &service(&format!("s{count}"), json!({}))).await;
    }
    let request = Request::new(Method::Post, SERVICES).with_body(&service("more", json!({})));
    let refused = fixture.expect(500, request).await;
    assert_eq!(refused["message"], "Internal error occurred: failed to allocate a serviceIP: range is full");
    fixture.expect(200, Request::new(Method::Delete, &format!("{SERVICES}/s0"))).await;
    let three = json!([{"port": 1, "name": "a"}, {"port": 2, "name": "b"}, {"port": 3, "name": "c"}]);
    let body = service("ports", json!({"type": "NodePort", "ports": three}));
    let refused = fixture.expect(500, Request::new(Method::Post, SERVICES).with_body(&body)).await;
    assert_eq!(refused["message"], "Internal error occurred: failed to allocate a nodePort: range is full");
}

#[tokio::test]
async fn services_made_at_once_have_different_numbers() {
    let fixture = fixture("10.43.0.0/26", 30_000..=30_039).await;
    let body = |count: usize| service(&format!("s{count}"), json!({"type": "NodePort"}));
    let made = futures_util::future::join_all((0..40).map(|count| {
        let fixture = &fixture;
        async move { fixture.create(SERVICES, &body(count)).await }
    }));
    let mut ports: Vec<u64> =
        made.await.iter().map(|made| made["spec"]["ports"][0]["nodePort"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, (30_000..30_040).collect::<Vec<_>>());
    assert_eq!(addresses(&fixture).await.len(), 41);
}

#[tokio::test]
async fn the_api_is_a_service() {
    let fixture = Fixture::start().await;
    let service = fixture.get(&format!("{SERVICES}/kubernetes")).await;
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}])
    );
    let range = fixture.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    assert_eq!(range["spec"]["cidrs"], json!(["10.43.0.0/16"]));
    assert_eq!(range["status"]["conditions"][0]["status"], "True");
    // It is made again when somebody removes it, and otherwise left alone.
    fixture.expect(200, Request::new(Method::Delete, &format!("{SERVICES}/kubernetes"))).await;
    fixture.service.bootstrap().await.unwrap();
    let again = fixture.get(&format!("{SERVICES}/kubernetes")).await;
    assert_eq!(again["spec"]["clusterIP"], "10.43.0.1");
    fixture.service.bootstrap().await.unwrap();
    assert_eq!(fixture.get(&format!("{SERVICES}/kubernetes")).await, again);
}

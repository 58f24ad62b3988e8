//! Which port of which pod is meant; in the words of Kubernetes' API server.

use dunlin_api::{Kind, LabelSelector, Status, kind};
use dunlin_coordinator_core::mirror;
use dunlin_link::{NodeName, PodUid};
use rand::seq::SliceRandom as _;
use serde_json::Value;

use super::super::{
    ApiService, ObjectRef,
    options::{At, ListRequest, Selection},
    path::{ResourceRequest, Verb},
    served,
};

/// A port of a pod.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) node: NodeName,
    pub(super) uid: PodUid,
    pub(super) port: u16,
}

/// `[SCHEME:]NAME[:PORT]`, as requests name what they mean.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    /// `None` when it is something else.
    fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match *parts.as_slice() {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some(Self { scheme, name, port })
    }
}

/// Where a request may go, one after the other.
#[derive(Debug)]
pub(super) struct Targets {
    namespace: String,
    /// Endpoints of a service that were not looked at so far; the last is next.
    endpoints: Vec<Endpoint>,
    /// What was found and is left for last: the one pod that was asked for, or pods that are about to go.
    found: Vec<Target>,
}

impl ApiService {
    /// Looks for what a request means.
    pub(super) async fn proxy_targets(&self, request: &ResourceRequest) -> Result<Targets, Status> {
        if request.kind.kind == "Node" {
            let message = "proxying to nodes is not served: a node has no API of its own";
            return Err(Status::failure(501, "NotImplemented", message));
        }
        let what = request.kind.singular;
        let named = Named::parse(&request.name);
        let named =
            named.ok_or_else(|| Status::bad_request(format!("invalid {what} request {:?}", request.name)))?;
        if named.scheme == "https" {
            return Err(super::unreachable(
                "https is not spoken with pods, whose traffic travels inside the node's link",
            ));
        }
        let mut targets =
            Targets { namespace: request.namespace.clone(), endpoints: Vec::new(), found: Vec::new() };
        match request.kind.kind {
            "Pod" => {
                let object =
                    ObjectRef { kind: request.kind, namespace: &request.namespace, name: named.name };
                let pod = self.read(object).await?;
                let port = if named.port.is_empty() { first_port(&pod) } else { port_number(named.port)? };
                let target = bound(&pod, port).ok_or_else(|| Status::bad_request("address not allowed"))?;
                targets.found.push(target);
            }
            _ => targets.endpoints = self.service_endpoints(request, &named).await?,
        }
        Ok(targets)
    }

    /// The next place to try; `None` when there is no more.
    pub(super) async fn next_target(&self, targets: &mut Targets) -> Result<Option<Target>, Status> {
        while let Some(Endpoint { address, pod, port }) = targets.endpoints.pop() {
            let object = ObjectRef { kind: pod_kind(), namespace: &targets.namespace, name: &pod };
            let pod = match self.read(object).await {
                // Somebody's endpoints are not to lead to another's pod.
                Ok(pod) if has_address(&pod, &address) => pod,
                Ok(_) => continue,
                Err(status) if status.code() == 404 => continue,
                Err(status) => return Err(status),
            };
            match bound(&pod, port) {
                // Its slice does not say so yet, or says it all the same.
                Some(target) if !pod["metadata"]["deletionTimestamp"].is_null() => targets.found.push(target),
                Some(target) => return Ok(Some(target)),
                None => {}
            }
        }
        Ok(targets.found.pop())
    }

    /// The ready endpoints of a service, in any order.
    async fn service_endpoints(
        &self,
        request: &ResourceRequest,
        named: &Named<'_>,
    ) -> Result<Vec<Endpoint>, Status> {
        let object = ObjectRef { kind: request.kind, namespace: &request.namespace, name: named.name };
        let service = self.read(object).await?;
        let port = port_name(&service, named)?;
        let labels = LabelSelector::parse(&format!("{SERVICE_NAME}={}", named.name));
        let labels = labels.map_err(|error| Status::bad_request(error.to_string()))?;
        let slices = slice_kind();
        let collection = ResourceRequest::of_collection(Verb::List, slices, &request.namespace);
        let selection = Selection { labels, ..Selection::default() };
        let found = self.find(&collection, &ListRequest { selection, at: At::Newest, limit: None }).await?;
        let mut endpoints = Vec::new();
        for item in &found.items {
            endpoints.extend(usable(&served::decode(slices, &item.value, item.mod_revision)?, &port));
        }
        endpoints.shuffle(&mut rand::rng());
        Ok(endpoints)
    }
}

/// An address behind a service that is a pod's.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    address: String,
    pod: String,
    port: u16,
}

/// The name of the service's port that is meant.
fn port_name(service: &Value, named: &Named<'_>) -> Result<String, Status> {
    let Ok(number) = named.port.parse::<i64>() else { return Ok(named.port.to_owned()) };
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found = ports.into_iter().find(|port| port["port"] == number);
    let found = found.ok_or_else(|| {
        let why = format!("no service port {number} found for service {:?}", named.name);
        Status::service_unavailable(why)
    })?;
    Ok(found["name"].as_str().unwrap_or_default().to_owned())
}

/// The endpoints of a slice that are ready and of this namespace's pods, if it has the port.
fn usable(slice: &Value, port: &str) -> Vec<Endpoint> {
    let list = |object: &Value, field: &str| object[field].as_array().cloned().unwrap_or_default();
    let ports = list(slice, "ports");
    let number = ports.iter().find(|known| known["name"].as_str().unwrap_or_default() == port);
    let Some(port) = number.and_then(|known| u16::try_from(known["port"].as_u64()?).ok()) else {
        return Vec::new();
    };
    let namespace = &slice["metadata"]["namespace"];
    let ready = list(slice, "endpoints").into_iter().filter(|endpoint| {
        let target = &endpoint["targetRef"];
        endpoint["conditions"]["ready"] != false
            && target["kind"] == "Pod"
            && target["namespace"] == *namespace
    });
    let endpoint = |endpoint: Value| {
        let address = endpoint["addresses"][0].as_str()?.to_owned();
        Some(Endpoint { address, pod: endpoint["targetRef"]["name"].as_str()?.to_owned(), port })
    };
    ready.filter_map(endpoint).collect()
}

fn has_address(pod: &Value, address: &str) -> bool {
    let further = pod["status"]["podIPs"].as_array().into_iter().flatten().map(|known| &known["ip"]);
    std::iter::once(&pod["status"]["podIP"]).chain(further).any(|known| known == address)
}

/// The first port that a container declares, or HTTP's own.
fn first_port(pod: &Value) -> u16 {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.filter_map(|container| container["ports"][0]["containerPort"].as_u64());
    ports.filter_map(|port| u16::try_from(port).ok()).next().unwrap_or(HTTP)
}

fn port_number(port: &str) -> Result<u16, Status> {
    port.parse().map_err(|_| super::unreachable(format!("{port:?} is no number of a port")))
}

/// `None` while the pod is on no node.
fn bound(pod: &Value, port: u16) -> Option<Target> {
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())?;
    Some(Target { node: NodeName::new(node), uid: PodUid::new(mirror::uid_on_node(pod)), port })
}

fn slice_kind() -> &'static Kind {
    kind::by_kind("discovery.k8s.io/v1", "EndpointSlice").expect("the registry has endpoint slices")
}

fn pod_kind() -> &'static Kind {
    kind::by_kind("v1", "Pod").expect("the registry has pods")
}

/// Label of the slices of a service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The port of a pod that declares none.
const HTTP: u16 = 80;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_have_up_to_three_parts() {
        let check = |id: &str, expected: Option<(&str, &str, &str)>| {
            let found = Named::parse(id).map(|named| (named.scheme, named.name, named.port));
            assert_eq!(found, expected, "{id}");
        };
        check("p", Some(("", "p", "")));
        check("p:80", Some(("", "p", "80")));
        check("http:p:80", Some(("http", "p", "80")));
        check("https:p:", Some(("https", "p", "")));
        check("ftp:p:80", None);
        check(":80", None);
        check("a:b:c:d", None);
    }

    #[test]
    fn ports_of_services_are_found_by_number() {
        let service = json!({"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 81}]}});
        let check = |port: &str, expected: Result<&str, &str>| {
            let found = port_name(&service, &Named { scheme: "", name: "s", port });
            assert_eq!(found.as_deref().map_err(Status::message), expected, "{port}");
        };
        check("80", Ok("web"));
        check("81", Ok(""));
        check("web", Ok("web"));
        check("", Ok(""));
        check("82", Err("no service port 82 found for service \"s\""));
    }

    #[test]
    fn endpoints_are_ready_pods_of_the_namespace() {
        let endpoint = |pod: &str, namespace: &str, ready: Value| {
            json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}})
        };
        let slice = json!({
            "metadata": {"namespace": "d"},
            "ports": [{"name": "web", "port": 8080}],
            "endpoints": [endpoint("a", "d", Value::Null), endpoint("b", "e", true.into()),
                endpoint("c", "d", false.into()), json!({"addresses": ["10.0.0.2"]})],
        });
        let expected = Endpoint { address: "10.0.0.1".to_owned(), pod: "a".to_owned(), port: 8080 };
        assert_eq!(usable(&slice, "web"), [expected]);
        assert_eq!(usable(&slice, "other"), []);
    }
}

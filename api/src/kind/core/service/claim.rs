//! What a Service has to itself in the whole cluster.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};

use super::{
    KIND,
    allocate::{unavailable_address, unavailable_port},
    needs_address, needs_health_check, needs_node_ports, node_ports, ports,
};
use crate::{
    Status,
    value::{list, text},
};

/// A number that one Service has and no other may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// An address inside the cluster.
    Address(IpAddr),
    /// A port of every node.
    NodePort(u16),
}

/// What a Service has to itself.
pub fn claims(service: &Value) -> BTreeSet<Claim> {
    let spec = &service["spec"];
    let addresses = list(spec, "clusterIPs").iter().filter(|_| needs_address(spec));
    let addresses = addresses.filter_map(Value::as_str).filter_map(|address| address.parse().ok());
    let ports = needs_node_ports(spec).then(|| node_ports(spec));
    let health = spec["healthCheckNodePort"].as_i64().filter(|_| needs_health_check(spec));
    let ports = ports.into_iter().flatten().chain(health).filter_map(|port| u16::try_from(port).ok());
    let ports = ports.filter(|port| *port != 0).map(Claim::NodePort);
    addresses.map(Claim::Address).chain(ports).collect()
}

impl Claim {
    /// The refusal of a Service that asks for what another one has.
    pub fn taken(self, service: &Value) -> Status {
        let name = text(&service["metadata"], "name");
        let spec = &service["spec"];
        let error = match self {
            Self::Address(address) => {
                unavailable_address(spec, &address.to_string(), "provided IP is already allocated")
            }
            Self::NodePort(port) => {
                let why = "provided port is already allocated";
                let asks = |asked: &Value| asked["nodePort"] == port;
                match list(spec, "ports").iter().position(asks) {
                    Some(position) => unavailable_port(position, port.into(), why),
                    None => return ports::unavailable_health_check(port.into(), why),
                }
            }
        };
        Status::invalid(&KIND, name, &[error])
    }

    /// The IPAddress object that says whose the address is; `None` for a port, which has none.
    pub fn ip_address(self, namespace: &str, name: &str) -> Option<Value> {
        let Self::Address(address) = self else { return None };
        Some(json!({
            "metadata": {
                "name": address.to_string(),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": crate::ip::family(address),
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": { "parentRef": { "resource": "services", "namespace": namespace, "name": name } },
        }))
    }
}

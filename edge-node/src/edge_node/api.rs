//! Where the node's pods find the API.

use dunlin_edge_node_core::env::ApiAddress;

use crate::{sandbox::ContainerKit, session::Identity};

/// The address that pods get. Where it is one of the machine's loopback, those on a bridge of the node get another, which leads there.
pub(super) fn for_pods(
    identity: Option<&Identity>,
    coordinators: &[String],
    containers: Option<&ContainerKit>,
) -> Option<ApiAddress> {
    let usual = address(identity, coordinators)?;
    let host_from_networks = containers
        .filter(|_| is_loopback(&usual.host))
        .and_then(|kit| kit.network.lead_to(&usual))
        .map(|gateway| gateway.to_string());
    Some(ApiAddress { host_from_networks, ..usual })
}

/// The address of those at which the node calls the coordinator that its pods get. HTTPS is served on the same port number.
fn address(identity: Option<&Identity>, coordinators: &[String]) -> Option<ApiAddress> {
    match identity {
        Some(identity) if coordinators.is_empty() => best(identity.addresses()),
        _ => best(coordinators),
    }
}

/// In a network of its own a pod does not reach the node's loopback, so others come first.
fn best(coordinators: &[String]) -> Option<ApiAddress> {
    let known: Vec<_> = coordinators.iter().filter_map(|text| parse(text)).collect();
    known.iter().find(|address| !is_loopback(&address.host)).or_else(|| known.first()).cloned()
}

fn parse(text: &str) -> Option<ApiAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(ApiAddress::new(host, port.parse().ok()?))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_an_address_that_is_not_the_machines_own() {
        let check = |coordinators: &[&str], expected: Option<(&str, u16)>| {
            let coordinators: Vec<_> = coordinators.iter().map(|&text| text.to_owned()).collect();
            let found = best(&coordinators);
            assert_eq!(found.as_ref().map(|found| (found.host.as_str(), found.port)), expected);
        };
        check(&["127.0.0.1:7", "hub.example:6443", "192.0.2.1:6443"], Some(("hub.example", 6443)));
        check(&["[::1]:7", "[2001:db8::1]:6443"], Some(("2001:db8::1", 6443)));
        check(&["localhost:7"], Some(("localhost", 7)));
        check(&["nonsense"], None);
    }
}

//! Ports of the machine that lead to containers: `hostPort` and `hostIP`, of which a pod says one here and the other there.

use std::net::IpAddr;

use dunlin_link::pod::{ContainerPort, PodAssignment, Protocol};

use crate::pod::{ContainerIndex, container_at};

/// Where a port of a container is on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `hostPort`.
    pub number: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `hostIP`; `None` for all addresses of the machine.
    pub address: Option<IpAddr>,
}

impl HostPort {
    /// Whether the machine has no room for both.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let is_same_address =
            self.address.is_none() || other.address.is_none() || self.address == other.address;
        is_same_address && (self.number, self.protocol) == (other.number, other.protocol)
    }
}

/// The ports of a container, and where each is on the machine, if it says so.
pub fn ports_of(
    assignment: &PodAssignment,
    index: ContainerIndex,
) -> impl Iterator<Item = (&ContainerPort, Option<HostPort>)> {
    let ports = &container_at(assignment, index).ports;
    let addresses = assignment.linux_of(index.0).map_or(&[][..], |says| &says.host_addresses);
    ports.iter().enumerate().map(move |(place, port)| {
        let is_same =
            |other: &ContainerPort| (other.host_port, other.protocol) == (port.host_port, port.protocol);
        let earlier = ports[..place].iter().filter(|other| is_same(other)).count();
        let host_port = port.host_port.map(|number| {
            let mut narrow = addresses
                .iter()
                .filter(|narrow| (narrow.host_port, narrow.protocol) == (number, port.protocol));
            // The API lets only addresses pass.
            let address = narrow.nth(earlier).and_then(|narrow| narrow.address.parse().ok());
            HostPort { number, protocol: port.protocol, address }
        });
        (port, host_port)
    })
}

/// Fields of a container that must not be ignored, and that a WASM container cannot honour.
pub(crate) fn refused_of_guest(
    assignment: &PodAssignment,
    index: ContainerIndex,
) -> impl Iterator<Item = &str> {
    // A coordinator that does not tell the address leaves nothing to go by.
    let tells_address = assignment.linux_of(index.0).is_some_and(|says| !says.host_addresses.is_empty());
    let fields = container_at(assignment, index).refused_fields.iter().map(String::as_str);
    fields.filter(move |field| !(tells_address && field.ends_with(".hostIP")))
}

#[cfg(test)]
mod tests {
    use dunlin_link::linux::{ContainerLinux, HostAddress, PodLinux};

    use super::*;
    use crate::pod::fixture::{container, pod};

    #[test]
    fn addresses_are_those_of_their_ports() {
        let port = |container_port, host_port, protocol| ContainerPort {
            name: String::new(),
            container_port,
            host_port,
            protocol,
        };
        let mut subject = container("c");
        subject.ports = vec![
            port(79, None, Protocol::Tcp),
            port(80, Some(8080), Protocol::Tcp),
            port(81, Some(8080), Protocol::Udp),
            port(82, Some(8080), Protocol::Udp),
        ];
        subject.refused_fields = vec!["ports[2].hostIP".to_owned(), "securityContext.x".to_owned()];
        let mut assignment = pod(vec![subject]);
        assert_eq!(refused_of_guest(&assignment, ContainerIndex(0)).count(), 2);
        let narrow = |address: &str| HostAddress {
            host_port: 8080,
            protocol: Protocol::Udp,
            address: address.to_owned(),
        };
        let host_addresses = vec![narrow("192.0.2.1"), narrow("::1")];
        let says = ContainerLinux { host_addresses, ..ContainerLinux::default() };
        assignment.linux = Some(Box::new(PodLinux { containers: vec![says], ..PodLinux::default() }));
        let seen: Vec<_> = ports_of(&assignment, ContainerIndex(0))
            .map(|(port, host)| (port.container_port, host.map(|host| host.address.map(|ip| ip.to_string()))))
            .collect();
        let narrow = |address: &str| Some(Some(address.to_owned()));
        assert_eq!(seen, [(79, None), (80, Some(None)), (81, narrow("192.0.2.1")), (82, narrow("::1"))]);
        let refused: Vec<_> = refused_of_guest(&assignment, ContainerIndex(0)).collect();
        assert_eq!(refused, ["securityContext.x"]);
    }

    #[test]
    fn ports_conflict_where_their_addresses_meet() {
        let port = |address: Option<&str>| HostPort {
            number: 80,
            protocol: Protocol::Tcp,
            address: address.map(|address| address.parse().unwrap()),
        };
        let (all, one, other) = (port(None), port(Some("192.0.2.1")), port(Some("192.0.2.2")));
        assert!(all.conflicts_with(&one) && one.conflicts_with(&all) && one.conflicts_with(&one));
        assert!(!one.conflicts_with(&other));
        assert!(!all.conflicts_with(&HostPort { protocol: Protocol::Udp, ..all }));
        assert!(!all.conflicts_with(&HostPort { number: 81, ..all }));
    }
}

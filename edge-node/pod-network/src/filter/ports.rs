//! Who holds which port of the machine.

use std::{collections::BTreeSet, net::Ipv4Addr};

use dunlin_link::{PodUid, pod::Protocol};

use super::element::Element;
use crate::attachment::HostPort;

/// All ports that are held, in an order that depends on nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    elements: Vec<Element>,
}

/// Somebody else has a port that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) port: HostPort,
    pub(crate) holder: PodUid,
}

impl Ports {
    pub(super) fn new(elements: impl IntoIterator<Item = Element>) -> Self {
        let elements: BTreeSet<_> = elements.into_iter().collect();
        Self { elements: elements.into_iter().collect() }
    }

    /// The ports as they are when a pod has `wanted` and no others. A pod's containers may ask for one port twice; the first counts.
    pub(crate) fn with(&self, uid: &PodUid, address: Ipv4Addr, wanted: &[HostPort]) -> Result<Self, Taken> {
        let others = self.elements.iter().filter(|element| element.uid != *uid);
        for port in wanted {
            if let Some(other) = others.clone().find(|other| other.port.overlaps(port)) {
                return Err(Taken { port: *port, holder: other.uid.clone() });
            }
        }
        let own = wanted.iter().enumerate().filter(|(index, port)| {
            !wanted[..*index].iter().any(|earlier| earlier.overlaps(port) && earlier.host_ip == port.host_ip)
        });
        let own = own.map(|(_, port)| Element { uid: uid.clone(), address, port: *port });
        Ok(Self::new(others.cloned().chain(own)))
    }

    /// The ports as they are when only pods that `is_kept` chooses have any.
    pub(crate) fn only(&self, is_kept: impl Fn(&PodUid) -> bool) -> Self {
        Self::new(self.elements.iter().filter(|element| is_kept(&element.uid)).cloned())
    }

    pub(super) fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The ports of UDP that lead elsewhere than in `other`, or nowhere in one of the two.
    pub(super) fn changed_udp(&self, other: &Self) -> BTreeSet<u16> {
        let missing = |one: &Self, two: &Self| {
            let gone = one.elements.iter().filter(|element| !two.elements.contains(element));
            let udp = gone.filter(|element| element.port.protocol == Protocol::Udp);
            udp.map(|element| element.port.host_port).collect::<Vec<_>>()
        };
        missing(self, other).into_iter().chain(missing(other, self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, host_port: u16, host_ip: Option<[u8; 4]>) -> HostPort {
        HostPort { protocol, host_ip: host_ip.map(Ipv4Addr::from), host_port, container_port: 80 }
    }

    #[test]
    fn a_port_has_one_holder() {
        let (one, two) = (PodUid::new("one"), PodUid::new("two"));
        let (here, there) = (Ipv4Addr::new(10, 42, 1, 1), Ipv4Addr::new(10, 42, 1, 2));
        let ports = Ports::default().with(&one, here, &[port(Protocol::Tcp, 80, None)]).unwrap();
        let check = |wanted: HostPort, is_free: bool| {
            let found = ports.with(&two, there, &[wanted]);
            assert_eq!(found.is_ok(), is_free, "{wanted}");
            if let Err(taken) = found {
                assert_eq!(taken, Taken { port: wanted, holder: one.clone() });
            }
        };
        check(port(Protocol::Tcp, 80, None), false);
        check(port(Protocol::Tcp, 80, Some([192, 0, 2, 1])), false);
        check(port(Protocol::Udp, 80, None), true);
        check(port(Protocol::Tcp, 81, None), true);
        // Its holder may ask again, for more or for less.
        let more =
            [port(Protocol::Tcp, 80, None), port(Protocol::Tcp, 80, None), port(Protocol::Tcp, 81, None)];
        let more = ports.with(&one, here, &more).unwrap();
        assert_eq!(more.elements().len(), 2);
        assert_eq!(more.with(&one, here, &[]).unwrap(), Ports::default());
        assert_eq!(more.only(|uid| *uid == two), Ports::default());

        let bound =
            Ports::default().with(&one, here, &[port(Protocol::Tcp, 80, Some([192, 0, 2, 1]))]).unwrap();
        assert!(bound.with(&two, there, &[port(Protocol::Tcp, 80, Some([192, 0, 2, 2]))]).is_ok());
        assert!(bound.with(&two, there, &[port(Protocol::Tcp, 80, None)]).is_err());
    }

    #[test]
    fn only_changes_of_udp_count() {
        let (one, here) = (PodUid::new("one"), Ipv4Addr::new(10, 42, 1, 1));
        let wanted = [port(Protocol::Tcp, 80, None), port(Protocol::Udp, 53, None)];
        let ports = Ports::default().with(&one, here, &wanted).unwrap();
        assert_eq!(ports.changed_udp(&Ports::default()), BTreeSet::from([53]));
        assert_eq!(ports.changed_udp(&ports), BTreeSet::new());
    }
}

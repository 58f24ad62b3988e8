//! Compares hosts with those that a container may connect to.

use std::net::IpAddr;

use crate::guest::{Egress, EgressHosts, EgressTarget};

/// Ports that are allowed of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    All,
    These(Vec<u16>),
}

impl Ports {
    pub(super) fn contains(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::These(ports) => ports.contains(&port),
        }
    }
}

impl Egress {
    /// Whether an address and port are allowed, whatever names mean it.
    pub(super) fn allows_address(&self, ip: IpAddr, port: u16) -> bool {
        match self {
            Self::Open => true,
            Self::Only(targets) => targets.iter().any(|target| {
                target.port.is_none_or(|allowed| allowed == port) && target.hosts.contains_address(ip)
            }),
        }
    }

    /// The ports of a name; `None` when it is not allowed at all. What is an address says nothing that is not known: it may be looked
    /// up where any of its ports is allowed.
    pub(super) fn ports_of(&self, name: &str) -> Option<Ports> {
        let Self::Only(targets) = self else { return Some(Ports::All) };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let address: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        let fits = |target: &&EgressTarget| match address {
            Some(ip) => target.hosts.contains_address(ip.to_canonical()),
            None => target.hosts.contains_name(&name),
        };
        let mut ports = Vec::new();
        for target in targets.iter().filter(fits) {
            match target.port {
                None => return Some(Ports::All),
                Some(port) => ports.push(port),
            }
        }
        (!ports.is_empty()).then_some(Ports::These(ports))
    }
}

impl EgressHosts {
    fn contains_name(&self, name: &str) -> bool {
        match self {
            Self::Name(known) => name == known,
            Self::Below(known) => {
                name.strip_suffix(known.as_str()).is_some_and(|above| above.len() > 1 && above.ends_with('.'))
            }
            Self::Range { .. } => false,
        }
    }

    fn contains_address(&self, ip: IpAddr) -> bool {
        let Self::Range { address, prefix } = self else { return false };
        match (address, ip) {
            (IpAddr::V4(address), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(u32::from(*prefix));
                shift >= 32 || address.to_bits() >> shift == ip.to_bits() >> shift
            }
            (IpAddr::V6(address), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(u32::from(*prefix));
                shift >= 128 || address.to_bits() >> shift == ip.to_bits() >> shift
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_and_ranges_are_compared_whole() {
        let below = EgressHosts::Below("example.com".to_owned());
        let check = |name: &str, expected| assert_eq!(below.contains_name(name), expected, "{name}");
        check("a.example.com", true);
        check("a.b.example.com", true);
        check("example.com", false);
        check("badexample.com", false);
        check(".example.com", false);
        let range = |address: &str, prefix| EgressHosts::Range { address: address.parse().unwrap(), prefix };
        let check = |range: &EgressHosts, ip: &str, expected| {
            assert_eq!(range.contains_address(ip.parse().unwrap()), expected, "{ip}");
        };
        check(&range("10.0.0.0", 8), "10.255.0.1", true);
        check(&range("10.0.0.0", 8), "11.0.0.1", false);
        check(&range("10.0.0.1", 32), "10.0.0.2", false);
        check(&range("0.0.0.0", 0), "192.0.2.1", true);
        check(&range("0.0.0.0", 0), "2001:db8::1", false);
        check(&range("fd00::", 8), "fdff::1", true);
        check(&range("::", 0), "2001:db8::1", true);
    }

    #[test]
    fn an_address_in_place_of_a_name_is_compared_as_one() {
        let hosts = EgressHosts::Range { address: "192.0.2.1".parse().unwrap(), prefix: 32 };
        let egress = Egress::Only(vec![EgressTarget { hosts, port: Some(53) }]);
        assert_eq!(egress.ports_of("192.0.2.1"), Some(Ports::These(vec![53])));
        assert_eq!(egress.ports_of("[::ffff:192.0.2.1]"), Some(Ports::These(vec![53])));
        assert_eq!(egress.ports_of("192.0.2.2"), None);
        assert_eq!(Egress::Only(Vec::new()).ports_of("a"), None);
        assert_eq!(Egress::Open.ports_of("a"), Some(Ports::All));
    }
}

//! Addresses and ports for Services: which there are, which are free, and the records that say whose the others are.
//!
//! An address is recorded as an IPAddress object, as in Kubernetes; a port of nodes as a key of its own. Both are written in the
//! transaction of their Service, and only where there is none, so that no two Services ever have the same number.

use std::{collections::BTreeSet, net::IpAddr, ops::RangeInclusive};

use dunlin_api::{
    Kind, Status,
    ip::Cidr,
    kind::{
        self,
        service::{Claim, Pool, Ranges},
    },
};
use rand::Rng as _;
use serde_json::Value;

use super::{ApiService, change::decode, store_failed, stored};
use crate::store::{KeyValue, ListOptions};

/// The addresses and ports that a cluster is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNetwork {
    /// The range of addresses of Services.
    pub addresses: Cidr,
    /// The ports of nodes that lead to Services.
    pub node_ports: RangeInclusive<u16>,
}

impl ServiceNetwork {
    /// What a cluster has unless it is told otherwise.
    pub fn standard() -> Self {
        Self {
            addresses: STANDARD_ADDRESSES.parse().expect("the constant is a range"),
            node_ports: 30_000..=32_767,
        }
    }

    /// The address of the API itself: the first of the range.
    pub(super) fn api_address(&self) -> IpAddr {
        Span::of(self.addresses).address(0)
    }
}

/// What Services can still have, as far as is known. A number is offered once.
#[derive(Debug)]
pub(super) struct Numbers {
    ranges: Ranges,
    /// Not to be offered: recorded, or offered before.
    taken: BTreeSet<Claim>,
}

impl ApiService {
    /// The numbers to choose from when an object of `kind` is written.
    pub(super) async fn numbers(&self, kind: &Kind) -> Result<Numbers, Status> {
        let network = self.service_network();
        let node_ports = (*network.node_ports.start(), *network.node_ports.end());
        if !is_service(kind) {
            return Ok(Numbers {
                ranges: Ranges { addresses: Vec::new(), node_ports },
                taken: BTreeSet::new(),
            });
        }
        let mut addresses = self.ready_ranges().await?;
        if addresses.is_empty() {
            addresses.push(network.addresses);
        }
        let mut taken: BTreeSet<Claim> = BTreeSet::new();
        for item in self.all_below(&stored::prefix(ip_address_kind(), "")).await? {
            taken.extend(claim_of_key(&item.key));
        }
        for item in self.all_below(NODE_PORTS).await? {
            taken.extend(claim_of_key(&item.key));
        }
        Ok(Numbers { ranges: Ranges { addresses, node_ports }, taken })
    }

    /// Ranges of ServiceCIDRs that are ready and stay, those of the cluster's own family first.
    async fn ready_ranges(&self) -> Result<Vec<Cidr>, Status> {
        let is_ipv6 = self.service_network().addresses.is_ipv6();
        let kind = kind::by_kind("networking.k8s.io/v1", "ServiceCIDR").expect("the registry has ranges");
        let mut ranges: Vec<Cidr> = Vec::new();
        for item in self.all_below(&stored::prefix(kind, "")).await? {
            let object = decode(&item)?;
            if is_ready(&object) && object["metadata"]["deletionTimestamp"].is_null() {
                let texts =
                    object["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str);
                ranges.extend(texts.filter_map(|range| range.parse::<Cidr>().ok()));
            }
        }
        ranges.retain(|range| range.is_ipv6() == is_ipv6);
        Ok(ranges)
    }

    pub(super) async fn all_below(&self, prefix: &str) -> Result<Vec<KeyValue>, Status> {
        let options = ListOptions { prefix: prefix.to_owned(), after: None, limit: None, at: None };
        self.store().list(options).await.map(|page| page.items).map_err(store_failed)
    }
}

impl Pool for Numbers {
    fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    fn next_address(&mut self) -> Option<IpAddr> {
        let spans: Vec<Span> = self.ranges.addresses.iter().map(|range| Span::of(*range)).collect();
        let found = spans.into_iter().find_map(|span| {
            let low = band(span.count, ADDRESS_BAND);
            let is_free = |place| !self.taken.contains(&Claim::Address(span.address(place)));
            pick(low, span.count, is_free).map(|place| span.address(place))
        })?;
        self.taken.insert(Claim::Address(found));
        Some(found)
    }

    fn next_port(&mut self) -> Option<u16> {
        let (first, last) = self.ranges.node_ports;
        let count = u128::from(last.checked_sub(first)?) + 1;
        let port = |place: u128| u16::try_from(place).map_or(last, |place| first.saturating_add(place));
        let is_free = |place| !self.taken.contains(&Claim::NodePort(port(place)));
        let found = port(pick(band(count, PORT_BAND), count, is_free)?);
        self.taken.insert(Claim::NodePort(found));
        Some(found)
    }
}

/// The key that records whose a number is.
pub(super) fn claim_key(claim: Claim) -> String {
    match claim {
        Claim::Address(address) => stored::key(ip_address_kind(), "", &address.to_string()),
        Claim::NodePort(port) => format!("{NODE_PORTS}{port}"),
    }
}

/// The kind of the objects that say whose addresses are.
pub(super) fn ip_address_kind() -> &'static Kind {
    kind::by_kind("networking.k8s.io/v1", "IPAddress").expect("the registry has addresses")
}

/// Whether objects of this kind have numbers to themselves.
pub(super) fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Service"
}

fn claim_of_key(key: &str) -> Option<Claim> {
    let name = key.rsplit('/').next().unwrap_or_default();
    if key.starts_with(NODE_PORTS) {
        name.parse().ok().map(Claim::NodePort)
    } else {
        name.parse().ok().map(Claim::Address)
    }
}

fn is_ready(range: &Value) -> bool {
    let conditions = range["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|condition| condition["type"] == "Ready").any(|condition| condition["status"] == "True")
}

/// The addresses of a range that hosts can have.
#[derive(Clone, Copy)]
struct Span {
    is_ipv4: bool,
    first: u128,
    count: u128,
}

impl Span {
    fn of(range: Cidr) -> Self {
        let (network, width) = match range.network() {
            IpAddr::V4(network) => (u128::from(u32::from(network)), 32_u32),
            IpAddr::V6(network) => (u128::from(network), 128),
        };
        let hosts = 1_u128.checked_shl(width - u32::from(range.bits())).unwrap_or(u128::MAX);
        // The range's own name, and of IPv4 the address that means everybody, are nobody's.
        let reserved = if width == 32 { 2 } else { 1 };
        let count = hosts.saturating_sub(reserved).min(ADDRESSES_MAX);
        Self { is_ipv4: width == 32, first: network.saturating_add(1), count }
    }

    fn address(self, place: u128) -> IpAddr {
        let bits = self.first.saturating_add(place);
        if self.is_ipv4 {
            IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into())
        } else {
            IpAddr::V6(bits.into())
        }
    }
}

/// How numbers are divided: the lower part is left to those who ask for a number of their choice, as long as there are others.
struct Band {
    /// A range of so many is not divided.
    least: u128,
    most: u128,
    share: u128,
}

/// How many of the first `count` numbers are given only when there are no others.
fn band(count: u128, band: Band) -> u128 {
    if count <= band.least { 0 } else { (count / band.share).clamp(band.least, band.most) }
}

/// A free place of `low..count`, or else of `0..low`: the first after one chosen at random.
fn pick(low: u128, count: u128, is_free: impl Fn(u128) -> bool) -> Option<u128> {
    let from_random = |start: u128, end: u128| {
        let middle = if start < end { rand::rng().random_range(start..end) } else { end };
        (middle..end).chain(start..middle).find(|place| is_free(*place))
    };
    from_random(low, count).or_else(|| from_random(0, low))
}

const STANDARD_ADDRESSES: &str = "10.43.0.0/16";
/// Records of ports of nodes; the value is the namespace and name of the Service.
const NODE_PORTS: &str = "/dunlin/nodeports/";
/// Kubernetes' own division of addresses and ports.
const ADDRESS_BAND: Band = Band { least: 16, most: 256, share: 16 };
const PORT_BAND: Band = Band { least: 16, most: 128, share: 32 };
/// Of a large range of IPv6, more than a cluster's Services can use up.
const ADDRESSES_MAX: u128 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(range: &str, node_ports: (u16, u16)) -> Numbers {
        let addresses = vec![range.parse().unwrap()];
        Numbers { ranges: Ranges { addresses, node_ports }, taken: BTreeSet::new() }
    }

    #[test]
    fn every_number_is_given_once() {
        let mut small = numbers("10.43.0.0/28", (30_000, 30_009));
        let mut addresses: Vec<IpAddr> = std::iter::from_fn(|| small.next_address()).collect();
        addresses.sort_unstable();
        assert_eq!(addresses.len(), 14);
        assert_eq!(
            (addresses[0].to_string(), addresses[13].to_string()),
            ("10.43.0.1".into(), "10.43.0.14".into())
        );
        let mut ports: Vec<u16> = std::iter::from_fn(|| small.next_port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, (30_000..30_010).collect::<Vec<_>>());
    }

    #[test]
    fn the_lower_numbers_come_last() {
        let mut pool = numbers("10.43.0.0/24", (30_000, 32_767));
        // 254 addresses, of which the first 16 are left for those who ask.
        let dynamic: Vec<u8> = (0..238)
            .map(|_| match pool.next_address() {
                Some(IpAddr::V4(address)) => address.octets()[3],
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(dynamic.iter().all(|last| *last > 16), "{dynamic:?}");
        assert!(matches!(pool.next_address(), Some(IpAddr::V4(address)) if address.octets()[3] <= 16));
        assert!(pool.next_port().is_some_and(|port| port >= 30_086));
    }

    #[test]
    fn large_ranges_are_not_walked() {
        assert!(numbers("fd00::/64", (1, 2)).next_address().is_some_and(|address| address.is_ipv6()));
        let mut all = numbers("0.0.0.0/0", (1, 2));
        assert!(all.next_address().is_some());
    }

    #[test]
    fn keys_say_what_they_record() {
        for claim in [Claim::NodePort(30_080), Claim::Address("10.43.0.7".parse().unwrap())] {
            assert_eq!(claim_of_key(&claim_key(claim)), Some(claim));
        }
        assert_eq!(ServiceNetwork::standard().api_address().to_string(), "10.43.0.1");
    }
}

//! Pod addresses: from the node's blocks of the pod range, with a stand-in on the loopback network where there is no root.
//!
//! A block is a /26 of 10.42.0.0/16. The address 10.42.x.y stands in status; on the machine itself the pod listens on 127.N.x.y,
//! which needs neither privileges nor a kernel object and never enters an API object.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use dunlin_link::{pod::PodAssignment, status::LocalEndpoint};

/// A run of consecutive blocks that belong to one node. Nodes whose ranges do not overlap never give out the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    first: u16,
    count: u16,
}

impl BlockRange {
    /// `count` blocks from block `first` on; `None` when there are no such blocks.
    pub fn new(first: u16, count: u16) -> Option<Self> {
        let end = first.checked_add(count)?;
        (count > 0 && end <= BLOCKS).then_some(Self { first, count })
    }

    /// The number of its first block.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// How many it has.
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Its blocks as networks: first address, and bits that all have in common.
    pub fn subnets(self) -> impl Iterator<Item = (Ipv4Addr, u8)> {
        (self.first..self.first + self.count).map(|block| {
            let offset = u32::from(block) * BLOCK_SIZE;
            (Ipv4Addr::from_bits(POD_RANGE.0.to_bits() + offset), BLOCK_PREFIX)
        })
    }

    /// How many pods can have an address.
    pub fn capacity(self) -> u32 {
        u32::from(self.count) * PODS_PER_BLOCK
    }

    fn slot(self, index: u32) -> PodSlot {
        let block = u32::from(self.first) + index / PODS_PER_BLOCK;
        let offset = block * BLOCK_SIZE + 1 + index % PODS_PER_BLOCK;
        PodSlot(u16::try_from(offset).expect("1024 blocks of 64 addresses are 65,536 addresses"))
    }
}

/// A pod's place in the pod range: the last two bytes of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodSlot(pub u16);

impl PodSlot {
    /// `status.podIP`.
    pub fn pod_ip(self) -> Ipv4Addr {
        let [x, y] = self.0.to_be_bytes();
        Ipv4Addr::new(10, 42, x, y)
    }
}

/// Which slots of a node's range are taken.
#[derive(Debug)]
pub struct AddressPool {
    range: BlockRange,
    taken: BTreeSet<PodSlot>,
    /// Where the search begins: addresses are reused as late as possible.
    next: u32,
}

impl AddressPool {
    /// The pool of a node that already gave out `taken`.
    pub fn new(range: BlockRange, taken: impl IntoIterator<Item = PodSlot>) -> Self {
        let taken: BTreeSet<_> = taken.into_iter().collect();
        let next = (0..range.capacity()).rev().find(|index| taken.contains(&range.slot(*index)));
        Self { range, taken, next: next.map_or(0, |index| index + 1) }
    }

    /// Takes a free slot; `None` when all are taken.
    pub fn take(&mut self) -> Option<PodSlot> {
        let capacity = self.range.capacity();
        let index = (0..capacity)
            .map(|step| (self.next + step) % capacity)
            .find(|index| !self.taken.contains(&self.range.slot(*index)))?;
        self.next = index + 1;
        let slot = self.range.slot(index);
        self.taken.insert(slot);
        Some(slot)
    }

    /// Gives a slot back.
    pub fn release(&mut self, slot: PodSlot) {
        self.taken.remove(&slot);
    }
}

/// How pods of a node are reached on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback {
    /// Second byte of the stand-in addresses: 127.N.x.y.
    pub octet: u8,
    /// The lowest port the node may listen on; lower ones are moved up.
    pub first_port: u16,
}

/// Where one pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// Its slot; `None` for a pod that uses the node's own network.
    pub slot: Option<PodSlot>,
    /// How slots map to the machine.
    pub loopback: Loopback,
    /// For a pod in a sandbox of its own.
    pub own: Option<OwnNetwork>,
}

/// The network of a pod in a sandbox of its own: its address is really there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnNetwork {
    /// Its address, where that was not the node's to choose: a network plugin gave it.
    pub given: Option<Ipv4Addr>,
}

/// Where a forward to a port of a pod leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardPlace {
    /// To the localhost of the pod's own network.
    PodLocalhost,
    /// To the machine's, whose network the pod uses.
    MachineLocalhost,
    /// To what stands in for the pod on the machine.
    StandIn(SocketAddr),
}

impl PodAddress {
    /// Its address as others know it; `None` for a pod that uses the node's own.
    pub fn ip(&self) -> Option<Ipv4Addr> {
        let slot = self.slot?;
        Some(self.own.and_then(|own| own.given).unwrap_or_else(|| slot.pod_ip()))
    }

    /// Where the pod listens for `container_port`: in a network of its own on every address, so that its containers find each other.
    pub fn listener(&self, assignment: &PodAssignment, container_port: u16) -> SocketAddr {
        let (Some(slot), None) = (self.slot, self.own) else {
            return (Ipv4Addr::UNSPECIFIED, container_port).into();
        };
        let [x, y] = slot.0.to_be_bytes();
        (Ipv4Addr::new(127, self.loopback.octet, x, y), self.local_port(assignment, container_port)).into()
    }

    /// From where on the machine the pod is reached at `container_port`.
    pub fn way_to(&self, assignment: &PodAssignment, container_port: u16) -> SocketAddr {
        match (self.own, self.ip()) {
            (Some(_), Some(ip)) => (ip, container_port).into(),
            (_, None) => (Ipv4Addr::LOCALHOST, container_port).into(),
            (None, Some(_)) => self.listener(assignment, container_port),
        }
    }

    /// All TCP ports of the pod that are elsewhere on the machine than the pod's address says.
    pub fn endpoints(&self, assignment: &PodAssignment) -> Vec<LocalEndpoint> {
        let ports = tcp_ports(assignment).filter(|_| self.own.is_none());
        ports
            .map(|port| LocalEndpoint {
                container_port: port,
                address: self.listener(assignment, port).to_string(),
            })
            .collect()
    }

    /// Where a TCP port of the pod is. `None` for one that it does not declare, if its containers can listen on no other.
    pub fn endpoint(&self, assignment: &PodAssignment, container_port: u16) -> Option<SocketAddr> {
        let is_declared = tcp_ports(assignment).any(|port| port == container_port);
        (is_declared || self.own.is_some()).then(|| self.way_to(assignment, container_port))
    }

    /// Where a forward to a TCP port leads. `None` for one that the pod does not declare, if its containers can listen on no other.
    pub fn forward_place(&self, assignment: &PodAssignment, container_port: u16) -> Option<ForwardPlace> {
        match (self.own, self.slot) {
            (Some(_), Some(_)) => Some(ForwardPlace::PodLocalhost),
            (Some(_), None) => Some(ForwardPlace::MachineLocalhost),
            (None, Some(_)) => self.endpoint(assignment, container_port).map(ForwardPlace::StandIn),
            (None, None) => self.endpoint(assignment, container_port).map(|_| ForwardPlace::MachineLocalhost),
        }
    }

    /// A port the node may not open is moved up by 10,000, and further where the pod declares that one too.
    fn local_port(&self, assignment: &PodAssignment, container_port: u16) -> u16 {
        if container_port >= self.loopback.first_port {
            return container_port;
        }
        (1..6)
            .filter_map(|step: u16| container_port.checked_add(step * 10_000))
            .find(|port| {
                *port >= self.loopback.first_port && !tcp_ports(assignment).any(|taken| taken == *port)
            })
            .unwrap_or(container_port)
    }
}

fn tcp_ports(assignment: &PodAssignment) -> impl Iterator<Item = u16> {
    let spec = &assignment.spec;
    let ports = spec.init_containers.iter().chain(&spec.containers).flat_map(|container| &container.ports);
    ports.filter(|port| port.protocol == dunlin_link::pod::Protocol::Tcp).map(|port| port.container_port)
}

/// Where all pods of a cluster are.
pub const POD_RANGE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 42, 0, 0), 16);
/// Bits that the addresses of a block have in common.
const BLOCK_PREFIX: u8 = 26;
/// Blocks in the pod range.
pub const BLOCKS: u16 = 1024;
/// Addresses in a block.
const BLOCK_SIZE: u32 = 64;
/// Addresses given out per block: its first and last stay unused, as in any subnet.
const PODS_PER_BLOCK: u32 = BLOCK_SIZE - 2;

#[cfg(test)]
mod tests {
    use dunlin_link::pod::ContainerPort;

    use super::*;
    use crate::pod::fixture;

    #[test]
    fn addresses_stay_in_their_blocks_and_are_reused_last() {
        let range = BlockRange::new(4, 2).unwrap();
        let mut pool = AddressPool::new(range, []);
        let all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(all.len(), 124);
        assert_eq!(all[0].pod_ip().to_string(), "10.42.1.1");
        assert_eq!(all[62].pod_ip().to_string(), "10.42.1.65");
        assert_eq!(all[123].pod_ip().to_string(), "10.42.1.126");
        assert_eq!(pool.take(), None);
        pool.release(all[7]);
        assert_eq!(pool.take(), Some(all[7]));

        let mut reopened = AddressPool::new(range, [all[0], all[3]]);
        assert_eq!(reopened.take(), Some(all[4]));
    }

    #[test]
    fn forwards_lead_to_localhosts_and_declared_ports() {
        let mut container = fixture::container("c");
        let declared = ContainerPort {
            name: String::new(),
            container_port: 80,
            host_port: None,
            protocol: dunlin_link::pod::Protocol::Tcp,
        };
        container.ports = vec![declared];
        let pod = fixture::pod(vec![container]);
        let place = |slot, own, port| {
            let loopback = Loopback { octet: 42, first_port: 1024 };
            PodAddress { slot, loopback, own }.forward_place(&pod, port)
        };
        let (slot, own) = (Some(PodSlot(5)), Some(OwnNetwork::default()));
        assert_eq!(place(slot, own, 9), Some(ForwardPlace::PodLocalhost));
        assert_eq!(place(None, own, 9), Some(ForwardPlace::MachineLocalhost));
        let stand_in = SocketAddr::from(([127, 42, 0, 5], 10_080));
        assert_eq!(place(slot, None, 80), Some(ForwardPlace::StandIn(stand_in)));
        assert_eq!(place(None, None, 80), Some(ForwardPlace::MachineLocalhost));
        assert_eq!((place(slot, None, 9), place(None, None, 9)), (None, None));
    }

    #[test]
    fn blocks_are_networks() {
        let subnets: Vec<_> = BlockRange::new(5, 2).unwrap().subnets().collect();
        assert_eq!(subnets, [(Ipv4Addr::new(10, 42, 1, 64), 26), (Ipv4Addr::new(10, 42, 1, 128), 26)]);
    }

    #[test]
    fn ranges_outside_the_pod_range_are_none() {
        assert_eq!(BlockRange::new(1023, 2), None);
        assert_eq!(BlockRange::new(0, 0), None);
        let last = BlockRange::new(1023, 1).unwrap();
        assert_eq!(AddressPool::new(last, []).take().unwrap().pod_ip().to_string(), "10.42.255.193");
    }
}

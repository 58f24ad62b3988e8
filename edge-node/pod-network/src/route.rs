//! What the kernel is asked of interfaces, addresses and routes.

mod link;

use std::{collections::BTreeSet, io, net::Ipv4Addr};

pub(crate) use self::link::{Link, PortOf, Power, Wanted};

use crate::{
    address::{Mac, Subnet},
    namespace::Namespace,
    socket::{ACK, CREATE, EXCLUSIVE, LIST, REPLACE, Socket},
    wire::{Message, attribute, u32_at},
};

/// The interfaces, addresses and routes of one network namespace.
#[derive(Debug)]
pub(crate) struct Routing {
    socket: Socket,
}

impl Routing {
    /// Of the calling thread's namespace, wherever the thread goes later.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::route()? })
    }

    /// An interface by its name.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        self.find(Message::new(GET_LINK, ACK).raw(&link::header(0, 0)).text(link::NAME, name))
    }

    /// An interface by its number.
    pub(crate) fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        self.find(Message::new(GET_LINK, ACK).raw(&link::header(index, 0)))
    }

    fn find(&mut self, message: Message) -> io::Result<Option<Link>> {
        let mut found = None;
        match self.socket.fetch(message, |received| found = Link::read(received.body)) {
            Ok(()) => Ok(found),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces that `wanted` chooses.
    pub(crate) fn links(&mut self, wanted: impl Fn(&Link) -> bool) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.socket.fetch(Message::new(GET_LINK, LIST).raw(&link::header(0, 0)), |received| {
            links.extend(Link::read(received.body).filter(&wanted));
        })?;
        Ok(links)
    }

    /// Makes a bridge, which is off.
    pub(crate) fn create_bridge(&mut self, name: &str, mac: Mac) -> io::Result<()> {
        let message = Message::new(NEW_LINK, ACK | CREATE | EXCLUSIVE).raw(&link::header(0, 0));
        let message = message.text(link::NAME, name).bytes(link::ADDRESS, &mac.bytes());
        self.socket.ask(message.nest(link::INFO, |info| info.text(link::INFO_KIND, link::BRIDGE)))
    }

    /// Makes a pair of interfaces, both off: what goes into one, here, comes out of the other, there. Moving it there later would take
    /// the time that each processor needs to come by (RCU, 10 to 20 ms).
    pub(crate) fn create_pair(
        &mut self,
        (name, mac): (&str, Mac),
        (other, there): (&str, &Namespace),
    ) -> io::Result<()> {
        let message = Message::new(NEW_LINK, ACK | CREATE | EXCLUSIVE).raw(&link::header(0, 0));
        let message = message.text(link::NAME, name).bytes(link::ADDRESS, &mac.bytes());
        self.socket.ask(message.nest(link::INFO, |info| {
            info.text(link::INFO_KIND, link::PAIR).nest(link::INFO_DATA, |data| {
                data.nest(link::PAIR_PEER, |peer| {
                    link::in_namespace(peer.raw(&link::header(0, 0)).text(link::NAME, other), there)
                })
            })
        }))
    }

    /// Changes an interface; what is not wanted of it stays.
    pub(crate) fn change(&mut self, index: u32, wanted: &Wanted<'_>) -> io::Result<()> {
        self.socket.ask(wanted.write(Message::new(NEW_LINK, ACK), index))
    }

    /// Says to whom a port of a bridge may send.
    pub(crate) fn set_reach(&mut self, index: u32, reach: Reach) -> io::Result<()> {
        let mut header = link::header(index, 0);
        header[0] = BRIDGE_FAMILY;
        let (hairpin, isolated) = match reach {
            Reach::Machine => (0, 1),
            Reach::AllAndItself => (1, 0),
        };
        let message = Message::new(SET_LINK, ACK).raw(&header);
        self.socket.ask(message.nest(link::PORT, |port| {
            port.bytes(link::PORT_HAIRPIN, &[hairpin]).bytes(link::PORT_ISOLATED, &[isolated])
        }))
    }

    /// Removes an interface, and its other end; none is fine.
    pub(crate) fn remove_link(&mut self, index: u32) -> io::Result<()> {
        let message = Message::new(DELETE_LINK, ACK).raw(&link::header(index, 0));
        unless_gone(self.socket.ask(message), &[libc::ENODEV])
    }

    /// All IPv4 addresses of this namespace.
    pub(crate) fn own_addresses(&mut self) -> io::Result<BTreeSet<Ipv4Addr>> {
        let mut addresses = BTreeSet::new();
        self.addresses(|_, address, _| addresses.extend([address]))?;
        Ok(addresses)
    }

    /// Tells the interface, the address and the prefix of each IPv4 address.
    fn addresses(&mut self, mut each: impl FnMut(u32, Ipv4Addr, u8)) -> io::Result<()> {
        let message = Message::new(GET_ADDRESS, LIST).raw(&address_header(0, 0, 0));
        self.socket.fetch(message, |received| {
            let rest = received.body.get(ADDRESS_HEADER_BYTES..).unwrap_or_default();
            let address = attribute(rest, ADDRESS_LOCAL).and_then(ipv4);
            if let (Some(index), Some(address)) = (u32_at(received.body, 4), address) {
                each(index, address, received.body[1]);
            }
        })
    }

    /// Gives an interface one address and no other.
    pub(crate) fn set_address(&mut self, index: u32, address: Ipv4Addr) -> io::Result<()> {
        let mut there = Vec::new();
        self.addresses(|link, address, prefix| {
            if link == index {
                there.push((address, prefix));
            }
        })?;
        if !there.contains(&(address, HOST_PREFIX)) {
            let message =
                Message::new(NEW_ADDRESS, ACK | CREATE | REPLACE).raw(&address_header(HOST_PREFIX, 0, index));
            let bytes = address.octets();
            self.socket.ask(message.bytes(ADDRESS_LOCAL, &bytes).bytes(ADDRESS_PEER, &bytes))?;
        }
        for (other, prefix) in there.into_iter().filter(|found| *found != (address, HOST_PREFIX)) {
            let message = Message::new(DELETE_ADDRESS, ACK).raw(&address_header(prefix, 0, index));
            let gone = [libc::EADDRNOTAVAIL, libc::ENODEV];
            unless_gone(self.socket.ask(message.bytes(ADDRESS_LOCAL, &other.octets())), &gone)?;
        }
        Ok(())
    }

    /// Sends what is not for anybody else to `gateway`, which needs no route of its own.
    pub(crate) fn set_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        let route = route_header(0, UNIVERSE, ON_LINK);
        let message = Message::new(NEW_ROUTE, ACK | CREATE | REPLACE).raw(&route);
        self.socket.ask(message.bytes(ROUTE_GATEWAY, &gateway.octets()).number(ROUTE_LINK, index))
    }

    /// Makes `wanted` the only subnets that are behind an interface. What the machine sends there has `source`.
    pub(crate) fn set_subnets(&mut self, index: u32, wanted: &[Subnet], source: Ipv4Addr) -> io::Result<()> {
        for subnet in self.subnets(index)?.into_iter().filter(|subnet| !wanted.contains(subnet)) {
            let message = Message::new(DELETE_ROUTE, ACK).raw(&route_header(subnet.prefix(), NOWHERE, 0));
            let message = message.bytes(ROUTE_TO, &subnet.network().octets()).number(ROUTE_LINK, index);
            unless_gone(self.socket.ask(message), &[libc::ESRCH])?;
        }
        for subnet in wanted {
            let message = Message::new(NEW_ROUTE, ACK | CREATE | REPLACE);
            let message = message.raw(&route_header(subnet.prefix(), ON_THIS_LINK, 0));
            let message = message.bytes(ROUTE_TO, &subnet.network().octets());
            self.socket.ask(message.bytes(ROUTE_SOURCE, &source.octets()).number(ROUTE_LINK, index))?;
        }
        Ok(())
    }

    /// Which subnets are behind an interface.
    fn subnets(&mut self, index: u32) -> io::Result<Vec<Subnet>> {
        let mut subnets = Vec::new();
        self.routes(|route| {
            if route.link == Some(index) {
                subnets.extend(route.to);
            }
        })?;
        Ok(subnets)
    }

    /// The interface that leads to everybody else: the one of the default route that counts first.
    pub(crate) fn uplink(&mut self) -> io::Result<Option<Link>> {
        let mut best: Option<(u32, u32)> = None;
        self.routes(|route| {
            if route.to.is_some_and(|to| to.prefix() == 0)
                && let Some(link) = route.link
            {
                let found = (route.metric, link);
                best = Some(best.map_or(found, |best| best.min(found)));
            }
        })?;
        best.map_or(Ok(None), |(_, index)| self.link_at(index))
    }

    fn routes(&mut self, mut each: impl FnMut(Route)) -> io::Result<()> {
        let message = Message::new(GET_ROUTE, LIST).raw(&route_header(0, UNIVERSE, 0));
        self.socket.fetch(message, |received| {
            if let Some(route) = Route::read(received.body) {
                each(route);
            }
        })
    }
}

/// To whom a port of a bridge may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the machine, and to no other port.
    Machine,
    /// To the machine, to all ports, and back into itself.
    AllAndItself,
}

/// A route of the main table.
struct Route {
    to: Option<Subnet>,
    link: Option<u32>,
    metric: u32,
}

impl Route {
    fn read(body: &[u8]) -> Option<Self> {
        let (header, rest) = body.split_at_checked(ROUTE_HEADER_BYTES)?;
        if header[0] != IPV4 || header[4] != MAIN_TABLE {
            return None;
        }
        let to = attribute(rest, ROUTE_TO).and_then(ipv4).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let number = |kind| attribute(rest, kind).and_then(|payload| u32_at(payload, 0));
        Some(Self {
            to: Subnet::new(to, header[1]),
            link: number(ROUTE_LINK),
            metric: number(ROUTE_METRIC).unwrap_or(0),
        })
    }
}

/// What is gone already was removed.
fn unless_gone(result: io::Result<()>, gone: &[i32]) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error().is_some_and(|number| gone.contains(&number)) => Ok(()),
        other => other,
    }
}

fn ipv4(payload: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(payload).ok().map(Ipv4Addr::from)
}

/// `struct ifaddrmsg`.
fn address_header(prefix: u8, scope: u8, index: u32) -> [u8; ADDRESS_HEADER_BYTES] {
    let [a, b, c, d] = index.to_ne_bytes();
    [IPV4, prefix, 0, scope, a, b, c, d]
}

/// `struct rtmsg` of the main table.
fn route_header(prefix: u8, scope: u8, flags: u32) -> [u8; ROUTE_HEADER_BYTES] {
    let [a, b, c, d] = flags.to_ne_bytes();
    [IPV4, prefix, 0, 0, MAIN_TABLE, BY_ADMINISTRATOR, scope, UNICAST, a, b, c, d]
}

/// `AF_INET`.
const IPV4: u8 = 2;
/// `AF_BRIDGE`.
const BRIDGE_FAMILY: u8 = 7;
/// The prefix of an address that stands for itself: it brings no route along.
const HOST_PREFIX: u8 = 32;
const ADDRESS_HEADER_BYTES: usize = 8;
const ROUTE_HEADER_BYTES: usize = 12;

// `RTM_*`.
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

// `IFA_*`.
const ADDRESS_PEER: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;

// `RTA_*`.
const ROUTE_TO: u16 = 1;
const ROUTE_LINK: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_METRIC: u16 = 6;
const ROUTE_SOURCE: u16 = 7;

// `RT_*`, `RTN_*`, `RTPROT_*`, `RTNH_F_*`.
const MAIN_TABLE: u8 = 254;
const UNIVERSE: u8 = 0;
const ON_THIS_LINK: u8 = 253;
const NOWHERE: u8 = 255;
const UNICAST: u8 = 1;
const BY_ADMINISTRATOR: u8 = 4;
const ON_LINK: u32 = 4;

//! What a guest may reach: outside addresses, all or those that its container may have; of the machine's own loopback only where pods
//! are. It listens at the container's own address, on declared ports only.

mod bind;
mod denials;
mod egress;
mod host_port;
mod known;
mod lookup;
mod machine;
mod names;
mod neighbours;
mod outgoing;
mod relay;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime_wasi::sockets::SocketAddrUse;

use self::{denials::Denials, egress::Ports, known::Known, neighbours::Declared};
pub(crate) use self::{
    host_port::{HostPorts, Toward},
    neighbours::Neighbours,
    outgoing::EgressHooks,
};
use crate::{
    guest::{Egress, Guest, Listening, Loopback, Transport},
    state::ComponentState,
};

/// Puts our rules over what wasmtime's WASI does by itself.
pub(crate) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    bind::add_to_linker(linker)?;
    names::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The rules of one container, shared by its stores, and what they follow from.
#[derive(Debug)]
pub(crate) struct Network {
    listen: Vec<Listening>,
    pod_ip: Option<IpAddr>,
    loopback: Loopback,
    egress: Egress,
    declared: Declared,
    known: Mutex<Known>,
    denials: Denials,
    /// One for each look-up that holds a thread.
    lookups: Arc<Semaphore>,
    /// One for each outgoing request's connection.
    requests: Arc<Semaphore>,
}

impl Network {
    pub(crate) fn of(guest: &Guest, neighbours: &Arc<Neighbours>) -> Self {
        Self {
            listen: guest.listen.clone(),
            declared: neighbours.declare(&guest.listen, guest.pod_ip),
            pod_ip: guest.pod_ip,
            loopback: guest.loopback,
            egress: guest.egress.clone(),
            known: Mutex::default(),
            denials: Denials::told_to(guest.on_denied.clone()),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        }
    }

    /// Decides on one use of an address by a guest's sockets.
    pub(crate) fn may_use(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        let allowed = self.allows(address, usage);
        if !allowed {
            match usage {
                SocketAddrUse::TcpBind | SocketAddrUse::UdpBind | SocketAddrUse::TcpListen => {
                    self.deny(self.refused_bind(address, usage));
                }
                SocketAddrUse::TcpConnect => self.deny(self.refused("connect to", address)),
                SocketAddrUse::UdpSend => self.deny(self.refused("datagram to", address)),
                // Somebody else's doing.
                SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive => {}
            }
        }
        allowed
    }

    fn allows(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        match usage {
            // A bind to no port in particular is how clients begin; it becomes a listener only by a use of its own.
            SocketAddrUse::TcpBind => address.port() == 0 || self.is_declared(Transport::Tcp, address),
            SocketAddrUse::UdpBind => address.port() == 0 || self.is_declared(Transport::Udp, address),
            SocketAddrUse::TcpListen => self.is_declared(Transport::Tcp, address),
            SocketAddrUse::TcpAccept => true,
            SocketAddrUse::TcpConnect => self.may_connect(address),
            SocketAddrUse::UdpSend => self.known().has_heard(address) || self.may_reach(address),
            SocketAddrUse::UdpReceive => self.may_reach(address) || self.serves(address),
        }
    }

    /// Whether guests may connect there by TCP: the API of their cluster is for them wherever it listens.
    pub(super) fn may_connect(&self, address: SocketAddr) -> bool {
        let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.may_reach(address) || self.declared.is_api(canonical) && self.is_listed(canonical)
    }

    /// Whether guests may reach what is there: in a pod's own network to all that is in the pod, whatever its egress says.
    pub(super) fn may_reach(&self, address: SocketAddr) -> bool {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if self.loopback == Loopback::Pod && address.ip().is_loopback() {
            return true;
        }
        let is_there = match Whose::of(address.ip()) {
            Whose::Machine => false,
            Whose::Pods => self.declared.is_neighbour(address),
            Whose::Others => true,
        };
        // A list has a pod by the address that others know.
        is_there
            && (self.is_listed(address)
                || self.declared.stands_for(address).is_some_and(|port| self.is_listed(port)))
    }

    fn is_listed(&self, address: SocketAddr) -> bool {
        self.egress.allows_address(address.ip(), address.port())
            || self.known().allows(address, Instant::now())
    }

    /// Where a connection leads: to a pod of the same host where that is on this machine.
    pub(super) fn translated(&self, transport: Transport, asked: SocketAddr) -> SocketAddr {
        let port = SocketAddr::new(asked.ip().to_canonical(), asked.port());
        self.declared.stand_in(transport, port).unwrap_or(asked)
    }

    /// Whether a datagram of whoever may send one is the container's to read: if it has a port for these. Its sender may be answered, as
    /// in a network that follows conversations.
    fn serves(&self, client: SocketAddr) -> bool {
        let is_server = self.listen.iter().any(|listening| listening.transport == Transport::Udp);
        if is_server {
            self.known().heard(client);
        }
        is_server
    }

    /// Notes that a guest was refused something.
    pub(super) fn deny(&self, what: String) {
        self.denials.note(what, Instant::now());
    }

    /// What guests were refused last, if that is not long ago.
    pub(crate) fn last_denial(&self) -> Option<String> {
        self.denials.last(Instant::now())
    }

    fn refused_bind(&self, address: SocketAddr, usage: SocketAddrUse) -> String {
        let (name, transport) = match usage {
            SocketAddrUse::UdpBind => ("UDP", Transport::Udp),
            _ => ("TCP", Transport::Tcp),
        };
        let port = address.port();
        let is_declared = |declared: &Listening| declared.transport == transport && declared.port == port;
        if port != 0 && self.listen.iter().any(is_declared) {
            return format!("bind to {address}: not an address of the pod");
        }
        match port {
            0 => "listen on no port in particular: only declared ports are listened on".to_owned(),
            port => format!("bind to {name} port {port}: not declared in ports"),
        }
    }

    /// What was tried, and why there is nothing for guests at an address.
    pub(super) fn refused(&self, tried: &str, address: SocketAddr) -> String {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let why = match Whose::of(address.ip()) {
            Whose::Machine if self.declared.is_api(address) => NOT_LISTED,
            Whose::Machine => "the node's own addresses are not for guests",
            Whose::Pods if !self.declared.is_neighbour(address) => "no container of this node has that port",
            Whose::Pods | Whose::Others => NOT_LISTED,
        };
        format!("{tried} {address}: {why}")
    }

    /// Whether a request that a guest sent is under way.
    pub(crate) fn is_requesting(&self) -> bool {
        self.requests.available_permits() < REQUESTS_MAX
    }

    /// The ports of a name that guests may connect to, `None` if none and it may not be looked up either.
    pub(super) fn ports_of(&self, name: &str) -> Option<Ports> {
        self.egress.ports_of(name)
    }

    /// Remembers what a name that may be looked up meant.
    pub(super) fn remember(&self, ip: IpAddr, ports: &Ports) {
        if matches!(self.egress, Egress::Open) {
            return;
        }
        self.known().resolved(ip.to_canonical(), ports, Instant::now());
    }

    /// Where a bind leads: to the container's own address, when that is what was meant.
    pub(super) fn own(&self, transport: Transport, asked: SocketAddr) -> SocketAddr {
        let ip = asked.ip();
        let is_meant = ip.is_unspecified() || ip.is_loopback() || Some(ip) == self.pod_ip;
        let mut declared = self.listen.iter().filter(|listening| {
            listening.transport == transport
                && listening.port == asked.port()
                && listening.address.is_ipv4() == asked.is_ipv4()
        });
        declared.next().filter(|_| is_meant).map_or(asked, |listening| listening.address)
    }

    fn is_declared(&self, transport: Transport, address: SocketAddr) -> bool {
        self.listen.iter().any(|declared| declared.transport == transport && declared.address == address)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is at an address, as far as it tells.
enum Whose {
    /// The machine's own services, such as resolvers in `127.0.0.0/16`. A pod's `localhost` is its own, never the node's.
    Machine,
    /// Pods have addresses of their own in another part of `127.0.0.0/8`, which the node chooses.
    Pods,
    Others,
}

impl Whose {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) if matches!(address.octets(), [127, other, ..] if other != 0) => Self::Pods,
            _ if address.is_unspecified() || address.is_loopback() => Self::Machine,
            _ => Self::Others,
        }
    }
}

/// Why most of what is refused is.
pub(super) const NOT_LISTED: &str = "not in dunlin.dev/egress";

/// What a guest may write of a body at once, and what the host then holds until it is sent.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// Look-ups of a container that go on at once: each holds one of the threads that all guests' files need, too.
const LOOKUPS_MAX: usize = 4;

/// Connections of a container's outgoing requests, each of which is a socket.
const REQUESTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{EgressHosts, EgressTarget};

    pub(super) fn network(egress: Egress) -> Network {
        let listening = |transport, port, address: &str| {
            let address = address.parse().unwrap();
            Listening { port, transport, address, host: None }
        };
        let listen = vec![
            listening(Transport::Tcp, 80, "127.42.0.5:10080"),
            listening(Transport::Udp, 53, "127.42.0.5:10053"),
        ];
        let pod_ip = Some("10.42.0.5".parse().unwrap());
        Network::of(&Guest { listen, pod_ip, egress, ..crate::tests::guest() }, &Arc::default())
    }

    #[test]
    fn addresses_are_judged_by_use() {
        let neighbours = Arc::default();
        let guest = |address: &str| Guest {
            listen: crate::tests::tcp(address.parse().unwrap()),
            ..crate::tests::guest()
        };
        let other = Network::of(&guest("127.42.0.6:80"), &neighbours);
        let network = Network { declared: neighbours.declare(&[], None), ..network(Egress::Open) };
        let check = |address: &str, usage, expected| {
            assert_eq!(network.may_use(address.parse().unwrap(), usage), expected, "{address}");
        };
        check("127.42.0.5:10080", SocketAddrUse::TcpBind, true);
        check("127.42.0.5:10080", SocketAddrUse::TcpListen, true);
        check("127.42.0.5:10080", SocketAddrUse::UdpBind, false);
        check("127.42.0.5:10053", SocketAddrUse::UdpBind, true);
        check("127.42.0.5:10053", SocketAddrUse::TcpListen, false);
        check("0.0.0.0:10080", SocketAddrUse::TcpBind, false);
        check("0.0.0.0:0", SocketAddrUse::TcpBind, true);
        check("0.0.0.0:0", SocketAddrUse::TcpListen, false);
        check("0.0.0.0:34567", SocketAddrUse::TcpListen, false);
        check("192.0.2.1:443", SocketAddrUse::TcpConnect, true);
        check("127.42.0.6:80", SocketAddrUse::TcpConnect, true);
        // Whatever listens on all addresses is there, and is the machine's.
        check("127.42.0.6:22", SocketAddrUse::TcpConnect, false);
        check("127.1.2.3:80", SocketAddrUse::TcpConnect, false);
        check("127.0.0.53:53", SocketAddrUse::UdpSend, false);
        for own in [
            "127.0.0.1:6443",
            "127.0.53.1:6443",
            "0.0.0.0:6443",
            "[::1]:6443",
            "[::ffff:127.0.0.1]:6443",
            "[::]:1",
        ] {
            check(own, SocketAddrUse::TcpConnect, false);
            check(own, SocketAddrUse::UdpSend, false);
        }
        drop(other);
        check("127.42.0.6:80", SocketAddrUse::TcpConnect, false);
    }

    #[test]
    fn the_api_is_reached_where_it_listens_and_nothing_beside_it() {
        let check = |egress: Egress, address: &str, usage, expected| {
            let neighbours: Arc<Neighbours> = Arc::default();
            neighbours.lead_to_api("127.0.0.1:6443".parse().unwrap());
            let network = Network { declared: neighbours.declare(&[], None), ..network(egress) };
            assert_eq!(network.may_use(address.parse().unwrap(), usage), expected, "{address}");
        };
        let connect = SocketAddrUse::TcpConnect;
        check(Egress::Open, "127.0.0.1:6443", connect, true);
        check(Egress::Open, "[::ffff:127.0.0.1]:6443", connect, true);
        check(Egress::Open, "127.0.0.1:6444", connect, false);
        check(Egress::Open, "127.0.0.1:6443", SocketAddrUse::UdpSend, false);
        check(Egress::Only(Vec::new()), "127.0.0.1:6443", connect, false);
    }

    #[test]
    fn what_is_refused_is_told() {
        let network = network(Egress::Only(Vec::new()));
        let check = |address: &str, usage, expected: &str| {
            assert!(!network.may_use(address.parse().unwrap(), usage));
            assert_eq!(network.last_denial().as_deref(), Some(expected));
        };
        check("0.0.0.0:9001", SocketAddrUse::TcpBind, "bind to TCP port 9001: not declared in ports");
        check("0.0.0.0:9001", SocketAddrUse::UdpBind, "bind to UDP port 9001: not declared in ports");
        check("192.0.2.1:80", SocketAddrUse::TcpBind, "bind to 192.0.2.1:80: not an address of the pod");
        check(
            "192.0.2.1:443",
            SocketAddrUse::TcpConnect,
            "connect to 192.0.2.1:443: not in dunlin.dev/egress",
        );
        check("192.0.2.1:53", SocketAddrUse::UdpSend, "datagram to 192.0.2.1:53: not in dunlin.dev/egress");
        check(
            "127.0.0.1:80",
            SocketAddrUse::TcpConnect,
            "connect to 127.0.0.1:80: the node's own addresses are not for guests",
        );
        check(
            "127.42.0.9:80",
            SocketAddrUse::TcpConnect,
            "connect to 127.42.0.9:80: no container of this node has that port",
        );
    }

    #[test]
    fn a_pod_of_the_same_host_is_where_it_stands_in() {
        let neighbours = Arc::default();
        let listen = vec![Listening {
            port: 80,
            transport: Transport::Tcp,
            address: "127.42.0.9:10080".parse().unwrap(),
            host: None,
        }];
        let pod_ip = "10.42.0.9".parse().ok();
        let _pod = Network::of(&Guest { listen, pod_ip, ..crate::tests::guest() }, &neighbours);
        let range = EgressHosts::Range { address: "10.42.0.0".parse().unwrap(), prefix: 16 };
        let only = |port| Egress::Only(vec![EgressTarget { hosts: range.clone(), port: Some(port) }]);
        for (egress, is_reached) in [(Egress::Open, true), (only(80), true), (only(81), false)] {
            let client = Network::of(&Guest { egress, ..crate::tests::guest() }, &neighbours);
            let there = client.translated(Transport::Tcp, "10.42.0.9:80".parse().unwrap());
            assert_eq!(there, "127.42.0.9:10080".parse().unwrap());
            assert_eq!(client.may_use(there, SocketAddrUse::TcpConnect), is_reached);
            let other = "10.42.0.9:81".parse().unwrap();
            assert_eq!(client.translated(Transport::Tcp, other), other);
        }
    }

    #[test]
    fn all_of_a_pods_own_loopback_is_the_pods() {
        let network = Network { loopback: Loopback::Pod, ..network(Egress::Only(Vec::new())) };
        for (address, is_reached) in [("127.0.0.1:6379", true), ("[::1]:6379", true), ("192.0.2.1:80", false)]
        {
            let address = address.parse().unwrap();
            assert_eq!(network.may_use(address, SocketAddrUse::TcpConnect), is_reached, "{address}");
        }
    }

    #[test]
    fn a_bind_to_a_declared_port_is_one_to_the_container_s_own_address() {
        let network = network(Egress::Open);
        let check = |transport, asked: &str, expected: &str| {
            assert_eq!(network.own(transport, asked.parse().unwrap()), expected.parse().unwrap(), "{asked}");
        };
        for asked in ["0.0.0.0:80", "127.0.0.1:80", "10.42.0.5:80"] {
            check(Transport::Tcp, asked, "127.42.0.5:10080");
        }
        check(Transport::Udp, "0.0.0.0:53", "127.42.0.5:10053");
        for other in ["0.0.0.0:0", "0.0.0.0:81", "10.42.0.6:80", "[::]:80"] {
            check(Transport::Tcp, other, other);
        }
        check(Transport::Udp, "0.0.0.0:80", "0.0.0.0:80");
    }

    #[test]
    fn a_list_bounds_what_is_reached() {
        let hosts = |name: &str| EgressHosts::Name(name.to_owned());
        let range = EgressHosts::Range { address: "192.0.2.0".parse().unwrap(), prefix: 24 };
        let network = network(Egress::Only(vec![
            EgressTarget { hosts: hosts("a.example"), port: Some(443) },
            EgressTarget { hosts: range, port: None },
        ]));
        let check = |address: &str, expected| {
            assert_eq!(
                network.may_use(address.parse().unwrap(), SocketAddrUse::TcpConnect),
                expected,
                "{address}"
            );
        };
        check("192.0.2.77:1", true);
        check("198.51.100.1:443", false);
        assert!(network.ports_of("b.example").is_none());
        let ports = network.ports_of("A.example.").unwrap();
        network.remember("198.51.100.1".parse().unwrap(), &ports);
        check("198.51.100.1:443", true);
        check("198.51.100.1:80", false);
        // No name leads to the machine itself.
        network.remember("127.0.0.1".parse().unwrap(), &ports);
        check("127.0.0.1:443", false);
    }

    #[test]
    fn who_sent_a_datagram_may_be_answered() {
        let network = network(Egress::Only(Vec::new()));
        let client = "127.0.0.1:5000".parse().unwrap();
        assert!(!network.may_use(client, SocketAddrUse::UdpSend));
        assert!(network.may_use(client, SocketAddrUse::UdpReceive));
        assert!(network.may_use(client, SocketAddrUse::UdpSend));
        assert!(!network.may_use(client, SocketAddrUse::TcpConnect));
    }

    #[test]
    fn who_has_no_port_hears_only_whom_it_may_reach() {
        let network = |egress| Network { listen: Vec::new(), ..network(egress) };
        let check = |egress, expected| {
            let (network, other) = (network(egress), "192.0.2.1:53".parse().unwrap());
            assert_eq!(network.may_use(other, SocketAddrUse::UdpReceive), expected);
            assert_eq!(network.may_use(other, SocketAddrUse::UdpSend), expected, "it was heard");
        };
        check(Egress::Open, true);
        check(Egress::Only(Vec::new()), false);
    }
}

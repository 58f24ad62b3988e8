//! The machine's addresses and default route: a bell that rings when they change. The kernel tells; nothing is polled.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, socket_with},
};
use tokio::{net::UnixDatagram, sync::watch};
use tracing::{debug, warn};

/// Tells of the changes that the kernel tells of, several at once as one.
#[derive(Debug, Default)]
pub(super) struct Network {
    changes: watch::Sender<Changes>,
}

/// How often the network has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Addresses came or went, those of pods included.
    pub(super) addresses: u64,
    /// A default route came or went: even with the same address, the way out may be another.
    pub(super) default_routes: u64,
}

impl Network {
    /// Tells of changes from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// Listens to the kernel for ever. A machine whose kernel does not tell runs without: silence is then noticed by timeouts.
    pub(super) async fn watch(&self) {
        if let Err(error) = self.listen().await {
            warn!(%error, "changes of this machine's network are not told; a session notices them by silence alone");
        }
        std::future::pending().await
    }

    async fn listen(&self) -> io::Result<()> {
        let socket = open()?;
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            socket.readable().await?;
            let mut told = Changes::default();
            loop {
                match socket.try_recv(&mut buffer) {
                    Ok(count) => told.count(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // So much happened that the kernel had to drop some of it.
                    Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                        told.default_routes += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            if told != Changes::default() {
                // An address comes with routes, and an old one goes before a new one is there.
                tokio::time::sleep(SETTLE).await;
                debug!("this machine's network changed");
                self.changes.send_modify(|changes| {
                    changes.addresses += told.addresses;
                    changes.default_routes += told.default_routes;
                });
            }
        }
    }
}

/// The address that packets to `remote` leave from now; an error when none do.
pub(super) fn source_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(any_like(remote))?;
    // Sends nothing: the kernel only chooses the route.
    socket.connect(remote)?;
    match socket.local_addr()?.ip() {
        // A route by an interface that has no address: nothing could be answered.
        source if source.is_unspecified() => Err(io::ErrorKind::AddrNotAvailable.into()),
        source => Ok(source),
    }
}

/// The address that stands for all of this machine's, of the family of `remote`, with any free port.
pub(super) fn any_like(remote: SocketAddr) -> SocketAddr {
    if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() }
}

/// A netlink socket. tokio waits on sockets of its own types alone, without unsafe code; this one is of datagrams as well, and only
/// received from.
fn open() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol is NETLINK_ROUTE, which is 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UnixDatagram::from_std(socket.into())
}

impl Changes {
    /// Counts what messages tell. Routes of pods come and go and mean nothing here.
    fn count(&mut self, mut messages: &[u8]) {
        while let Some((header, rest)) = messages.split_first_chunk::<HEADER_BYTES>() {
            let [a, b, c, d, kind_low, kind_high, ..] = *header;
            // The second byte of a route is the length of its prefix, and zero bits match everything.
            match (u16::from_ne_bytes([kind_low, kind_high]), rest.get(1)) {
                (NEW_ADDRESS | DELETED_ADDRESS, _) => self.addresses += 1,
                (NEW_ROUTE | DELETED_ROUTE, Some(0)) => self.default_routes += 1,
                _ => {}
            }
            let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let aligned = length.max(HEADER_BYTES).saturating_add(3) & !3;
            messages = messages.get(aligned..).unwrap_or_default();
        }
    }
}

/// Addresses and routes of IPv4 and IPv6: `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE`.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// `RTM_NEWADDR` and the other kinds of message that matter.
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;

/// More than one message of the groups takes.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// How long a change may take until all of it is told.
const SETTLE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::{Changes, DELETED_ADDRESS, HEADER_BYTES, NEW_ADDRESS, NEW_ROUTE};

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn addresses_and_default_routes_matter() {
        let check = |messages: &[Vec<u8>], addresses, default_routes| {
            let mut changes = Changes::default();
            changes.count(&messages.concat());
            assert_eq!(changes, Changes { addresses, default_routes });
        };
        check(&[], 0, 0);
        check(&[message(NEW_ADDRESS, &[2; 8])], 1, 0);
        check(&[message(DELETED_ADDRESS, &[])], 1, 0);
        check(&[message(NEW_ROUTE, &[2, 0, 0])], 0, 1);
        check(&[message(NEW_ROUTE, &[2, 24, 0])], 0, 0);
        check(&[message(NEW_ROUTE, &[2, 32, 0]), message(16, &[]), message(NEW_ADDRESS, &[2])], 1, 0);
        check(&[vec![0; 40]], 0, 0);
        check(&[vec![255; 30]], 0, 0);
    }

    #[tokio::test]
    async fn a_quiet_network_rings_no_bell() {
        let network = super::Network::default();
        let changes = network.subscribe();
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(50), network.listen()).await;
        assert!(quiet.is_err(), "the kernel lets us listen");
        assert!(!changes.has_changed().unwrap());
    }
}

//! Ports of the machine that lead to a container (`hostPort`). Each is listened on at the address that it is for, or at every address that
//! the machine has, as these come and go. Never at all addresses by one socket: that would take the port from containers of any pod
//! whose own place has the same number, and could not be had where one of them listens.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{machine, relay};
use crate::{
    guest::Transport,
    outcome::{Cause, Ended},
};

/// Where what comes to a port of the machine goes.
#[derive(Clone, Debug)]
pub(crate) enum Toward {
    /// To who serves HTTP for the container.
    Handler(mpsc::Sender<TcpStream>),
    /// To where the guest listens by itself.
    Guest(Transport, SocketAddr),
}

/// The open ports of one container. They close when this is dropped; who waits for that calls `close`.
#[derive(Debug)]
pub(crate) struct HostPorts {
    open: CancellationToken,
    tasks: TaskTracker,
}

impl HostPorts {
    /// Opens them.
    ///
    /// # Errors
    /// With the first that is not to be had; then none is open.
    pub(crate) async fn open(places: Vec<(SocketAddr, Toward)>) -> Result<Self, HostPortError> {
        let ports = Self { open: CancellationToken::new(), tasks: TaskTracker::new() };
        if places.is_empty() {
            return Ok(ports);
        }
        let follows = places.iter().any(|(place, _)| place.ip().is_unspecified());
        let (open, tasks) = (ports.open.clone(), ports.tasks.clone());
        let mut sockets = Sockets { places, bound: BTreeMap::new(), open, tasks };
        let present = if follows { machine::addresses()? } else { BTreeSet::new() };
        if let Some((_, failed)) = sockets.follow(&present).await.into_iter().next() {
            return Err(failed);
        }
        if follows {
            let open = ports.open.clone();
            ports.tasks.spawn(async move { open.run_until_cancelled(sockets.follow_on()).await });
        }
        Ok(ports)
    }

    /// Closes them, and returns when others can have them.
    pub(crate) async fn close(self) {
        self.open.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for HostPorts {
    fn drop(&mut self) {
        self.open.cancel();
    }
}

/// Why a port of the machine is not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPortError {
    #[error("failed to read which addresses the machine has")]
    Addresses(#[from] io::Error),
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
}

impl From<HostPortError> for Ended {
    fn from(error: HostPortError) -> Self {
        let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
        Self::new(Cause::HostError, format!("{error}{source}"))
    }
}

/// A place by its number, at one of the addresses that it is for.
type Socket = (usize, IpAddr);

struct Sockets {
    places: Vec<(SocketAddr, Toward)>,
    bound: BTreeMap<Socket, CancellationToken>,
    open: CancellationToken,
    tasks: TaskTracker,
}

impl Sockets {
    async fn follow_on(mut self) {
        let mut told = BTreeSet::new();
        loop {
            sleep(LOOK_EVERY).await;
            let Ok(present) = machine::addresses() else { continue };
            let failed = self.follow(&present).await;
            for (socket, error) in &failed {
                if !told.contains(socket) {
                    tracing::warn!(%error, "a host port is not open at an address that the machine got");
                }
            }
            told = failed.into_keys().collect();
        }
    }

    /// Opens what is to be open now, and closes the rest. Answers what could not be opened.
    async fn follow(&mut self, present: &BTreeSet<Ipv4Addr>) -> BTreeMap<Socket, HostPortError> {
        let of_machine = || present.iter().map(|address| IpAddr::V4(*address));
        let places = self.places.iter().enumerate();
        let wanted: BTreeSet<Socket> = places
            .flat_map(|(index, (place, _))| {
                let all = place.ip().is_unspecified();
                let one = (!all).then_some(place.ip());
                of_machine().filter(move |_| all).chain(one).map(move |address| (index, address))
            })
            .collect();
        self.bound.retain(|socket, open| {
            let stays = wanted.contains(socket);
            if !stays {
                open.cancel();
            }
            stays
        });
        let mut failed = BTreeMap::new();
        for socket in wanted {
            if self.bound.contains_key(&socket) {
                continue;
            }
            let (place, toward) = &self.places[socket.0];
            let address = SocketAddr::new(socket.1, place.port());
            let open = self.open.child_token();
            match listen(address, toward.clone(), &open, &self.tasks).await {
                Ok(()) => {
                    self.bound.insert(socket, open);
                }
                // It has just gone.
                Err(error)
                    if place.ip().is_unspecified() && error.kind() == io::ErrorKind::AddrNotAvailable => {}
                Err(error) => {
                    failed.insert(socket, HostPortError::Listen(address, error));
                }
            }
        }
        failed
    }
}

async fn listen(
    address: SocketAddr,
    toward: Toward,
    open: &CancellationToken,
    tasks: &TaskTracker,
) -> io::Result<()> {
    let open = open.clone();
    match toward {
        Toward::Handler(streams) => {
            let listener = TcpListener::bind(address).await?;
            tasks.spawn(async move { open.run_until_cancelled(hand_on(listener, streams)).await });
        }
        Toward::Guest(Transport::Tcp, to) => {
            let listener = TcpListener::bind(address).await?;
            tasks.spawn(async move { open.run_until_cancelled(relay::connections(listener, to)).await });
        }
        Toward::Guest(Transport::Udp, to) => {
            let socket = Arc::new(UdpSocket::bind(address).await?);
            tasks.spawn(async move { open.run_until_cancelled(relay::datagrams(socket, to)).await });
        }
    }
    Ok(())
}

/// Until who serves them is gone.
async fn hand_on(listener: TcpListener, streams: mpsc::Sender<TcpStream>) {
    while !streams.is_closed() {
        match listener.accept().await {
            // Who is gone takes no more.
            Ok((stream, _client)) => drop(streams.send(stream).await),
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection");
                sleep(relay::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How long an address can be there without the ports that are for all; a look reads one file of the kernel.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    fn to_guest(address: IpAddr, port: u16) -> Vec<(SocketAddr, Toward)> {
        let guest = (Ipv4Addr::new(127, 77, 0, 9), 1).into();
        vec![((address, port).into(), Toward::Guest(Transport::Tcp, guest))]
    }

    #[tokio::test]
    async fn a_port_of_all_addresses_leaves_pods_the_same_number() {
        let port = free_port();
        let place = SocketAddr::from((Ipv4Addr::new(127, 77, 0, 9), port));
        let _other = TcpListener::bind(place).await.unwrap();
        let everywhere = || to_guest(Ipv4Addr::UNSPECIFIED.into(), port);
        let ports = HostPorts::open(everywhere()).await.unwrap();
        for address in machine::addresses().unwrap() {
            TcpStream::connect((address, port)).await.unwrap();
        }
        // Another one cannot have it, and is told so; when it is closed, it can.
        let refused = HostPorts::open(everywhere()).await.unwrap_err();
        assert!(matches!(refused, HostPortError::Listen(..)), "{refused}");
        ports.close().await;
        HostPorts::open(everywhere()).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_port_of_one_address_is_at_no_other() {
        let (port, one) = (free_port(), Ipv4Addr::new(127, 0, 0, 9));
        let _ports = HostPorts::open(to_guest(one.into(), port)).await.unwrap();
        TcpStream::connect((one, port)).await.unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap_err();
        let nowhere = Ipv4Addr::new(198, 51, 100, 7);
        HostPorts::open(to_guest(nowhere.into(), port)).await.unwrap_err();
    }

    #[tokio::test]
    async fn addresses_that_come_and_go_are_followed() {
        let port = free_port();
        let (open, tasks) = (CancellationToken::new(), TaskTracker::new());
        let places = to_guest(Ipv4Addr::UNSPECIFIED.into(), port);
        let mut sockets = Sockets { places, bound: BTreeMap::new(), open, tasks };
        let (first, second) = (Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 0, 0, 8));
        assert!(sockets.follow(&BTreeSet::from([first])).await.is_empty());
        TcpStream::connect((first, port)).await.unwrap();
        TcpStream::connect((second, port)).await.unwrap_err();
        assert!(sockets.follow(&BTreeSet::from([second])).await.is_empty());
        TcpStream::connect((second, port)).await.unwrap();
        sockets.tasks.close();
        let closed = async {
            while TcpStream::connect((first, port)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
    }
}

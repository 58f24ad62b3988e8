//! Where an HTTP handler is served: at the container's own address, and at the machine's where its port has a place there (`hostPort`).

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::{
    guest::{Guest, Listening},
    network::{HostPorts, Toward},
    outcome::{Cause, Ended},
};

pub(super) struct Listener {
    own: TcpListener,
    host: HostPorts,
    /// What came to the machine's ports.
    streams: mpsc::Receiver<TcpStream>,
}

impl Listener {
    /// For one of the guest's ports.
    pub(super) async fn bind(guest: &Guest, served: &Listening) -> Result<Self, Ended> {
        let own = bind(served.address).await?;
        // What is not taken in waits in the kernel.
        let (sender, streams) = mpsc::channel(1);
        let places = guest.listen.iter().filter(|listening| listening.is_same_port(served));
        let places = places.filter_map(|listening| Some((listening.host?, Toward::Handler(sender.clone()))));
        let host = HostPorts::open(places.collect()).await?;
        Ok(Self { own, host, streams })
    }

    pub(super) async fn accept(&mut self) -> io::Result<TcpStream> {
        tokio::select! {
            accepted = self.own.accept() => accepted.map(|(stream, _client)| stream),
            Some(stream) = self.streams.recv() => Ok(stream),
        }
    }

    /// Returns when others can have the ports.
    pub(super) async fn close(self) {
        drop((self.own, self.streams));
        self.host.close().await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Ended> {
    let failed = |error| Ended::new(Cause::HostError, format!("failed to listen on {address}: {error}"));
    TcpListener::bind(address).await.map_err(failed)
}

//! Where an HTTP handler is served: at the container's own address, and at the machine's where its port has a place there (`hostPort`).

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::{
    guest::Listening,
    outcome::{Cause, Ended},
};

pub(super) struct Listener {
    own: TcpListener,
    host: Option<TcpListener>,
}

impl Listener {
    pub(super) async fn bind(listening: &Listening) -> Result<Self, Ended> {
        let own = bind(listening.address).await?;
        let host = match listening.host {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Self { own, host })
    }

    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _peer) = match &self.host {
            None => self.own.accept().await?,
            Some(host) => tokio::select! {
                accepted = self.own.accept() => accepted?,
                accepted = host.accept() => accepted?,
            },
        };
        Ok(stream)
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Ended> {
    let failed = |error| Ended::new(Cause::HostError, format!("failed to listen on {address}: {error}"));
    TcpListener::bind(address).await.map_err(failed)
}

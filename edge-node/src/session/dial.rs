//! One attempt at one address: by UDP, by TCP, or by one beside the other, whichever answers first.

use std::{io, net::SocketAddr, sync::Arc};

use dunlin_link::{join::SERVER_NAME, message::Tunables};
use quinn::{ClientConfig, Connection, Endpoint, crypto::rustls::QuicClientConfig};
use tokio::net::lookup_host;

use super::{
    connect::{
        CONNECT_TIMEOUT, Carrier, ConnectError, Connected, SharedSocket, describe, intervals, transport,
    },
    network::{any_like, source_towards},
    tls::own_words,
    way::{Plan, Way},
};

/// What every attempt needs.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) tls: rustls::ClientConfig,
    /// To be used in place of one of its own.
    pub(super) socket: Option<SharedSocket>,
    pub(super) tunables: Option<Tunables>,
    pub(super) plan: Plan,
}

/// Why one way did not lead there.
enum Failure {
    /// Nobody answered; another way may do better.
    Silence(String),
    /// Who answered refused, or nothing can be tried at all.
    Refusal(ConnectError),
}

impl Dial {
    /// Connects to the coordinator at an address.
    pub(super) async fn dial(&self, address: &str) -> Result<Connected, ConnectError> {
        let look_up = |source| ConnectError::LookUp { address: address.to_owned(), source };
        let remote = lookup_host(address).await.map_err(look_up)?.next();
        let remote = remote.ok_or_else(|| look_up(io::ErrorKind::NotFound.into()))?;
        let target = Target { address, remote };
        match self.plan.then {
            None => self.by(self.plan.first, target).await.map_err(|failure| failure.at(address)),
            Some(then) => self.either(then, target).await,
        }
    }

    /// Gives the first way its time, then tries both.
    async fn either(
        &self,
        (second, patience): (Way, std::time::Duration),
        target: Target<'_>,
    ) -> Result<Connected, ConnectError> {
        let mut first = std::pin::pin!(self.by(self.plan.first, target));
        let alone = tokio::time::timeout(patience, &mut first).await;
        let silence = match alone {
            Ok(Err(Failure::Silence(why))) => Some(why),
            Ok(decided) => return decided.map_err(|failure| failure.at(target.address)),
            Err(_) => None,
        };
        let mut second = std::pin::pin!(self.by(second, target));
        let (silence, failure) = match silence {
            Some(silence) => (silence, second.await),
            None => tokio::select! {
                answer = &mut first => match answer {
                    Err(Failure::Silence(silence)) => (silence, second.await),
                    decided => return decided.map_err(|failure| failure.at(target.address)),
                },
                answer = &mut second => match answer {
                    Ok(connected) => return Ok(connected),
                    failure => match first.await {
                        Err(Failure::Silence(silence)) => (silence, failure),
                        decided => return decided.map_err(|failure| failure.at(target.address)),
                    },
                },
            },
        };
        match failure {
            Ok(connected) => Ok(connected),
            Err(failure) => Err(failure.after(&silence).at(target.address)),
        }
    }

    async fn by(&self, way: Way, target: Target<'_>) -> Result<Connected, Failure> {
        let attempt = async {
            match way {
                Way::Udp => self.by_udp(target).await,
                Way::Tcp => self.by_tcp(target).await,
            }
        };
        let timeout = tokio::time::timeout(CONNECT_TIMEOUT, attempt).await;
        timeout.unwrap_or_else(|_| Err(Failure::Silence(format!("no answer in time by {way}"))))
    }

    /// Connects by UDP alone, whatever the plan.
    pub(super) async fn probe(&self, address: &str, remote: SocketAddr) -> Option<Connected> {
        self.by(Way::Udp, Target { address, remote }).await.ok()
    }

    async fn by_udp(&self, target: Target<'_>) -> Result<Connected, Failure> {
        let endpoint = match &self.socket {
            Some(SharedSocket(endpoint)) => Ok(endpoint.clone()),
            // One of its own for each connection: after a change of network an old one may be bound to nothing.
            None => Endpoint::client(any_like(target.remote)),
        };
        let endpoint = endpoint.map_err(|error| Failure::Refusal(ConnectError::Socket(error)))?;
        let source = source_towards(target.remote).ok();
        let connection = self.handshake(&endpoint, Way::Udp, target).await?;
        Ok(self.connected(connection, Carrier::Udp { endpoint, source }, target))
    }

    async fn by_tcp(&self, target: Target<'_>) -> Result<Connected, Failure> {
        let tunnel = dunlin_tunnel::connect(target.remote, SERVER_NAME, &self.tls).await;
        let tunnel = tunnel.map_err(|error| match error {
            dunlin_tunnel::ConnectError::Tcp(error) => Failure::Silence(format!("{error} by TCP")),
            error => {
                let source = in_own_words(error);
                Failure::Refusal(ConnectError::Tunnel { address: target.address.to_owned(), source })
            }
        })?;
        let connection = self.handshake(tunnel.endpoint(), Way::Tcp, target).await?;
        Ok(self.connected(connection, Carrier::Tcp(tunnel), target))
    }

    async fn handshake(
        &self,
        endpoint: &Endpoint,
        way: Way,
        target: Target<'_>,
    ) -> Result<Connection, Failure> {
        let refused =
            |why| Failure::Refusal(ConnectError::Refused { address: target.address.to_owned(), why });
        let tls = QuicClientConfig::try_from(self.tls.clone())
            .map_err(|_| refused("TLS lacks the cipher of initial packets".to_owned()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport(self.tunables, way)));
        let connecting = endpoint
            .connect_with(config, target.remote, SERVER_NAME)
            .map_err(|error| refused(error.to_string()))?;
        connecting.await.map_err(|error| match error {
            quinn::ConnectionError::TimedOut => Failure::Silence(format!("no answer by {way}")),
            error => refused(describe(&error)),
        })
    }

    fn connected(&self, connection: Connection, carrier: Carrier, target: Target<'_>) -> Connected {
        let keep_alive = intervals(self.tunables).0;
        let address = target.address.to_owned();
        Connected { connection, address, remote: target.remote, keep_alive, carrier }
    }
}

/// Where to.
#[derive(Clone, Copy)]
struct Target<'a> {
    /// As given.
    address: &'a str,
    remote: SocketAddr,
}

impl Failure {
    /// What went wrong by another way comes first.
    fn after(self, silence: &str) -> Self {
        match self {
            Self::Silence(why) => Self::Silence(format!("{silence}, and {why}")),
            refusal @ Self::Refusal(_) => refusal,
        }
    }

    fn at(self, address: &str) -> ConnectError {
        match self {
            Self::Silence(why) => ConnectError::Refused { address: address.to_owned(), why },
            Self::Refusal(error) => error,
        }
    }
}

/// What a tunnel's handshake failed for, as a connection by UDP would tell it.
fn in_own_words(error: dunlin_tunnel::ConnectError) -> dunlin_tunnel::ConnectError {
    match error {
        dunlin_tunnel::ConnectError::Tls(error) => {
            let told = error.to_string();
            let words = own_words(&told);
            let error = if words == told { error } else { io::Error::new(error.kind(), words) };
            dunlin_tunnel::ConnectError::Tls(error)
        }
        error => error,
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

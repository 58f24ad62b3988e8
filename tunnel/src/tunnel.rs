//! A QUIC endpoint over one stream.

use std::{io, net::SocketAddr, sync::Arc};

use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::{DATAGRAM_BYTES_MAX, Traffic, carrier};

/// Both ends of a TCP connection, which the endpoint inside takes for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// This side's.
    pub local: SocketAddr,
    /// The other side's.
    pub peer: SocketAddr,
}

/// An endpoint whose datagrams go through a stream. The stream is closed when the endpoint is gone, after its last words.
#[derive(Debug)]
pub struct Tunnel {
    endpoint: Endpoint,
    addresses: Addresses,
    traffic: Arc<Traffic>,
    ended: CancellationToken,
}

impl Tunnel {
    /// Puts an endpoint over a stream; with `server` it takes connections, without it makes them. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When QUIC refuses the configuration.
    pub fn new(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        addresses: Addresses,
        traffic: Arc<Traffic>,
        server: Option<ServerConfig>,
    ) -> io::Result<Self> {
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(DATAGRAM_BYTES_MAX).map_err(io::Error::other)?;
        let (carrier, pump) = carrier::pair(addresses);
        let endpoint = Endpoint::new_with_abstract_socket(config, server, carrier, Arc::new(TokioRuntime))?;
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        // Ends with the stream, or soon after the endpoint.
        tokio::spawn(async move {
            pump.run(stream).await;
            drop(guard);
        });
        Ok(Self { endpoint, addresses, traffic, ended })
    }

    /// The endpoint.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What carries it.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What went over TCP so far.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Ends when the stream has: what is inside hears nothing any more.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Fits a QUIC configuration to a tunnel: TCP cuts datagrams as it likes, so their size is fixed, and larger than UDP's.
pub fn fit(transport: &mut TransportConfig) {
    transport.initial_mtu(DATAGRAM_BYTES_MAX).min_mtu(DATAGRAM_BYTES_MAX).mtu_discovery_config(None);
}

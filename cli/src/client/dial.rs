//! Reaching the coordinator: by UDP, and by TCP beside it where UDP brings no answer soon.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use dunlin_link::join::SERVER_NAME;
use dunlin_tunnel::Tunnel;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig, TransportErrorCode,
    crypto::rustls::QuicClientConfig,
};
use tokio::time::Instant;

use super::{
    explain::{START_IT, explain},
    tls,
};
use crate::context::Access;

/// Why a way led nowhere.
enum Failure {
    /// Nobody answered by it.
    Silence,
    /// The machine says that nothing listens.
    NobodyThere,
    /// Who answered refuses, which another way would not change.
    Refusal(anyhow::Error),
}

/// Connects by whichever way answers first.
///
/// # Errors
/// When none does, or one side refuses the other; the message says what to do next.
pub(super) async fn dial(access: &Access) -> Result<Connection> {
    let remote = resolve(&access.server).await?;
    let tls = tls::config(access)?;
    let attempt = either(access, remote, &tls);
    let server = &access.server;
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(Failure::Refusal(error))) => Err(error),
        Ok(Err(Failure::NobodyThere)) => Err(anyhow!("quic://{server} refused the connection: {START_IT}")),
        Ok(Err(Failure::Silence)) | Err(_) => {
            Err(anyhow!("no answer from quic://{server} within {CONNECT_TIMEOUT:?}: {START_IT}"))
        }
    }
}

async fn either(
    access: &Access,
    remote: SocketAddr,
    tls: &rustls::ClientConfig,
) -> Result<Connection, Failure> {
    let mut udp = std::pin::pin!(by_udp(access, remote, tls));
    let started = Instant::now();
    let silence = match tokio::time::timeout(UDP_HEAD_START, &mut udp).await {
        Ok(Err(Failure::Refusal(error))) => return Err(Failure::Refusal(error)),
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(silence)) => Some(silence),
        Err(_) => None,
    };
    let mut tcp = std::pin::pin!(by_tcp(access, remote, tls));
    if let Some(silence) = silence {
        return match tcp.await {
            // Words about UDP, which is the usual way, say more.
            Err(Failure::Silence | Failure::NobodyThere) => Err(silence),
            decided => decided,
        };
    }
    tokio::select! {
        answer = &mut udp => match answer {
            Err(Failure::Silence | Failure::NobodyThere) => tcp.await,
            decided => decided,
        },
        answer = &mut tcp => match answer {
            Err(Failure::Silence | Failure::NobodyThere) => udp.await,
            // Who refuses on TCP may be somebody on the way there, and the coordinator be slow.
            Err(Failure::Refusal(error)) => match tokio::time::timeout_at(started + UDP_PATIENCE, udp).await {
                Ok(Ok(connected)) => Ok(connected),
                Ok(Err(Failure::Refusal(error))) => Err(Failure::Refusal(error)),
                Ok(Err(Failure::Silence | Failure::NobodyThere)) | Err(_) => Err(Failure::Refusal(error)),
            },
            connected => connected,
        },
    }
}

async fn by_udp(
    access: &Access,
    remote: SocketAddr,
    tls: &rustls::ClientConfig,
) -> Result<Connection, Failure> {
    let local: SocketAddr = if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let endpoint = Endpoint::client(local).context("cannot open a UDP socket").map_err(Failure::Refusal)?;
    let config = config(tls, TransportConfig::default()).map_err(Failure::Refusal)?;
    tokio::select! {
        connection = handshake(access, &endpoint, &config, remote) => connection,
        () = nobody_there(remote) => Err(Failure::NobodyThere),
    }
}

async fn by_tcp(
    access: &Access,
    remote: SocketAddr,
    tls: &rustls::ClientConfig,
) -> Result<Connection, Failure> {
    let tunnel = dunlin_tunnel::connect(remote, SERVER_NAME, tls).await.map_err(|error| match error {
        dunlin_tunnel::ConnectError::Tcp(_) => Failure::Silence,
        error => {
            let server = &access.server;
            Failure::Refusal(anyhow!(error).context(format!("cannot connect to {server} by TCP")))
        }
    })?;
    let mut transport = TransportConfig::default();
    dunlin_tunnel::fit(&mut transport);
    let config = config(tls, transport).map_err(Failure::Refusal)?;
    let connection = handshake(access, tunnel.endpoint(), &config, remote).await?;
    let watched = connection.clone();
    // Ends with the stream, which ends with the connection.
    tokio::spawn(end_with(tunnel, watched));
    Ok(connection)
}

/// A connection whose stream broke would wait for the idle timeout.
async fn end_with(tunnel: Tunnel, connection: Connection) {
    tokio::select! {
        () = tunnel.ended() => connection.close(0_u32.into(), b"the TCP connection ended"),
        _ = connection.closed() => {}
    }
}

/// A coordinator to which a whole fleet comes back at once refuses some; they come again.
async fn handshake(
    access: &Access,
    endpoint: &Endpoint,
    config: &ClientConfig,
    remote: SocketAddr,
) -> Result<Connection, Failure> {
    loop {
        let connecting = endpoint
            .connect_with(config.clone(), remote, SERVER_NAME)
            .with_context(|| format!("cannot connect to quic://{}", access.server))
            .map_err(Failure::Refusal)?;
        match connecting.await {
            Ok(connection) => return Ok(connection),
            Err(ConnectionError::ConnectionClosed(close))
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Err(ConnectionError::TimedOut) => return Err(Failure::Silence),
            Err(error) => return Err(Failure::Refusal(explain(&error, access))),
        }
    }
}

fn config(tls: &rustls::ClientConfig, mut transport: TransportConfig) -> Result<ClientConfig> {
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.max_idle_timeout(Some(IDLE_TIMEOUT.try_into().context("idle timeout")?));
    let crypto =
        QuicClientConfig::try_from(tls.clone()).context("the TLS configuration cannot serve QUIC")?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn resolve(server: &str) -> Result<SocketAddr> {
    let mut addresses = tokio::net::lookup_host(server)
        .await
        .with_context(|| format!("cannot find the address of {server}, the server of this context"))?;
    addresses.next().ok_or_else(|| anyhow!("{server} has no address"))
}

/// Ends when the machine at `address` says that nothing listens on the port, which QUIC itself never learns; else never.
async fn nobody_there(address: SocketAddr) {
    let probe = || -> std::io::Result<tokio::net::UdpSocket> {
        let local: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        socket.connect(address)?;
        // Too short to be a QUIC packet, so that a listening server drops it silently.
        socket.send(&[0])?;
        tokio::net::UdpSocket::from_std(socket)
    };
    if let Ok(socket) = probe()
        && let Err(error) = socket.recv(&mut [0; 1]).await
        && error.kind() == std::io::ErrorKind::ConnectionRefused
    {
        return;
    }
    std::future::pending().await
}

/// Keeps a quiet watch alive through address translators, which forget UDP flows after 30 seconds or more.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What UDP is given before TCP is tried beside it, as RFC 8305 has it for addresses. TCP takes two exchanges more, so where UDP passes
/// it is the first to answer, however slow the line is.
const UDP_HEAD_START: Duration = Duration::from_millis(250);

/// What UDP is given where TCP is refused.
const UDP_PATIENCE: Duration = Duration::from_millis(1500);

/// For a slow radio link, and for a coordinator that has a fleet to greet first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Between tries at a coordinator that has no room for a handshake.
const REFUSED_PAUSE: Duration = Duration::from_millis(300);

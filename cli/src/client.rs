//! The command line's connection to the API: one QUIC connection, one bidirectional stream per request. The only module here
//! that names quinn.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use dunlin_link::{join::SERVER_NAME, rpc::RequestHead};
use quinn::{Connection, ConnectionError, Endpoint, TransportConfig, crypto::rustls::QuicClientConfig};

use self::explain::explain;
pub(crate) use self::response::Response;
use crate::context::Access;

mod explain;
mod response;
mod tls;

/// A connection to one coordinator.
#[derive(Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
    connection: Connection,
    server: String,
}

/// What follows a request's head.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Nothing.
    Empty,
    /// A value in memory.
    Bytes(&'a [u8]),
    /// A file, with a call after each piece of so many bytes.
    File(&'a mut tokio::fs::File, &'a dyn Progress),
}

/// Told how far an upload is.
pub(crate) trait Progress: std::fmt::Debug + Sync {
    /// So many more bytes were handed to the network.
    fn advanced(&self, bytes: u64);
}

impl Client {
    /// Connects and proves both sides' identities.
    ///
    /// # Errors
    /// When there is no answer, or one side refuses the other; the message says what to do next.
    pub(crate) async fn connect(access: &Access) -> Result<Self> {
        let server = &access.server;
        let address = resolve(server).await?;
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(KEEP_ALIVE));
        transport.max_idle_timeout(Some(IDLE_TIMEOUT.try_into().context("idle timeout")?));
        let crypto = QuicClientConfig::try_from(tls::config(access)?)
            .context("the TLS configuration cannot serve QUIC")?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));

        let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let endpoint = Endpoint::client(local.parse().expect("a constant address"))
            .context("cannot open a UDP socket")?;
        let connecting = endpoint
            .connect_with(config, address, SERVER_NAME)
            .with_context(|| format!("cannot connect to quic://{server}"))?;
        let connection = tokio::select! {
            connection = connecting => connection.map_err(|error| explain(&error, access))?,
            () = refused(address) => return Err(anyhow!("quic://{server} refused the connection: {}", explain::START_IT)),
            () = tokio::time::sleep(CONNECT_TIMEOUT) => {
                return Err(anyhow!("no answer from quic://{server} within {CONNECT_TIMEOUT:?}: {}", explain::START_IT));
            }
        };
        Ok(Self { endpoint, connection, server: server.clone() })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection fails before that.
    pub(crate) async fn request(&self, head: &RequestHead, body: Body<'_>) -> Result<Response> {
        let lost = || format!("lost the connection to quic://{}", self.server);
        let (mut send, receive) = self.connection.open_bi().await.with_context(lost)?;
        let sent = async {
            send.write_all(&dunlin_link::frame::encode(head)).await?;
            match body {
                Body::Empty => {}
                Body::Bytes(bytes) => send.write_all(bytes).await?,
                Body::File(file, progress) => send_file(&mut send, file, progress).await?,
            }
            // Finishing a stream that the peer stopped fails, which its answer explains better.
            let _ = send.finish();
            Ok::<(), anyhow::Error>(())
        };
        let sent = sent.await;
        let answer = Response::read_head(receive).await;
        match (sent, answer) {
            (_, Ok(answer)) => Ok(answer),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error.context(lost())),
        }
    }

    /// Says goodbye, so that the coordinator need not wait for a timeout.
    pub(crate) async fn close(self) {
        self.connection.close(0u32.into(), b"done");
        // An unheard goodbye costs the server only its idle timeout.
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

/// Whether an error means that the connection is gone, so that no other request will be answered either.
pub(crate) fn is_lost(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<ConnectionError>())
}

async fn send_file(
    send: &mut quinn::SendStream,
    file: &mut tokio::fs::File,
    progress: &dyn Progress,
) -> Result<()> {
    use tokio::io::AsyncReadExt as _;
    let mut buffer = vec![0; UPLOAD_PIECE_BYTES];
    loop {
        let read = file.read(&mut buffer).await.context("cannot read the file")?;
        if read == 0 {
            return Ok(());
        }
        send.write_all(&buffer[..read]).await?;
        progress.advanced(read as u64);
    }
}

async fn resolve(server: &str) -> Result<SocketAddr> {
    let mut addresses = tokio::net::lookup_host(server)
        .await
        .with_context(|| format!("cannot find the address of {server}, the server of this context"))?;
    addresses.next().ok_or_else(|| anyhow!("{server} has no address"))
}

/// Ends when the machine at `address` says that nothing listens on the port, which QUIC itself never learns; else never.
async fn refused(address: SocketAddr) {
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

/// A coordinator that is there answers within a round trip.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

const UPLOAD_PIECE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use anyhow::{Result, anyhow};
    use quinn::{ConnectionError, ReadError, WriteError};

    use super::is_lost;

    #[test]
    fn lost_connections_are_told_from_broken_streams() {
        let check = |outcome: Result<()>, expected: bool| {
            let error = outcome.unwrap_err().context("lost the connection");
            assert_eq!(is_lost(&error), expected, "{error:#}");
        };
        check(Err(ConnectionError::TimedOut.into()), true);
        check(Err(WriteError::ConnectionLost(ConnectionError::Reset).into()), true);
        check(Err(ReadError::ConnectionLost(ConnectionError::LocallyClosed).into()), true);
        check(Err(WriteError::Stopped(0u32.into()).into()), false);
        check(Err(anyhow!("no")), false);
    }
}

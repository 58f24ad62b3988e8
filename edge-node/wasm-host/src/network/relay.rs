//! Leads what comes to a port of the machine on to the container whose port it is (`hostPort`), for guests that listen by themselves:
//! they know no other address than their own, and may bind no other.
//!
//! What a guest sees as its client is this relay, on the machine's loopback, as behind any other that translates addresses.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// For ever; what is relayed ends with this.
pub(super) async fn connections(listener: TcpListener, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut relayed = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        while relayed.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _from)) => {
                relayed.spawn(async move {
                    if let Err(error) = relay(client, to).await {
                        tracing::debug!(%error, "a relayed connection failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    // A guest that does not listen yet refuses, which its client sees by the end of its connection.
    let mut guest = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    guest.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut guest).await.map(drop)
}

/// A client's own socket towards the guest, so that the guest tells clients apart, and what brings back its answers.
struct Conversation {
    socket: Arc<UdpSocket>,
    answers: JoinHandle<()>,
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// For ever.
pub(super) async fn datagrams(socket: Arc<UdpSocket>, to: SocketAddr) {
    let mut conversations: HashMap<SocketAddr, Conversation> = HashMap::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut datagram).await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        conversations.retain(|_, conversation| !conversation.answers.is_finished());
        if !conversations.contains_key(&client) {
            // Datagrams may be lost, and those of too many clients are.
            if conversations.len() >= CONVERSATIONS_MAX {
                continue;
            }
            match converse(Arc::clone(&socket), client, to).await {
                Ok(new) => conversations.insert(client, new),
                Err(error) => {
                    tracing::debug!(%error, "a datagram could not be relayed");
                    continue;
                }
            };
        }
        let guest = conversations.get(&client).map(|conversation| Arc::clone(&conversation.socket));
        if let Some(guest) = guest {
            // One that the guest does not take is lost.
            let _ = guest.send(&datagram[..length]).await;
        }
    }
}

async fn converse(socket: Arc<UdpSocket>, client: SocketAddr, to: SocketAddr) -> io::Result<Conversation> {
    let guest = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    guest.connect(to).await?;
    let heard = Arc::clone(&guest);
    let answers = tokio::spawn(async move {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        // An error is that of a guest that does not listen.
        while let Ok(Ok(length)) = timeout(CONVERSATION_IDLE_MAX, heard.recv(&mut datagram)).await {
            let _ = socket.send_to(&datagram[..length], client).await;
        }
    });
    Ok(Conversation { socket: guest, answers })
}

/// Relayed connections of one port; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1024;

/// Clients of one port for datagrams at once.
const CONVERSATIONS_MAX: usize = 256;

/// How long a guest may say nothing to a client that it was asked by; the next datagram begins another conversation.
const CONVERSATION_IDLE_MAX: Duration = Duration::from_secs(60);

/// What a datagram can have.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// Keeps a failing accept from spinning.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

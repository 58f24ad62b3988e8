//! A socket for a QUIC endpoint that has one peer, and the task that moves its datagrams through a stream.
//!
//! Both queues are bounded. When the outgoing one is full, the endpoint is told that the socket would block and is woken when there is
//! room; when the incoming one is full, the stream is not read.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Notify, mpsc},
};

use crate::{datagram, tunnel::Addresses};

/// The socket. The endpoint owns it; when it is gone, so is the need for the stream.
#[derive(Debug)]
pub(crate) struct Carrier {
    addresses: Addresses,
    outgoing: Arc<Outgoing>,
    incoming: Mutex<mpsc::Receiver<Vec<u8>>>,
}

/// The stream's side of the queues.
pub(crate) struct Pump {
    outgoing: Arc<Outgoing>,
    incoming: mpsc::Sender<Vec<u8>>,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Outgoing {
    state: Mutex<State>,
    /// Rung when there is something to write, or when no more will come.
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Connections of the endpoint that wait for room: one, and while it changes two.
    waiting: Vec<Waker>,
    is_over: bool,
}

/// A socket and the other side of its queues.
pub(crate) fn pair(addresses: Addresses) -> (Arc<Carrier>, Pump) {
    let outgoing = Arc::<Outgoing>::default();
    let (sender, receiver) = mpsc::channel(INCOMING_MAX);
    let pump = Pump { outgoing: Arc::clone(&outgoing), incoming: sender };
    (Arc::new(Carrier { addresses, outgoing, incoming: Mutex::new(receiver) }), pump)
}

impl Pump {
    /// Moves datagrams until the stream breaks or the endpoint is gone.
    pub(crate) async fn run(self, stream: impl AsyncRead + AsyncWrite) {
        let Self { outgoing, incoming } = self;
        let (input, mut output) = tokio::io::split(stream);
        let read = async {
            let mut input = BufReader::with_capacity(READ_BYTES, input);
            // Why the stream broke matters to nobody: the connection inside says what ended it.
            while let Ok(datagram) = datagram::read(&mut input).await {
                if incoming.send(datagram).await.is_err() {
                    // The endpoint is gone; what it still has to say is being written.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = write(&outgoing, &mut output) => {}
        }
        // Nobody waits for the other side to agree.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, output.shutdown()).await;
    }
}

async fn write(outgoing: &Outgoing, output: &mut (impl AsyncWrite + Unpin)) {
    let mut last = false;
    while !last {
        outgoing.bell.notified().await;
        let (bytes, is_over) = outgoing.take();
        last = is_over;
        let written = async {
            output.write_all(&bytes).await?;
            output.flush().await
        };
        let written = if last {
            tokio::time::timeout(CLOSE_TIMEOUT, written).await.unwrap_or(Ok(()))
        } else {
            tokio::select! {
                written = written => written,
                // An endpoint that is gone must not be kept by a peer that does not read.
                () = outgoing.over() => return,
            }
        };
        if written.is_err() {
            return;
        }
    }
}

impl Outgoing {
    fn take(&self) -> (Vec<u8>, bool) {
        let mut state = self.state();
        let bytes = std::mem::take(&mut state.bytes);
        let waiting = std::mem::take(&mut state.waiting);
        let is_over = state.is_over;
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        (bytes, is_over)
    }

    /// Ends some time after the endpoint is gone.
    async fn over(&self) {
        loop {
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            if self.state().is_over {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncUdpSocket for Carrier {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room(Arc::clone(&self.outgoing)))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut state = self.outgoing.state();
        if state.bytes.len() >= OUTGOING_BYTES_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(segment) {
            datagram::append(datagram, &mut state.bytes);
        }
        drop(state);
        self.outgoing.bell.notify_one();
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            match incoming.poll_recv(context) {
                Poll::Ready(Some(datagram)) => {
                    // QUIC makes its buffers as large as the datagrams that it was told of.
                    let length = datagram.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&datagram[..length]);
                    let addr = self.addresses.peer;
                    *meta = RecvMeta { addr, len: length, stride: length, ecn: None, dst_ip: None };
                    count += 1;
                }
                // After the stream's end nothing comes any more, as on a dead line; whoever owns the tunnel is told in another way.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addresses.local)
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.outgoing.state().is_over = true;
        self.outgoing.bell.notify_one();
    }
}

/// Tells a connection when its next datagram has a place.
#[derive(Debug)]
struct Room(Arc<Outgoing>);

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.bytes.len() < OUTGOING_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pump")
    }
}

/// Bytes that wait while others are written: enough to keep TLS records full, little enough that priorities inside still count.
const OUTGOING_BYTES_MAX: usize = 32 << 10;

/// Datagrams that wait to be taken by the endpoint.
const INCOMING_MAX: usize = 64;

/// Taken from the stream at a time: one TLS record.
const READ_BYTES: usize = 16 << 10;

/// For the last words of an endpoint, and for the end of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

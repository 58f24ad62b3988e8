//! Forwarding over SPDY: a pair of streams for each connection, one for its bytes and one for what went wrong, told apart by their headers.

mod streams;

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error};

use self::streams::{Pair, Streams};
use super::{
    Forwarder,
    carry::{Gone, Outlet, Told, carry},
};
use crate::service::{
    spdy::{self, Decoder, Fault, Frame},
    upgrade::Duplex,
};

/// Speaks until the client leaves.
pub(super) async fn talk(client: Box<dyn Duplex>, forwarder: Forwarder) {
    let (from_client, to_client) = tokio::io::split(client);
    let (told, frames) = mpsc::channel(FRAMES_MAX);
    let writer = AbortOnDropHandle::new(tokio::spawn(write(to_client, frames)));
    let session = Session {
        decoder: Decoder::default(),
        streams: Streams::default(),
        connections: JoinSet::new(),
        told,
        forwarder,
    };
    if let Err(broken) = session.serve(from_client).await {
        debug!(%broken, "a client's ports are forwarded no more");
    }
    // What was told goes out, where somebody takes it.
    let _ = timeout(FAREWELL_TIMEOUT, writer).await;
}

/// Why a session ends before its client says so.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("what it says is malformed: {0}")]
    Fault(#[from] Fault),
    #[error("it takes nothing any more")]
    Gone,
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

struct Session {
    decoder: Decoder,
    streams: Streams,
    connections: JoinSet<(u32, u32)>,
    told: mpsc::Sender<Vec<u8>>,
    forwarder: Forwarder,
}

impl Session {
    async fn serve(mut self, mut client: impl AsyncRead + Unpin) -> Result<(), Broken> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            while let Some(frame) = self.decoder.next(&mut buffer)? {
                self.handle(frame).await?;
            }
            buffer.reserve(READ_BYTES);
            tokio::select! {
                read = client.read_buf(&mut buffer) => if read? == 0 { return Ok(()) },
                Some(over) = self.connections.join_next() => match over {
                    Ok((data, error)) => self.streams.forget(data, error),
                    // Its streams stay taken, and the others go on.
                    Err(panic) => error!(%panic, "a forwarded connection failed by a defect"),
                },
            }
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::Open { stream, headers, side } => {
                let (answer, pair) = self.streams.open(stream, &headers, side);
                self.tell(answer).await?;
                if let Some(pair) = pair {
                    self.begin(pair);
                }
            }
            Frame::Data { stream, bytes, side } => self.streams.take(stream, bytes, side).await,
            Frame::Headers { stream, side } => self.streams.take(stream, bytes::Bytes::new(), side).await,
            Frame::Reset { stream } => self.streams.reset(stream),
            // An answer to ours is even.
            Frame::Ping { id } if id % 2 == 1 => self.tell(spdy::ping(id)).await?,
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => {}
        }
        Ok(())
    }

    fn begin(&mut self, pair: Pair) {
        let Pair { data, error, port, inlet } = pair;
        let outlet = Streamed { data, error, told: self.told.clone() };
        let forwarder = self.forwarder.clone();
        self.connections.spawn(async move {
            // A client that is gone is found by the session, too.
            let _ = carry(&forwarder, port, inlet, &outlet).await;
            (data, error)
        });
    }

    async fn tell(&self, frame: Vec<u8>) -> Result<(), Gone> {
        self.told.send(frame).await.map_err(|_| Gone)
    }
}

/// The two streams of a connection.
struct Streamed {
    data: u32,
    error: u32,
    told: mpsc::Sender<Vec<u8>>,
}

impl Outlet for Streamed {
    async fn tell(&self, told: Told) -> Result<(), Gone> {
        let frame = match told {
            Told::Data(bytes) => spdy::data(self.data, &bytes),
            Told::DataEnd => spdy::end(self.data),
            Told::Error(why) => spdy::data(self.error, why.as_bytes()),
            Told::Over => spdy::end(self.error),
        };
        self.told.send(frame).await.map_err(|_| Gone)
    }
}

/// Sends what is told, and looks at a client of which nothing is heard.
async fn write(
    mut client: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    let mut look = interval(PING_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.reset();
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => frame,
                None => return client.shutdown().await,
            },
            _ = look.tick() => spdy::ping(PING_ID),
        };
        client.write_all(&frame).await?;
        if frames.is_empty() {
            client.flush().await?;
        }
    }
}

/// Read at a time.
const READ_BYTES: usize = 16 << 10;

/// Frames that wait for a client that does not read.
const FRAMES_MAX: usize = 16;

/// How often a client of which nothing is heard is looked at.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The server's are even.
const PING_ID: u32 = 2;

/// How long a client may take to take what was told last.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

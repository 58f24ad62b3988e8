//! A runner in a process of its own: how it is found, started, and spoken to over its unix socket.

use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use dunlin_edge_node_core::sandbox::{Event, MESSAGE_BYTES_MAX, Request};
use dunlin_link::codec;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Command,
    sync::mpsc,
};

use super::Connection;
use crate::health::RunnerPid;

/// How to start and find the runner.
#[derive(Clone, Debug)]
pub(crate) struct RunnerProcess {
    /// Program and leading arguments; `--socket PATH` is added.
    pub(crate) command: Vec<OsString>,
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// Where its own words go.
    pub(crate) log: PathBuf,
    /// Where its process id is told.
    pub(crate) pid: RunnerPid,
}

impl RunnerProcess {
    /// Connects to the runner that an earlier agent started; `None` when none answers.
    pub(super) async fn attach(&self) -> Option<Connection> {
        UnixStream::connect(&self.socket).await.ok().map(|stream| self.connect(stream))
    }

    /// Starts a runner and connects to it.
    pub(super) async fn start(&self) -> io::Result<Connection> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let (program, leading) =
            self.command.split_first().ok_or_else(|| io::Error::other("no command for the runner"))?;
        let mut child = Command::new(program)
            .args(leading)
            .arg("--socket")
            .arg(&self.socket)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: neither a terminal's interrupt nor the agent's end reaches it.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        let deadline = Instant::now() + START_MAX;
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    // Reaps it at its end; the connection's end is what the agent acts on.
                    tokio::spawn(async move { child.wait().await });
                    return Ok(self.connect(stream));
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                let log = self.log.display();
                return Err(io::Error::other(format!("the runner ended at once ({status}); see {log}")));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    /// Turns a stream into both directions of a connection. It ends when either side drops its half.
    fn connect(&self, stream: UnixStream) -> Connection {
        let told = self.pid.clone();
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        told.set(pid);
        let (reader, writer) = stream.into_split();
        let (requests, outgoing) = mpsc::channel(QUEUE_MAX);
        let (incoming, events) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(async move {
            if let Err(error) = read_events(reader, incoming).await {
                tracing::debug!(%error, "the runner's connection ended");
            }
            told.clear(pid);
        });
        tokio::spawn(async move {
            if let Err(error) = write_requests(writer, outgoing).await {
                tracing::debug!(%error, "the runner's connection ended");
            }
        });
        Connection { requests, events }
    }
}

async fn read_events(reader: OwnedReadHalf, incoming: mpsc::Sender<Event>) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut frame = Vec::new();
    loop {
        let length = match reader.read_u32_le().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            length => usize::try_from(length?).unwrap_or(usize::MAX),
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("the runner sent a message beyond the limit"));
        }
        frame.resize(length, 0);
        reader.read_exact(&mut frame).await?;
        let event = codec::decode(&frame).map_err(io::Error::other)?;
        if incoming.send(event).await.is_err() {
            return Ok(());
        }
        frame.shrink_to(FRAME_BYTES_KEPT);
    }
}

async fn write_requests(writer: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Request>) -> io::Result<()> {
    let mut writer = BufWriter::new(writer);
    while let Some(request) = outgoing.recv().await {
        write_request(&mut writer, &request).await?;
        while let Ok(request) = outgoing.try_recv() {
            write_request(&mut writer, &request).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn write_request(writer: &mut BufWriter<OwnedWriteHalf>, request: &Request) -> io::Result<()> {
    let frame = codec::encode(request);
    let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= MESSAGE_BYTES_MAX);
    let Some(length) = length else {
        // Cannot happen with what the API accepts; losing one container is better than losing the runner.
        tracing::error!(bytes = frame.len(), "a request to the runner is beyond the limit and was not sent");
        return Ok(());
    };
    writer.write_u32_le(length).await?;
    writer.write_all(&frame).await
}

/// How long a started runner may take until it answers; slow cards and cold caches included.
const START_MAX: Duration = Duration::from_secs(10);

/// How often a starting runner's socket is tried.
const START_POLL: Duration = Duration::from_millis(3);

/// Messages that wait in either direction.
const QUEUE_MAX: usize = 256;

/// Buffer kept between messages.
const FRAME_BYTES_KEPT: usize = 16 << 10;

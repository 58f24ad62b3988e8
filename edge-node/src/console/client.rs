//! The asking side, for the command line.

use std::{
    io,
    path::{Path, PathBuf},
};

use dunlin_link::{PodUid, logs::LogRequest};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::{ANSWER_BYTES_MAX, Answer, Ask, NodeView, PodView, SOCKET};
use crate::sockets;

/// A node on this machine.
#[derive(Clone, Debug)]
pub struct Console {
    socket: PathBuf,
}

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// Nobody serves the socket.
    #[error("no agent answers at `{socket}`: is `dunlin edge-node` running?")]
    NoAgent {
        /// Where it was sought.
        socket: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The conversation broke.
    #[error("the conversation with the agent at `{socket}` broke")]
    Broken {
        /// With whom.
        socket: PathBuf,
        /// How.
        #[source]
        source: io::Error,
    },
    /// What was to be sent cannot be read.
    #[error("failed to read the archive")]
    Archive(#[source] io::Error),
    /// The agent's own words.
    #[error("{0}")]
    Refused(String),
}

/// A log as it comes.
#[derive(Debug)]
pub struct Log(BufReader<UnixStream>);

impl Console {
    /// The node whose state is in `state_dir`.
    pub fn of(state_dir: &Path) -> Self {
        Self { socket: state_dir.join(SOCKET) }
    }

    /// What the agent says of the node.
    ///
    /// # Errors
    /// When no agent answers.
    pub async fn node(&self) -> Result<NodeView, ConsoleError> {
        let mut stream = self.ask(&Ask::Node).await?;
        match self.answer(&mut stream).await? {
            Answer::Node(node) => Ok(*node),
            other => Err(self.unexpected(&other)),
        }
    }

    /// All pods, by namespace and name.
    ///
    /// # Errors
    /// When no agent answers.
    pub async fn pods(&self) -> Result<Vec<PodView>, ConsoleError> {
        let mut stream = self.ask(&Ask::Pods).await?;
        let mut pods = Vec::new();
        loop {
            match self.answer(&mut stream).await? {
                Answer::Pod(pod) => pods.push(*pod),
                Answer::End => return Ok(pods),
                other => return Err(self.unexpected(&other)),
            }
        }
    }

    /// Restarts one container of a pod, or all; answers which.
    ///
    /// # Errors
    /// When no agent answers, or it refuses.
    pub async fn restart(&self, pod: PodUid, container: Option<String>) -> Result<Vec<String>, ConsoleError> {
        let mut stream = self.ask(&Ask::Restart { pod, container }).await?;
        match self.answer(&mut stream).await? {
            Answer::Restarted(containers) => Ok(containers),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Ends all pods, because the machine goes down, and waits for that.
    ///
    /// # Errors
    /// When no agent answers.
    pub async fn shut_down(&self, grace_seconds: u32, critical_seconds: u32) -> Result<(), ConsoleError> {
        let mut stream = self.ask(&Ask::Shutdown { grace_seconds, critical_seconds }).await?;
        match self.answer(&mut stream).await? {
            Answer::End => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Opens a container's log.
    ///
    /// # Errors
    /// When no agent answers, or there is no such log.
    pub async fn log(&self, request: LogRequest) -> Result<Log, ConsoleError> {
        let mut stream = self.ask(&Ask::Log(request)).await?;
        match self.answer(&mut stream).await? {
            Answer::Log => Ok(Log(stream)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// A container's core dump.
    ///
    /// # Errors
    /// When there is none, or no agent.
    pub async fn core_dump(&self, pod: PodUid, container: String) -> Result<Log, ConsoleError> {
        let mut stream = self.ask(&Ask::CoreDump { pod, container }).await?;
        match self.answer(&mut stream).await? {
            Answer::Log => Ok(Log(stream)),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<BufReader<UnixStream>, ConsoleError> {
        let connected = sockets::connect(&self.socket).await;
        let mut stream =
            connected.map_err(|source| ConsoleError::NoAgent { socket: self.socket.clone(), source })?;
        let mut line = serde_json::to_vec(ask).map_err(|error| self.broken(error.into()))?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(|error| self.broken(error))?;
        Ok(BufReader::new(stream))
    }

    pub(super) async fn answer(&self, stream: &mut BufReader<UnixStream>) -> Result<Answer, ConsoleError> {
        let mut line = Vec::new();
        let mut bounded = stream.take(ANSWER_BYTES_MAX as u64);
        bounded.read_until(b'\n', &mut line).await.map_err(|error| self.broken(error))?;
        match serde_json::from_slice(&line) {
            Ok(Answer::Refused(why)) => Err(ConsoleError::Refused(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.broken(error.into())),
        }
    }

    fn broken(&self, source: io::Error) -> ConsoleError {
        ConsoleError::Broken { socket: self.socket.clone(), source }
    }

    pub(super) fn unexpected(&self, answer: &Answer) -> ConsoleError {
        self.broken(io::Error::other(format!("unexpected answer {answer:?}")))
    }
}

impl Log {
    /// The next bytes; empty at the end.
    ///
    /// # Errors
    /// When the agent ends in the middle.
    pub async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let chunk = self.0.fill_buf().await?.to_vec();
        self.0.consume(chunk.len());
        Ok(chunk)
    }
}

//! Streams into a pod: commands and attachments through its sandbox, connections to its ports at its address.

use std::{io, path::Path, time::Duration};

use dunlin_edge_node_core::sandbox::stream::{BucketsStart, UsageStart};
use dunlin_link::{
    ContainerId, PodUid,
    frame::{Message, encode},
    limits::HEAD_FRAME_BYTES_MAX,
    stream::{StreamAnswer, StreamRefusal},
};
use futures_util::future::join_all;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::oneshot, time::timeout};

use super::{AgentHost, Input};
use crate::{
    frames::read_frame,
    sandbox::Door,
    session::{ByteStream, StreamRefused},
};

impl AgentHost {
    /// The run of a container that goes on now.
    pub(super) async fn live_container(
        &self,
        uid: &PodUid,
        container: &str,
    ) -> Result<ContainerId, StreamRefused> {
        let (uid, container) = (uid.clone(), container.to_owned());
        let found = self.ask(|reply| Input::LiveContainer { uid, container, reply }).await?;
        found.map_err(|message| StreamRefused { reason: StreamRefusal::NotRunning, message })
    }

    /// Has the sandbox begin a stream.
    pub(super) async fn open_stream(
        &self,
        id: &ContainerId,
        start: &impl Message,
    ) -> Result<ByteStream, StreamRefused> {
        let opened = timeout(SANDBOX_TIMEOUT, begin(&self.doors.of(id), start)).await;
        match opened.unwrap_or_else(|_late| Err(silent()))? {
            Some(stream) => Ok(stream),
            None => Err(failed(OLD_RUNNER.to_owned())),
        }
    }

    /// Has each sandbox tell what its containers use. Of one that ended a moment ago there is nothing to tell.
    pub(crate) async fn open_usage_streams(&self) -> Result<Vec<ByteStream>, StreamRefused> {
        let ask = async |door: Door| timeout(SANDBOX_TIMEOUT, begin(&door, &UsageStart)).await;
        let answers = join_all(self.doors.all().into_iter().map(ask)).await;
        // One that is silent does not keep the others from being heard.
        Ok(answers.into_iter().filter_map(|answer| answer.ok()?.ok()?).collect())
    }

    /// Has the runner say for which namespaces it keeps buckets; `None` when none runs.
    pub(crate) async fn open_buckets(&self, file: &Path) -> Result<Option<ByteStream>, StreamRefused> {
        let start = BucketsStart { file: file.to_string_lossy().into_owned() };
        let opened = timeout(SANDBOX_TIMEOUT, begin(&self.doors.runner(), &start)).await;
        opened.unwrap_or_else(|_late| Err(silent()))
    }

    /// Connects to a port of a pod.
    pub(super) async fn connect_to(&self, uid: PodUid, port: u16) -> Result<TcpStream, StreamRefused> {
        let endpoint = self.ask(|reply| Input::Endpoint { uid, port, reply }).await?;
        let endpoint =
            endpoint.map_err(|message| StreamRefused { reason: StreamRefusal::Impossible, message })?;
        let not_there = |message| StreamRefused { reason: StreamRefusal::NotRunning, message };
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await {
            Ok(Ok(stream)) => {
                // Requests are small and waited for; one that cannot be told so is served all the same.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(not_there(format!("nothing listens on port {port} of the pod: {error}"))),
            Err(_late) => Err(not_there(format!("port {port} of the pod does not answer"))),
        }
    }

    /// Asks the agent's loop.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Input,
    ) -> Result<T, StreamRefused> {
        let gone = || failed("the node is shutting down".to_owned());
        let (reply, answer) = oneshot::channel();
        self.inputs.send(question(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// Has a sandbox begin a stream; `None` when nobody is behind the door.
async fn begin(door: &Door, start: &impl Message) -> Result<Option<ByteStream>, StreamRefused> {
    let mut stream = match door.open().await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(failed(format!("the sandbox cannot be reached: {error}"))),
            };
        }
    };
    let broken = |error: io::Error| failed(format!("the sandbox broke the stream off: {error}"));
    stream.write_all(&encode(start)).await.map_err(broken)?;
    let answer = read_frame(&mut stream, HEAD_FRAME_BYTES_MAX).await.map_err(broken)?;
    let answer = answer.ok_or_else(|| broken(io::ErrorKind::UnexpectedEof.into()))?;
    match answer.decode().map_err(|error| broken(io::Error::other(error)))? {
        StreamAnswer::Opened => Ok(Some(stream)),
        StreamAnswer::Refused { reason, message } => Err(StreamRefused { reason, message }),
    }
}

fn silent() -> StreamRefused {
    failed("the sandbox does not answer".to_owned())
}

fn failed(message: String) -> StreamRefused {
    StreamRefused { reason: StreamRefusal::Failed, message }
}

/// A runner outlives its agent, also when that is replaced by a newer version.
const OLD_RUNNER: &str = "the runner of this node opens no streams into containers: it was started by an earlier version and is \
                          replaced when the node is restarted";

/// How long a sandbox may take to begin a stream.
const SANDBOX_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a pod on the same machine may take to accept a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

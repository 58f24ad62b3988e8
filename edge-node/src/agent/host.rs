//! The agent as the session sees it.

use std::{io, path::PathBuf, sync::Arc};

use dunlin_edge_node_core::{
    node::{LogPlace, Look, WhichRun},
    pressure::Signals,
    sandbox::stream::{AttachStart, ExecStart},
};
use dunlin_link::{
    PodUid,
    assignment::{AssignmentChange, Refusal},
    exec::{AttachRequest, ExecRequest},
    limits::CORE_DUMP_BYTES_MAX,
    logs::{LogRequest, LogStreams},
    status::PodStatusReport,
    stream::StreamRefusal,
    usage::MachineUsage,
};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, Take},
    sync::{mpsc, oneshot, watch},
};

use super::{Agent, Input, Shared, forward::Forwards};
use crate::{
    health::Held,
    logs,
    sandbox::Doors,
    session::{Applied, ByteStream, SessionHost, StreamRefused},
    statics::{RejectedManifest, Scan},
    usage,
};

/// The session's handle on the agent.
#[derive(Clone, Debug)]
pub(crate) struct AgentHost {
    pub(super) inputs: mpsc::Sender<Input>,
    shared: Arc<Shared>,
    pub(super) doors: Doors,
    pub(super) forwards: Forwards,
}

/// Whose log is wanted.
#[derive(Clone, Debug)]
pub(super) struct Locate {
    uid: PodUid,
    container: String,
    which: WhichRun,
}

/// Where it is.
#[derive(Debug)]
pub(super) struct Located {
    path: PathBuf,
    ended: logs::Ended,
}

impl AgentHost {
    pub(super) fn new(inputs: mpsc::Sender<Input>, shared: Arc<Shared>, doors: Doors) -> Self {
        Self { inputs, shared, doors, forwards: Forwards::default() }
    }

    /// `NAMESPACE/NAME` of pods whose latest report nobody has acknowledged.
    pub(crate) fn unreported(&self) -> Vec<String> {
        self.shared.unreported()
    }

    /// Tells what the folder of static pods holds.
    pub(crate) async fn statics(&self, scan: Scan) {
        // An agent that is shutting down needs it no more; the next one looks itself.
        let _ = self.inputs.send(Input::Statics(scan)).await;
    }

    /// Manifests that are no static pods, as of the last look.
    pub(crate) fn rejected_manifests(&self) -> Vec<RejectedManifest> {
        self.shared.rejected()
    }

    /// Waits until there are more or fewer pods than at the last call.
    pub(crate) async fn counted(&self) {
        self.shared.counted().await;
    }

    /// Whether something of this is short.
    pub(crate) async fn is_short(&self, signals: Signals) -> Result<bool, oneshot::error::RecvError> {
        let (reply, answer) = oneshot::channel();
        // An agent that is gone drops the reply with the question.
        let _ = self.inputs.send(Input::IsShort { signals, reply }).await;
        answer.await
    }

    /// Tells what a look at the machine found.
    pub(crate) async fn looked(&self, look: Look) {
        // An agent that is shutting down needs it no more.
        let _ = self.inputs.send(Input::Looked(Box::new(look))).await;
    }

    /// What the node's health says of its pods and reports.
    pub(crate) fn held(&self) -> Held {
        self.shared.held()
    }
}

impl AgentHost {
    /// The core dump that a container left.
    pub(crate) async fn core_dump(
        &self,
        uid: PodUid,
        container: String,
    ) -> Result<Take<File>, StreamRefused> {
        let name = container.clone();
        let not_there = |message| StreamRefused { reason: StreamRefusal::NotRunning, message };
        let located = self.locate(Locate { uid, container, which: WhichRun::Latest }).await;
        let path = logs::core_dump(&located.map_err(not_there)?.path);
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => not_there(format!("container \"{name}\" left no core dump")),
            _ => StreamRefused {
                reason: StreamRefusal::Failed,
                message: format!("the core dump of container \"{name}\" cannot be read: {error}"),
            },
        };
        let file = File::open(path).await.map_err(unreadable)?;
        let metadata = file.metadata().await.map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        let bytes = metadata.len();
        if bytes > CORE_DUMP_BYTES_MAX {
            return Err(StreamRefused {
                reason: StreamRefusal::Failed,
                message: format!(
                    "the core dump of container \"{name}\" has {bytes} bytes, and {CORE_DUMP_BYTES_MAX} are sent at most"
                ),
            });
        }
        Ok(file.take(CORE_DUMP_BYTES_MAX))
    }

    async fn locate(&self, locate: Locate) -> Result<Located, String> {
        let gone = || "the node is shutting down".to_owned();
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Locate { locate, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl SessionHost for AgentHost {
    fn applied(&self) -> Applied {
        self.shared.applied()
    }

    async fn commit(&self, change: AssignmentChange) -> io::Result<Vec<Refusal>> {
        let gone = || io::Error::other("the agent is shutting down");
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Commit { change, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn acked(&self, reports: Vec<(PodUid, u64)>) {
        self.shared.acked(&reports);
    }

    fn unacked(&self) -> Vec<PodStatusReport> {
        self.shared.unacked()
    }

    async fn static_pods_wanted(&self, uids: Vec<PodUid>) {
        // An agent that is shutting down has nothing to say any more.
        let _ = self.inputs.send(Input::StaticPodsWanted(uids)).await;
    }

    async fn open_exec(&self, request: ExecRequest) -> Result<ByteStream, StreamRefused> {
        let id = self.live_container(&request.uid, &request.container).await?;
        self.open_stream(&id.clone(), &ExecStart { id, request }).await
    }

    async fn open_attach(&self, request: AttachRequest) -> Result<ByteStream, StreamRefused> {
        let id = self.live_container(&request.uid, &request.container).await?;
        self.open_stream(&id.clone(), &AttachStart { id, request }).await
    }

    async fn connect(&self, uid: PodUid, port: u16) -> Result<ByteStream, StreamRefused> {
        self.connect_to(uid, port).await.map(ByteStream::new)
    }

    async fn forward(&self, uid: PodUid, port: u16) -> Result<ByteStream, StreamRefused> {
        self.forward_to(uid, port).await
    }

    async fn open_usage(&self) -> Result<(MachineUsage, Vec<ByteStream>), StreamRefused> {
        Ok((usage::machine()?, self.open_usage_streams().await?))
    }

    async fn open_core_dump(
        &self,
        uid: PodUid,
        container: String,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, StreamRefused> {
        self.core_dump(uid, container).await.map(|dump| Box::new(dump) as _)
    }

    async fn open_log(
        &self,
        request: LogRequest,
        streams: LogStreams,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, String> {
        let locate = Locate {
            uid: request.uid.clone(),
            container: request.container.clone(),
            which: if request.previous { WhichRun::Previous } else { WhichRun::Latest },
        };
        let Located { path, ended } = self.locate(locate).await?;
        match logs::open(path, (&request, streams), ended).await {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("the log of container \"{}\" is not there any more", request.container))
            }
            Err(error) => {
                Err(format!("the log of container \"{}\" cannot be read: {error}", request.container))
            }
        }
    }
}

impl Agent {
    /// Finds a log, and who tells when it has ended.
    pub(super) fn locate(&mut self, locate: &Locate) -> Result<Located, String> {
        let Locate { uid, container, which } = locate;
        let LogPlace { pod, container, attempt, live } = self.core.log(uid, container, *which)?;
        let path = self.clerk.logs().path(&pod, &container, attempt);
        let ended =
            live.map(|id| self.followers.entry(id).or_insert_with(|| watch::Sender::new(false)).subscribe());
        Ok(Located { path, ended })
    }
}

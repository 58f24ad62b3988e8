//! The one module of the node that names quinn: joining a cluster, and the session that is kept up with the coordinator.

use std::{future::Future, path::Path};

use dunlin_link::{
    Digest, PodUid, Revision,
    assignment::{AssignmentChange, Refusal},
    logs::LogRequest,
    status::{NodeEvent, NodeFacts, PodStatusReport},
};
use tokio::io::AsyncRead;

/// What the session asks of the agent. Implemented once by the agent; tests of the session use a pipe-backed one.
pub trait SessionHost: Send + Sync + 'static {
    /// What the node's local state holds, for `Hello`.
    fn applied(&self) -> Applied;

    /// Commits a change durably in one transaction, after which it may be acked; starts acting on it.
    /// An error leaves the state as it was and ends the session.
    fn commit(&self, change: AssignmentChange) -> impl Future<Output = std::io::Result<Vec<Refusal>>> + Send;

    /// The coordinator has recorded these reports: they need not be sent again.
    fn acked(&self, reports: Vec<(PodUid, u64)>);

    /// Reports to send when a session opens: those not acked yet.
    fn unacked(&self) -> Vec<PodStatusReport>;

    /// Opens a container's log; the reader ends when the log does, or never if it is followed.
    fn open_log(
        &self,
        request: LogRequest,
    ) -> impl Future<Output = Result<Box<dyn AsyncRead + Send + Unpin>, String>> + Send;
}

/// What a node has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Revision of the last committed change; zero before the first.
    pub revision: Revision,
    /// Restore generation that the revision belongs to.
    pub restore_generation: u64,
    /// [`dunlin_link::assignment::state_digest`] of the local state.
    pub state_digest: Digest,
}

/// What the agent asks of the session; cheap to clone. Works while disconnected: it queues within its bounds.
#[derive(Clone, Debug)]
pub struct SessionHandle;

impl SessionHandle {
    /// Sends a pod's status; a later report of the same pod replaces one that is still waiting.
    pub fn report(&self, report: PodStatusReport) {
        unimplemented!("{report:?}")
    }

    /// Sends an event; the oldest are dropped, and counted, when too many wait.
    pub fn event(&self, event: NodeEvent) {
        unimplemented!("{event:?}")
    }

    /// Sends changed facts about the node.
    pub fn facts(&self, facts: NodeFacts) {
        unimplemented!("{facts:?}")
    }

    /// Fetches a module into `file` (resuming `file.part`), verifies its digest, syncs and renames it into place.
    /// Waits for a connection if there is none.
    ///
    /// # Errors
    /// When the coordinator does not have it, refuses it, or what arrives is not what was asked for; says which.
    pub async fn fetch_module(&self, digest: Digest, file: &Path) -> Result<(), String> {
        unimplemented!("{digest} {}", file.display())
    }

    /// Whether a session is up now.
    pub fn is_connected(&self) -> bool {
        unimplemented!()
    }
}

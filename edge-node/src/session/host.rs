//! What the session asks of the agent.

use std::{future::Future, io};

use dunlin_link::{
    PodUid,
    assignment::{AssignmentChange, Refusal},
    exec::{AttachRequest, ExecRequest},
    logs::{LogRequest, LogStreams},
    status::PodStatusReport,
    stream::StreamRefusal,
    usage::MachineUsage,
};
use tokio::io::AsyncRead;

#[cfg(doc)]
use super::SessionHandle;
use super::{Applied, ByteStream, StreamRefused};

/// What the session asks of the agent. Implemented once by the agent; tests of the session use a pipe-backed one.
pub trait SessionHost: Send + Sync + 'static {
    /// What the node's local state holds, for `Hello`.
    fn applied(&self) -> Applied;

    /// Commits a change durably in one transaction, after which it may be acked; starts acting on it.
    /// A change that leads to another digest than it names is not committed either: it leaves the state as it was, and the session,
    /// which compares digests, asks for a snapshot. An error also leaves the state as it was, and ends the session.
    fn commit(&self, change: AssignmentChange) -> impl Future<Output = io::Result<Vec<Refusal>>> + Send;

    /// The coordinator has recorded these reports: they need not be sent again.
    fn acked(&self, reports: Vec<(PodUid, u64)>);

    /// Reports to send when a session opens: those not acked yet. A report with `stopped` is never acked; the order to forget the pod
    /// takes the ack's place.
    fn unacked(&self) -> Vec<PodStatusReport>;

    /// The coordinator asks what these static pods are: each is answered by [`SessionHandle::static_pod`], and then reported anew. A node
    /// that states none is not asked.
    fn static_pods_wanted(&self, _uids: Vec<PodUid>) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Begins a command in a container; frames of `dunlin_link::exec` travel both ways.
    fn open_exec(
        &self,
        _request: ExecRequest,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Attaches to a container; frames of `dunlin_link::exec` travel both ways.
    fn open_attach(
        &self,
        _request: AttachRequest,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Connects to a port of a pod, at its address.
    fn connect(
        &self,
        _uid: PodUid,
        _port: u16,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Connects to a port of a pod, on its localhost.
    fn forward(
        &self,
        _uid: PodUid,
        _port: u16,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// What the machine uses, and what its containers do: frames of `ContainerUsages` and `ContainerThrottles` until each stream ends.
    fn open_usage(
        &self,
    ) -> impl Future<Output = Result<(MachineUsage, Vec<ByteStream>), StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Opens the core dump that a container left, at most [`dunlin_link::limits::CORE_DUMP_BYTES_MAX`].
    fn open_core_dump(
        &self,
        _uid: PodUid,
        _container: String,
    ) -> impl Future<Output = Result<Box<dyn AsyncRead + Send + Unpin>, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Opens a container's log; the reader ends when the log does, or never if it is followed.
    fn open_log(
        &self,
        request: LogRequest,
        streams: LogStreams,
    ) -> impl Future<Output = Result<Box<dyn AsyncRead + Send + Unpin>, String>> + Send;
}

fn opens_none() -> StreamRefused {
    let message = "this node opens no streams into pods".to_owned();
    StreamRefused { reason: StreamRefusal::Impossible, message }
}

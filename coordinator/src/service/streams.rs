//! Streams into pods: opened on the pods' nodes, whose refusals become the API's.

use std::fmt;

use dunlin_api::Status;
use dunlin_link::{NodeName, stream::StreamRefusal};
use futures_util::future::BoxFuture;

use super::ApiService;
use crate::sessions::{NodeStream, OpenStreamError, Sessions, StreamOpen};

/// Opens streams on nodes: the sessions.
pub trait PodStreams: fmt::Debug + Send + Sync {
    /// Opens a stream; dropping it is the end for the node.
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>>;
}

impl PodStreams for Sessions {
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>> {
        Box::pin(self.open_stream(node, open))
    }
}

impl ApiService {
    /// Opens a stream into a pod.
    ///
    /// # Errors
    /// What keeps the node from it, as clients see it.
    pub(super) async fn open_pod_stream(
        &self,
        node: &NodeName,
        open: StreamOpen,
    ) -> Result<NodeStream, Status> {
        let streams = self.inner.attached.streams.get();
        let streams =
            streams.ok_or_else(|| Status::service_unavailable("this coordinator is still starting"))?;
        streams.open(node, open).await.map_err(refused)
    }
}

/// A node's refusal, or its absence, as an API server tells what it hears of a kubelet.
fn refused(error: OpenStreamError) -> Status {
    match error {
        OpenStreamError::Refused { reason, message } => match reason {
            StreamRefusal::Impossible => Status::bad_request(message),
            StreamRefusal::NotRunning => Status::failure(404, "NotFound", message),
            StreamRefusal::TooMany => Status::too_many_requests(&message, 1),
            StreamRefusal::Failed => Status::internal(message),
        },
        error => Status::internal(format!("error dialing backend: {error}")),
    }
}

//! One session per connected node: carries assignments out and statuses, events and logs in.
//!
//! What a session may say is decided by the pure machine in `dunlin-link`; this module runs one machine per connection and keeps the
//! order among a node's connections: at most one is current, a newer one of the same agent takes the place of an older one, and it
//! starts only when the older one has brought in its last word. Two agents that live at the same time are a cloned node, of which one
//! keeps the session. Nothing here is stored; liveness is which sessions are open.

mod admit;
mod cluster;
mod drive;
mod figures;
mod links;
mod pulse;
mod seat;
mod streams;
mod tending;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    assignment::Desired,
    bandwidth::BytesPerSecond,
    compiled::SignedCompiled,
    limits::NAMESPACES_ASKED_MAX,
    message::{Epoch, Tunables},
    moment::Moment,
    namespaces::NamespacesAnswer,
    reference::LOCAL_REGISTRY,
    restore::SignedRestore,
    session::registry::Registry,
    stream::ContentOpen,
    tokens::{IssuedToken, TokenOpen},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::{Content, OpenModule},
    compiling::Outcome,
    service::Clock,
};

pub use self::{
    cluster::{Cluster, ConnectedCluster},
    drive::SessionEnd,
    links::{LinkFacts, LinkKind, Meter, Traffic, Wire},
    streams::{LogReader, NodeStream, OpenLogError, OpenStreamError, StreamOpen},
};

use self::pulse::Pulse;

pub(crate) use self::{
    drive::drive,
    streams::{OpenLog, OpenStream, WISHES_MAX, Wish},
};

/// All sessions of the coordinator; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Arc<dyn Cluster>,
    options: SessionOptions,
    started: Instant,
    state: Mutex<State>,
    links: links::Links,
}

/// What all sessions have in common.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Which cluster this is.
    pub cluster_id: String,
    /// Of its last restore from a backup, if there was one.
    pub restore: Option<SignedRestore>,
    /// Above that of every earlier start.
    pub term: u64,
    /// How nodes should behave.
    pub tunables: Tunables,
    /// What one node's link may carry each way; `None` for as much as it can.
    pub node_bandwidth: Option<BytesPerSecond>,
    /// Most sessions at a time; [`SESSIONS_MAX`] unless there is a reason.
    pub sessions_max: usize,
    /// Tells the time that nodes are told.
    pub clock: Clock,
}

/// Which session of each node is current. One lock, because the two maps must agree.
#[derive(Debug)]
struct State {
    registry: Registry,
    slots: HashMap<NodeName, Slot>,
}

#[derive(Debug)]
struct Slot {
    epoch: Epoch,
    superseded: CancellationToken,
    wishes: mpsc::Sender<Box<Wish>>,
    /// By which another connection finds out whether this one is alive.
    pulse: Arc<Pulse>,
    /// Held by the session that brings things in; the next one waits for it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Sessions {
    /// No session yet.
    pub fn new(cluster: Arc<dyn Cluster>, options: SessionOptions) -> Self {
        let state = State { registry: Registry::new(options.term), slots: HashMap::new() };
        let inner = Inner {
            cluster,
            options,
            started: Instant::now(),
            state: Mutex::new(state),
            links: links::Links::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends a node's session. What is known of its link stays: of a machine that was stolen one wants to know when and from where it
    /// was heard last.
    pub fn disconnect(&self, node: &NodeName) {
        if let Some(slot) = self.state().slots.get(node) {
            slot.superseded.cancel();
        }
    }

    /// Ends the session of a machine that is no node any more, or not this one, and forgets its link.
    pub fn expel(&self, node: &NodeName) {
        self.disconnect(node);
        self.inner.links.forget(node);
    }

    /// What is known of the links of all nodes that were connected since the start, by name.
    pub fn links(&self) -> Vec<LinkFacts> {
        self.inner.links.facts(|node| *self.inner.cluster.subscribe(node).borrow())
    }

    /// Silence after which a connection is dead.
    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.inner.options.tunables.idle_timeout_ms)
    }

    /// The nodes that are connected now.
    pub fn connected(&self) -> Vec<NodeName> {
        let mut nodes: Vec<NodeName> = self.state().slots.keys().cloned().collect();
        nodes.sort();
        nodes
    }

    /// How many nodes are connected now.
    pub(crate) fn count(&self) -> usize {
        self.state().slots.len()
    }

    /// What one node's link may carry each way.
    pub(crate) fn node_bandwidth(&self) -> Option<BytesPerSecond> {
        self.inner.options.node_bandwidth
    }

    /// Whether there is room for a session of `node`, which may have a place already.
    pub(crate) fn has_room(&self, node: &NodeName) -> bool {
        let state = self.state();
        state.slots.len() < self.inner.options.sessions_max || state.slots.contains_key(node)
    }

    /// A module's content from `offset` on, if one of the node's pods names it.
    pub(crate) async fn open_artifact(
        &self,
        node: &NodeName,
        digest: Digest,
        offset: u64,
    ) -> Result<OpenModule<tokio::fs::File>, ArtifactError> {
        if !names_module(&self.inner.cluster.desired(node), digest) {
            return Err(ArtifactError::NotAssigned(digest));
        }
        match self.inner.cluster.open_module(digest, offset).await {
            Ok(Some(module)) => Ok(module),
            Ok(None) => Err(ArtifactError::Unknown(digest)),
            Err(source) => Err(ArtifactError::Unreadable { digest, source }),
        }
    }

    /// Something that an image is made of which one of the node's pods names.
    pub(crate) async fn open_content(
        &self,
        node: &NodeName,
        open: &ContentOpen,
    ) -> Result<Content, ArtifactError> {
        let desired = self.inner.cluster.desired(node);
        let ContentOpen { repository, digest, .. } = open;
        match self.inner.cluster.open_content(&desired, open).await {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(ArtifactError::NotPushed { repository: repository.clone(), digest: *digest }),
            Err(source) => Err(ArtifactError::Unreadable { digest: *digest, source }),
        }
    }

    /// The code of a module that one of the node's pods names, once it is compiled.
    pub(crate) async fn compiled(&self, node: &NodeName, module: Digest, target: &str) -> Outcome {
        let desired = self.inner.cluster.desired(node);
        if names_module(&desired, module) {
            self.inner.cluster.compiled(module, target).await
        } else {
            self.inner.cluster.compiled_foreign(&desired, module, target).await
        }
    }

    /// A token for one of the node's pods, or in words why there is none.
    pub(crate) async fn token(&self, node: &NodeName, open: &TokenOpen) -> Result<IssuedToken, String> {
        self.inner.cluster.token(node, open).await
    }

    /// Which of these namespaces there are.
    pub(crate) async fn namespaces(&self, names: Vec<String>) -> io::Result<NamespacesAnswer> {
        if names.len() > NAMESPACES_ASKED_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let restore_generation =
            self.inner.options.restore.as_ref().map_or(0, |restore| restore.record.generation);
        let mut uids = Vec::with_capacity(names.len());
        for name in names {
            uids.push(self.inner.cluster.namespace_uid(&name).await?);
        }
        Ok(NamespacesAnswer { restore_generation, uids })
    }

    /// Such code from `offset` on.
    pub(crate) async fn open_code(
        &self,
        signed: &SignedCompiled,
        offset: u64,
    ) -> io::Result<tokio::fs::File> {
        self.inner.cluster.open_code(signed, offset).await
    }

    /// Whether this is still the node's session.
    fn is_current(&self, node: &NodeName, epoch: Epoch) -> bool {
        self.state().registry.is_current(node, epoch)
    }

    /// Ends a session that has its turn, and says that the node is gone if no newer session took its place.
    async fn leave(&self, node: &NodeName, epoch: Epoch) {
        let is_gone = self.state().registry.close(node, epoch);
        if is_gone {
            self.inner.cluster.disconnected(node).await;
        }
        // Last: a session that begins before waits for the turn of this one, so that it is heard of after.
        let mut state = self.state();
        if state.slots.get(node).is_some_and(|slot| slot.epoch == epoch) {
            state.slots.remove(node);
        }
    }

    /// The time that nodes are told.
    fn wall(&self) -> UnixMillis {
        self.inner.options.clock.now_millis()
    }

    fn now(&self) -> Moment {
        Moment(self.inner.started.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything in it can panic.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a node does not get a module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    /// None of its pods names it.
    #[error("no pod of this node runs {0}")]
    NotAssigned(Digest),
    /// It is not stored here.
    #[error("the coordinator does not have {0}")]
    Unknown(Digest),
    /// No image that one of its pods names has it, or it is not here.
    #[error(
        "{digest} was not pushed to `{LOCAL_REGISTRY}/{repository}`, or is of no image that a pod of this node names"
    )]
    NotPushed { repository: String, digest: Digest },
    /// Its file cannot be read.
    #[error("the coordinator cannot read {digest}")]
    Unreadable { digest: Digest, source: io::Error },
}

/// Whether one of the pods names this module.
fn names_module(desired: &Desired, digest: Digest) -> bool {
    let mut images = desired.pods.values().flat_map(|pod| pod.assignment.images());
    images.any(|(_, named)| named == Some(digest))
}

/// The modules that pods run, some of them several times.
fn modules(desired: &Desired) -> impl Iterator<Item = Digest> {
    desired
        .pods
        .values()
        .flat_map(|pod| pod.assignment.containers().filter_map(|container| container.image.digest))
}

/// The machine's clock. A clock before 1970 reads as 1970.
pub(crate) fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Most sessions at a time: what one coordinator is meant to carry, twice.
pub const SESSIONS_MAX: usize = 20_000;

#[cfg(test)]
mod tests;

//! What the agent asks of the session.

use std::{io, path::Path, sync::Arc, time::Duration};

use dunlin_link::{
    BootId, Digest,
    health::{Health, OutboxState},
    message::Epoch,
    moment::Moment,
    namespaces::NamespacesAnswer,
    node_network::NodeNetwork,
    node_state::NodeState,
    session::node::{NodeConfig, NodeSession},
    statics::{StaticPod, StaticPodName},
    status::{NodeEvent, NodeFacts, PodStatusReport},
    stream::ContentOpen,
    tokens::{IssuedToken, TokenOpen},
};
use tokio::sync::watch;

use super::{
    Contact, Content, Identity, NoCode, NoContent, Role, Traffic, compiled, connect, content, fetch,
    namespaces, shared::Shared, tokens,
};
use crate::compiled::{CompileMode, CompiledFiles};

/// What the agent asks of the session; cheap to clone. Works while disconnected: it queues within its bounds.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    pub(super) shared: Arc<Shared>,
}

impl SessionHandle {
    /// A handle whose session never runs: that of a machine which is no node of a cluster.
    pub(crate) fn detached(facts: NodeFacts) -> Self {
        let identity = Identity::nobody();
        let config = NodeConfig {
            node: identity.node().clone(),
            boot_id: BootId([0; 16]),
            agent: 0,
            cluster_id: identity.cluster_id().to_owned(),
            sealing_key: None,
        };
        let machine = NodeSession::new(config, facts, Moment::default());
        Self { shared: Arc::new(Shared::new(machine, identity, Arc::default())) }
    }

    /// Sends a pod's status; a later report of the same pod replaces one that is still waiting.
    pub fn report(&self, report: PodStatusReport) {
        self.shared.machine().report(report);
        self.shared.bells.write.notify_one();
    }

    /// Sends an event; the oldest are dropped, and counted, when too many wait.
    pub fn event(&self, event: NodeEvent) {
        self.shared.machine().event(event);
        self.shared.bells.write.notify_one();
    }

    /// Sends changed facts about the node.
    pub fn facts(&self, facts: NodeFacts) {
        self.shared.machine().facts(facts);
        self.shared.bells.write.notify_one();
    }

    /// States all static pods of the node.
    pub fn static_pods(&self, pods: Vec<StaticPodName>) {
        self.shared.machine().static_pods(pods);
        self.shared.bells.write.notify_one();
    }

    /// Answers what a static pod is.
    pub fn static_pod(&self, pod: StaticPod) {
        self.shared.machine().static_pod(pod);
        self.shared.bells.write.notify_one();
    }

    /// The node's state as a whole; sent when a session opens, and when it changed.
    pub(crate) fn state(&self, state: NodeState) {
        self.shared.machine().state(state);
        self.shared.bells.write.notify_one();
    }

    /// The network that the node makes for pods; sent when a session opens, and when it changed.
    pub(crate) fn network(&self, network: NodeNetwork) {
        self.shared.machine().network(network);
        self.shared.bells.write.notify_one();
    }

    /// How the node fares; sent when a session opens, and when it differs enough from what was sent last.
    pub(crate) fn health(&self, health: Health) {
        self.shared.machine().health(health);
        self.shared.bells.write.notify_one();
    }

    /// What waits to be sent, and what was dropped before it could be.
    pub(crate) fn outbox(&self) -> OutboxState {
        self.shared.machine().outbox()
    }

    /// When a coordinator was heard; changes when a session opens or ends.
    pub(crate) fn contact(&self) -> watch::Receiver<Contact> {
        self.shared.contacts.subscribe()
    }

    /// Has everything sent again that the node should hold, because it cannot open some of what it holds.
    pub fn start_over(&self) {
        self.shared.machine().start_over();
        self.shared.bells.ring();
    }

    /// Fetches a module into `file` (resuming `file.part`), verifies its digest, syncs and renames it into place.
    /// Waits for a connection if there is none.
    ///
    /// # Errors
    /// When the coordinator does not have it, refuses it, or what arrives is not what was asked for; says which.
    pub async fn fetch_module(&self, digest: Digest, file: &Path) -> Result<(), String> {
        fetch::fetch(&self.shared, digest, file).await
    }

    /// Asks for content of a repository in the coordinator's own registry, from `offset` on. Waits for a session as long as `patience` says,
    /// for ever without one.
    ///
    /// # Errors
    /// When there is none, or the coordinator refuses it.
    pub(crate) async fn open_content(
        &self,
        (repository, digest, role): (&str, Digest, Role),
        offset: u64,
        patience: Option<Duration>,
    ) -> Result<Content, NoContent> {
        let open = ContentOpen { repository: repository.to_owned(), digest, offset };
        content::open(&self.shared, (&open, role), patience).await
    }

    /// Fetches the code of a module for a target: waits for a session, though not for long, and as long as the coordinator is at it.
    ///
    /// # Errors
    /// When there is none to be had, or what came is not trusted; says why.
    pub(crate) async fn fetch_compiled(
        &self,
        module: Digest,
        target: &str,
        files: (&CompiledFiles, CompileMode),
    ) -> Result<(), NoCode> {
        compiled::fetch(&self.shared, module, target, files).await
    }

    /// Asks for a token of a pod. Waits for a connection if there is none.
    ///
    /// # Errors
    /// When the coordinator gives none; says why.
    pub async fn token(&self, open: &TokenOpen) -> Result<IssuedToken, String> {
        tokens::ask(&self.shared, open).await
    }

    /// Which of these namespaces there are, at most [`dunlin_link::limits::NAMESPACES_ASKED_MAX`].
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) async fn namespaces(&self, names: Vec<String>) -> io::Result<NamespacesAnswer> {
        namespaces::ask(&self.shared, names).await
    }

    /// Waits for a session on another connection than this one; answers which.
    pub(crate) async fn other_connection(&self, than: Option<usize>) -> usize {
        self.shared.other_connection(than).await
    }

    /// Whether a session is up now.
    pub fn is_connected(&self) -> bool {
        self.shared.machine().is_open()
    }

    /// The epoch of the session that is up now.
    pub fn epoch(&self) -> Option<Epoch> {
        let machine = self.shared.machine();
        if machine.is_open() { machine.newest_epoch() } else { None }
    }

    /// What the connection of the open session has carried so far.
    pub fn traffic(&self) -> Option<Traffic> {
        self.shared.connection.borrow().as_ref().map(connect::traffic)
    }
}

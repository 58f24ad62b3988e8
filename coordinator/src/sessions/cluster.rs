//! What sessions need of the rest of the coordinator.

use std::io;

use async_trait::async_trait;
use dunlin_link::{
    Digest, NodeName, PodUid, Revision,
    assignment::{Desired, Refusal},
    compiled::{CompileRefusal, SignedCompiled},
    node_network::NodeNetwork,
    node_state::NodeState,
    session::{coordinator::Recorded, registry::CloneNews},
    statics::{StaticPod, StaticPodName},
    status::{NodeEvent, NodeFacts, PodStatusReport},
    stream::ContentOpen,
    tokens::{IssuedToken, TokenOpen},
};
use serde_json::Value;
use tokio::{fs::File, sync::watch};

use super::ArtifactError;
use crate::{
    artifacts::{Artifacts, Content, OpenModule, named_by},
    compiling::{Compiling, Outcome, Refused},
    dispatch::Dispatch,
    intake::Intake,
    mirrors::Tended,
    service::stored,
};

/// The seam between sessions and the cluster: where desired sets come from and where what nodes say goes. In the coordinator it is
/// [`ConnectedCluster`].
#[async_trait]
pub trait Cluster: Send + Sync + std::fmt::Debug {
    /// See [`Dispatch::subscribe`].
    fn subscribe(&self, node: &NodeName) -> watch::Receiver<Revision>;

    /// See [`Dispatch::desired`].
    fn desired(&self, node: &NodeName) -> Desired;

    /// See [`Intake::connected`]; also called when a node's facts change.
    async fn connected(&self, node: &NodeName, facts: NodeFacts);

    /// See [`Intake::state`].
    async fn state(&self, node: &NodeName, state: NodeState);

    /// See [`Intake::network`].
    async fn network(&self, node: &NodeName, network: NodeNetwork);

    /// See [`Intake::no_network`].
    async fn no_network(&self, node: &NodeName);

    /// See [`Intake::disconnected`].
    async fn disconnected(&self, node: &NodeName);

    /// See [`Intake::cloned`].
    async fn cloned(&self, node: &NodeName, news: CloneNews);

    /// See [`Intake::is_cloned`].
    async fn is_cloned(&self, node: &NodeName) -> bool;

    /// See [`Intake::pod_statuses`].
    async fn pod_statuses(
        &self,
        node: &NodeName,
        reports: Vec<PodStatusReport>,
        clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)>;

    /// See [`Dispatch::subscribe_mirrors`].
    fn subscribe_mirrors(&self, node: &NodeName) -> watch::Receiver<()>;

    /// See [`Intake::static_pods`].
    async fn static_pods(&self, node: &NodeName, pods: Vec<StaticPodName>);

    /// See [`Intake::static_pod`].
    async fn static_pod(&self, node: &NodeName, pod: StaticPod);

    /// See [`Intake::tend_mirrors`].
    async fn tend_mirrors(&self, node: &NodeName) -> Tended;

    /// See [`Intake::events`].
    async fn events(&self, node: &NodeName, events: Vec<NodeEvent>, clock_offset_ms: i64);

    /// See [`Intake::refused`].
    async fn refused(&self, node: &NodeName, refusals: Vec<Refusal>);

    /// See [`Intake::buried`].
    async fn buried(&self, node: &NodeName, uids: Vec<PodUid>);

    /// See [`Intake::token`]. As it is here, there are none.
    async fn token(&self, _node: &NodeName, _open: &TokenOpen) -> Result<IssuedToken, String> {
        Err("nobody issues tokens here".to_owned())
    }

    /// See [`Artifacts::open_module`].
    async fn open_module(&self, digest: Digest, offset: u64) -> io::Result<Option<OpenModule<File>>>;

    /// See [`Artifacts::content`]. As it is here, there is none.
    async fn open_content(&self, _desired: &Desired, _open: &ContentOpen) -> io::Result<Option<Content>> {
        Ok(None)
    }

    /// See [`Compiling::want`].
    fn want_compiled(&self, _module: Digest, _target: &str) {}

    /// See [`Compiling::want_foreign`].
    fn want_foreign(&self, _desired: &Desired, _target: &str) {}

    /// See [`Compiling::get`]. As it is here, nobody compiles.
    async fn compiled(&self, _module: Digest, _target: &str) -> Outcome {
        Err(Refused { reason: CompileRefusal::Target, message: "nobody compiles here".to_owned() })
    }

    /// See [`Compiling::get_foreign`]. As it is here, nobody pulls.
    async fn compiled_foreign(&self, _desired: &Desired, module: Digest, _target: &str) -> Outcome {
        let message = ArtifactError::NotAssigned(module).to_string();
        Err(Refused { reason: CompileRefusal::NotHere, message })
    }

    /// The uid of a namespace; `None` when there is none of this name. As it is here, nobody knows.
    async fn namespace_uid(&self, _name: &str) -> io::Result<Option<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See [`Compiling::open_code`].
    async fn open_code(&self, _signed: &SignedCompiled, _offset: u64) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The coordinator's own parts.
#[derive(Clone, Debug)]
pub struct ConnectedCluster {
    /// Where desired sets come from.
    pub dispatch: Dispatch,
    /// Where what nodes say goes.
    pub intake: Intake,
    /// Where modules are.
    pub artifacts: Artifacts,
    /// Where code for nodes comes from.
    pub compiling: Compiling,
}

#[async_trait]
impl Cluster for ConnectedCluster {
    fn subscribe(&self, node: &NodeName) -> watch::Receiver<Revision> {
        self.dispatch.subscribe(node)
    }

    fn desired(&self, node: &NodeName) -> Desired {
        self.dispatch.desired(node)
    }

    async fn connected(&self, node: &NodeName, facts: NodeFacts) {
        self.intake.connected(node, facts).await;
    }

    async fn state(&self, node: &NodeName, state: NodeState) {
        self.intake.state(node, state).await;
    }

    async fn network(&self, node: &NodeName, network: NodeNetwork) {
        self.intake.network(node, network).await;
    }

    async fn no_network(&self, node: &NodeName) {
        self.intake.no_network(node).await;
    }

    async fn disconnected(&self, node: &NodeName) {
        self.intake.disconnected(node).await;
    }

    async fn cloned(&self, node: &NodeName, news: CloneNews) {
        self.intake.cloned(node, news).await;
    }

    async fn is_cloned(&self, node: &NodeName) -> bool {
        self.intake.is_cloned(node).await
    }

    async fn pod_statuses(
        &self,
        node: &NodeName,
        reports: Vec<PodStatusReport>,
        clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)> {
        self.intake.pod_statuses(node, reports, clock_offset_ms).await
    }

    fn subscribe_mirrors(&self, node: &NodeName) -> watch::Receiver<()> {
        self.dispatch.subscribe_mirrors(node)
    }

    async fn static_pods(&self, node: &NodeName, pods: Vec<StaticPodName>) {
        self.intake.static_pods(node, pods);
    }

    async fn static_pod(&self, node: &NodeName, pod: StaticPod) {
        self.intake.static_pod(node, pod).await;
    }

    async fn tend_mirrors(&self, node: &NodeName) -> Tended {
        self.intake.tend_mirrors(node).await
    }

    async fn events(&self, node: &NodeName, events: Vec<NodeEvent>, clock_offset_ms: i64) {
        self.intake.events(node, events, clock_offset_ms).await;
    }

    async fn refused(&self, node: &NodeName, refusals: Vec<Refusal>) {
        self.intake.refused(node, refusals).await;
    }

    async fn buried(&self, node: &NodeName, uids: Vec<PodUid>) {
        self.intake.buried(node, uids).await;
    }

    async fn token(&self, node: &NodeName, open: &TokenOpen) -> Result<IssuedToken, String> {
        self.intake.token(node, open).await
    }

    async fn open_module(&self, digest: Digest, offset: u64) -> io::Result<Option<OpenModule<File>>> {
        self.artifacts.open_module(digest, offset).await
    }

    async fn open_content(&self, desired: &Desired, open: &ContentOpen) -> io::Result<Option<Content>> {
        let Some(named) = named_by(desired).remove(&open.repository) else { return Ok(None) };
        let found = self.artifacts.content(&open.repository, (open.digest, open.offset), &named).await;
        found.map_err(io::Error::other)
    }

    fn want_compiled(&self, module: Digest, target: &str) {
        // What a pod names may be an image, too.
        if self.artifacts.has_module(module) {
            self.compiling.want(module, target);
        }
    }

    async fn compiled(&self, module: Digest, target: &str) -> Outcome {
        self.compiling.get(module, target).await
    }

    fn want_foreign(&self, desired: &Desired, target: &str) {
        self.compiling.want_foreign(desired, target);
    }

    async fn compiled_foreign(&self, desired: &Desired, module: Digest, target: &str) -> Outcome {
        if self.artifacts.has_module(module)
            && self.artifacts.is_part_of(desired, module).await.unwrap_or(false)
        {
            return self.compiling.get(module, target).await;
        }
        self.compiling.get_foreign(desired, module, target).await
    }

    async fn open_code(&self, signed: &SignedCompiled, offset: u64) -> io::Result<File> {
        self.compiling.open_code(signed, offset).await
    }

    async fn namespace_uid(&self, name: &str) -> io::Result<Option<String>> {
        let key = format!("/registry/namespaces/{name}");
        let Some(found) = self.artifacts.store().get(&key).await.map_err(io::Error::other)? else {
            return Ok(None);
        };
        let json = stored::json(&found.value).map_err(io::Error::other)?;
        let namespace: Value = serde_json::from_slice(json)?;
        // One that cannot be read is there.
        let uid = namespace["metadata"]["uid"].as_str().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(uid.to_owned()))
    }
}

//! The API service: verbs on resources, the one path that every front, controller and node session takes to the store.
//!
//! A request of the wire is parsed ([`path`], [`query`], [`options`], [`body`]) and becomes a typed verb; each verb is a file. Every
//! verb asks [`authorize`] first, then `dunlin-api` about the object, then writes one transaction.

mod apply;
mod authorize;
mod bearer;
mod bind;
mod body;
mod bootstrap;
mod certificate_request;
mod change;
mod clock;
mod cluster;
mod companions;
mod components;
mod contacts;
mod continue_token;
mod create;
mod delete;
mod delete_options;
mod discovery;
pub mod distribution;
mod encode;
mod endpoints;
mod entity_tag;
mod event;
mod evict;
mod exec;
mod expel;
mod figures;
mod followed;
mod frames;
mod get;
mod handle;
pub mod held;
mod impersonate;
mod list;
mod list_protobuf;
mod list_stream;
mod list_text;
mod logs;
mod media;
mod metrics;
mod numbers;
mod openapi;
mod options;
mod patch;
mod path;
mod port_forward;
pub mod proxy;
mod query;
mod response;
mod reviews;
mod routes;
mod scale;
mod seats;
mod serve;
mod served;
mod shape;
mod size;
mod spdy;
pub mod stored;
mod streams;
mod surroundings;
mod token_request;
mod update;
mod upgrade;
mod user;
mod watch;
mod websocket;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dunlin_api::{Kind, Status};
use dunlin_coordinator_core::authorizer::{self, Index};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::{figures::Figures, seats::Seats};
use crate::{
    account_keys::AccountKeys,
    artifacts::Artifacts,
    backup::{Source, snapshots::Snapshots},
    driver::Explainer,
    metrics::Collect,
    store::{Store, StoreError},
    tokens::Tokens,
};

pub use self::{
    bearer::{Bearer, Rejected},
    bootstrap::BootstrapError,
    clock::Clock,
    cluster::ClusterInfo,
    endpoints::LocalEndpoints,
    expel::NodeSessions,
    logs::{LogError, LogSource},
    numbers::ServiceNetwork,
    options::Selection,
    response::{Body, ByteStream, Response},
    streams::PodStreams,
    update::ModifyError,
    upgrade::{Duplex, Offer, Upgrade},
    user::{CREDENTIAL_ID, User},
};

/// Handle to the service; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    endpoints: LocalEndpoints,
    contacts: contacts::Contacts,
    held: held::HeldPods,
    /// Who may do what.
    roles: Arc<followed::Followed<Index>>,
    priority_classes: followed::Followed<surroundings::PriorityClasses>,
    attached: Attached,
    /// Bounds requests under way, and shares them among users.
    seats: Seats,
    figures: Figures,
    /// Cancelled when the coordinator is about to stop.
    draining: CancellationToken,
    /// One backup at a time: each keeps pages of the database while it is read.
    backup_turn: Arc<Semaphore>,
    openapi: openapi::Hashes,
    usages: metrics::Usages,
}

/// Parts of the coordinator that are built on the service and that some endpoints lead to; each is set once.
#[derive(Debug, Default)]
struct Attached {
    account_keys: OnceLock<AccountKeys>,
    artifacts: OnceLock<Artifacts>,
    tokens: OnceLock<Tokens>,
    logs: OnceLock<Arc<dyn LogSource>>,
    streams: OnceLock<Arc<dyn PodStreams>>,
    sessions: OnceLock<Arc<dyn NodeSessions>>,
    cluster: OnceLock<ClusterInfo>,
    backups: OnceLock<Backups>,
    network: OnceLock<ServiceNetwork>,
    explainer: OnceLock<Explainer>,
    collectors: Mutex<Vec<Arc<dyn Collect>>>,
}

/// What backups are made of, and the schedule of those that nobody asks for.
#[derive(Clone, Debug)]
pub struct Backups {
    /// The coordinator's state.
    pub source: Source,
    /// The schedule.
    pub snapshots: Snapshots,
}

/// Names one object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRef<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
}

impl ApiService {
    /// A service on a store.
    pub fn new(store: Store, clock: Clock) -> Self {
        let inner = Inner {
            store,
            clock,
            endpoints: LocalEndpoints::default(),
            contacts: contacts::Contacts::default(),
            held: held::HeldPods::default(),
            priority_classes: followed::Followed::new(stored::group_prefix("scheduling.k8s.io")),
            roles: Arc::new(followed::Followed::new(stored::group_prefix(authorizer::GROUP))),
            attached: Attached::default(),
            seats: Seats::new(),
            figures: Figures::new(),
            draining: CancellationToken::new(),
            backup_turn: Arc::new(Semaphore::new(1)),
            openapi: openapi::Hashes::default(),
            usages: metrics::Usages::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Serves pushed modules under `/dunlin/v1/modules`. Only the first call counts, as with the other `attach` methods.
    pub fn attach_artifacts(&self, artifacts: Artifacts) {
        let _ = self.inner.attached.artifacts.set(artifacts);
    }

    /// Issues and checks tokens of service accounts.
    pub fn attach_account_keys(&self, keys: AccountKeys) {
        let _ = self.inner.attached.account_keys.set(keys);
    }

    /// Serves join tokens under `/dunlin/v1/tokens`.
    pub fn attach_tokens(&self, tokens: Tokens) {
        let _ = self.inner.attached.tokens.set(tokens);
    }

    /// Serves logs of containers from their nodes.
    pub fn attach_logs(&self, logs: Arc<dyn LogSource>) {
        let _ = self.inner.attached.logs.set(logs);
    }

    /// Opens streams into pods.
    pub fn attach_streams(&self, streams: Arc<dyn PodStreams>) {
        let _ = self.inner.attached.streams.set(streams);
    }

    /// Ends the sessions of nodes that are removed.
    pub fn attach_sessions(&self, sessions: Arc<dyn NodeSessions>) {
        let _ = self.inner.attached.sessions.set(sessions);
    }

    /// Serves facts of the cluster under `/dunlin/v1/cluster`.
    pub fn attach_cluster(&self, cluster: ClusterInfo) {
        let _ = self.inner.attached.cluster.set(cluster);
    }

    /// Serves backups under `/dunlin/v1/backup`.
    pub fn attach_backups(&self, backups: Backups) {
        let _ = self.inner.attached.backups.set(backups);
    }

    /// Gives Services addresses and ports of this network, and not of the standard one.
    pub fn attach_network(&self, network: ServiceNetwork) {
        let _ = self.inner.attached.network.set(network);
    }

    /// Tells how pods would be placed.
    pub(crate) fn attach_explainer(&self, explainer: Explainer) {
        let _ = self.inner.attached.explainer.set(explainer);
    }

    /// Tells a part's figures under `/metrics`. Each call adds one.
    pub(crate) fn attach_figures(&self, part: Arc<dyn Collect>) {
        self.inner.attached.collectors.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    fn collectors(&self) -> Vec<Arc<dyn Collect>> {
        self.inner.attached.collectors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends watches, so that their clients go elsewhere, and says so under `/readyz`: the coordinator is about to stop.
    pub(crate) fn drain(&self) {
        self.inner.draining.cancel();
    }

    /// Where pods can be reached on their nodes' machines, as the nodes told.
    pub fn endpoints(&self) -> &LocalEndpoints {
        &self.inner.endpoints
    }

    /// Pods that nodes run and the cluster does not know.
    pub fn held_pods(&self) -> &held::HeldPods {
        &self.inner.held
    }

    fn service_network(&self) -> &ServiceNetwork {
        self.inner.attached.network.get_or_init(ServiceNetwork::standard)
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }
}

/// What a store's refusal means to a caller.
fn store_failed(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { asked, oldest } => {
            Status::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        StoreError::Future { asked, newest } => Status::resource_version_too_large(asked.0, newest.0),
        StoreError::Malformed(why) => Status::internal(why),
        StoreError::Failed { .. } | StoreError::Closed => Status::service_unavailable(error.to_string()),
    }
}

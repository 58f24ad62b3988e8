//! Controllers: functions from the view to the actions that bring the cluster closer to what it should be.
//!
//! None of them knows what woke it. An [`Action`] leaves no choice to whoever carries it out, and carrying out a stale one is
//! harmless: each names the object's uid. A [`Plan`] also says when to ask again although nothing changed.

pub(crate) mod auto_rollback;
pub mod autoscaler;
pub mod bootstrap_token;
pub mod certificate_request;
mod claim;
mod conditions;
pub mod create;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod garbage;
mod history;
pub mod job;
pub mod namespace;
pub mod node_lifecycle;
mod offline;
pub mod pod_gc;
pub mod replica_set;
pub mod root_ca;
pub mod service_account;
pub mod stateful_set;
mod status_change;
pub mod storage;
pub mod tell;
pub mod ttl;
mod workload_action;
#[cfg(test)]
pub(crate) mod world;

use std::sync::Arc;

use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;

use self::tell::Component;
pub use self::{status_change::StatusChange, workload_action::WorkloadAction};
use crate::{
    deletion::Propagation,
    view::{Effect, ObjectId, ObjectKey, Resource},
};

/// What a controller wants done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Ask again then, at the latest.
    pub again_at: Option<Timestamp>,
}

/// One change of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set conditions `Ready` and the pressures of a node to `Unknown`: nothing is heard of it.
    MarkNodeUnknown {
        /// The node.
        node: NodeName,
        /// Its uid.
        uid: String,
    },
    /// Take that back: its session is open. The mark may have been on its way when the session opened.
    MarkNodeKnown {
        /// The node.
        node: NodeName,
        /// Its uid.
        uid: String,
    },
    /// Add and remove taints of a node.
    Taint {
        /// The node.
        node: NodeName,
        /// Its uid.
        uid: String,
        /// Key and effect of taints to add, with `timeAdded` now.
        add: Vec<(&'static str, Effect)>,
        /// Key and effect of taints to remove.
        remove: Vec<(&'static str, Effect)>,
    },
    /// Set `Ready` of a pod to false because its node is not heard of.
    MarkPodLost(ObjectKey, PodUid),
    /// Take that back.
    MarkPodFound(ObjectKey, PodUid),
    /// Delete a pod because of a taint, after a condition `DisruptionTarget` that says so.
    Evict(ObjectKey, PodUid),
    /// Say that the eviction of a pod is off: the taint is gone.
    CancelEviction(ObjectKey, PodUid),
    /// Remove a pod that no node will ever report on, at once.
    Remove(ObjectKey, PodUid, pod_gc::Removal),
    /// Delete every object of a kind in a namespace.
    DeleteAll {
        /// The namespace.
        namespace: Arc<str>,
        /// The kind.
        resource: Resource,
    },
    /// Once the plan's other actions are done, say in a namespace's status what is left of these kinds.
    TellRemains {
        /// The namespace.
        name: Arc<str>,
        /// Its uid.
        uid: String,
        /// The kinds.
        resources: Vec<Resource>,
    },
    /// Take the finalizer `kubernetes` from a namespace that is empty, which ends it.
    FinalizeNamespace {
        /// The namespace.
        name: Arc<str>,
        /// Its uid.
        uid: String,
    },
    /// Delete an object whose owners are gone or wait for its end.
    DeleteDependent {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: String,
        /// What becomes of its own dependents, unless it says so itself.
        propagation: Propagation,
    },
    /// Take owners from an object.
    Disown {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: String,
        /// Uids of the owners.
        owners: Vec<String>,
    },
    /// Take a finalizer from an object, which may end it.
    RemoveFinalizer {
        /// The object.
        id: ObjectId,
        /// Its uid.
        uid: String,
        /// The finalizer.
        finalizer: &'static str,
    },
    /// Put the cluster's certificate into a namespace, or right there.
    PublishRootCa {
        /// The namespace.
        namespace: Arc<str>,
    },
    /// Write what was found out about a budget, if it still says what was looked at.
    UpdateBudget(Box<disruption::BudgetUpdate>),
    /// Remove a bootstrap token whose time is over.
    RemoveBootstrapToken {
        /// Its Secret.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Sign an approved request for a certificate, or say why not.
    SignCertificateRequest {
        /// The request.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Remove a request for a certificate that is of no use any more.
    RemoveCertificateRequest {
        /// The request.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Give ClusterRoles that are made of others the rules of those.
    AggregateRoles,
    /// Find out the size of an autoscaler's target, and what its pods use.
    Measure {
        /// The autoscaler.
        key: ObjectKey,
        /// `apiVersion` of the target.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Set the size of an autoscaler's target.
    Rescale(Box<autoscaler::Rescale>),
    /// Do something for a controller of workloads.
    Workload(Component, WorkloadAction),
    /// Create the `default` ServiceAccount of a namespace.
    CreateDefaultAccount {
        /// The namespace.
        namespace: Arc<str>,
    },
}

impl Plan {
    /// Nothing to do until something changes.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Asks to be called again at `time` or earlier.
    pub(crate) fn wake_at(&mut self, time: Timestamp) {
        self.again_at = Some(self.again_at.map_or(time, |known| known.min(time)));
    }
}

/// Taint of a node that is not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Taint of a node that is not heard of.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";

//! Objects that controllers look after: the parts of their specs and statuses that decisions rest on, and where to find them.
//!
//! Templates of pods are held as digests: a controller asks whether two are the same, and objects are made from what is stored.

mod cron_job;
mod daemon_set;
mod deployment;
mod indexes;
mod job;
mod meta;
mod object;
mod replica_set;
mod revision;
mod stateful_set;
mod table;
mod template;

use std::sync::Arc;

use dunlin_api::{Kind, selector::LabelSelector};
use serde::Deserialize;

pub(super) use self::meta::MetaShape;
pub use self::{
    cron_job::{Concurrency, CronJob, CronJobStatus},
    daemon_set::{DaemonSet, DaemonSetStatus, Placing, Rolling},
    deployment::{Deployment, DeploymentStatus, Strategy},
    indexes::Indexes,
    job::{FailureRule, Job, JobStatus, OnExitCodes, OnPodCondition, SuccessRule},
    meta::{Condition, Meta},
    replica_set::{ReplicaSet, ReplicaSetStatus},
    revision::Revision,
    stateful_set::{Order, Retention, StatefulSet, StatefulSetStatus, UpdateStrategy},
    table::Workloads,
    template::{HASH_LABEL, RevisionHash, TemplateDigest},
};
pub(crate) use self::{
    daemon_set::{Network, tolerations},
    deployment::DEFERRED,
    meta::LAST_APPLIED,
    template::{kept, restored},
};
use super::{DecodeError, Labels, Resource};

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// A Deployment.
    Deployment(Arc<Deployment>),
    /// A ReplicaSet or a ReplicationController.
    ReplicaSet(Arc<ReplicaSet>),
    /// A Job.
    Job(Arc<Job>),
    /// A CronJob.
    CronJob(Arc<CronJob>),
    /// A StatefulSet.
    StatefulSet(Arc<StatefulSet>),
    /// A DaemonSet.
    DaemonSet(Arc<DaemonSet>),
    /// A ControllerRevision: part of a StatefulSet or DaemonSet.
    Revision(Arc<Revision>),
    /// Anything else that has a scale; no controller here looks after it.
    Scaled(Arc<Scaled>),
}

/// An object that has the subresource `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i64,
}

/// Whether objects of a kind are held here.
pub fn is_workload(kind: &Kind) -> bool {
    decoder(Resource::of(kind)).is_some()
}

impl Workload {
    /// What all kinds have.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Deployment(deployment) => &deployment.meta,
            Self::ReplicaSet(set) => &set.meta,
            Self::Job(job) => &job.meta,
            Self::CronJob(cron) => &cron.meta,
            Self::StatefulSet(set) => &set.meta,
            Self::DaemonSet(set) => &set.meta,
            Self::Revision(revision) => &revision.meta,
            Self::Scaled(scaled) => &scaled.meta,
        }
    }

    /// How many pods it wants; `None` for kinds that have no such number.
    pub fn replicas(&self) -> Option<i64> {
        Some(match self {
            Self::Deployment(deployment) => deployment.replicas,
            Self::ReplicaSet(set) => set.replicas,
            Self::StatefulSet(set) => set.replicas,
            Self::Job(_) | Self::CronJob(_) | Self::DaemonSet(_) | Self::Revision(_) => return None,
            Self::Scaled(scaled) => scaled.replicas,
        })
    }

    /// Whether it takes objects of this kind, that it is made up of, with these labels, when they have no controller.
    pub fn adopts_part(&self, part: Resource, labels: &Labels) -> bool {
        let selector = match (self, part) {
            (Self::Deployment(deployment), REPLICA_SETS) => &deployment.selector,
            (Self::StatefulSet(set), CONTROLLER_REVISIONS) => &set.selector,
            (Self::DaemonSet(set), CONTROLLER_REVISIONS) => &set.selector,
            _ => return false,
        };
        selector.as_ref().is_some_and(|selector| selector.matches_labels(labels))
    }

    /// Whether it has to be looked at when a node goes offline or comes back, although nothing else changes.
    pub(crate) fn looks_at_nodes(&self) -> bool {
        match self {
            Self::Deployment(deployment) => deployment.looks_at_nodes(),
            Self::StatefulSet(set) => set.looks_at_nodes(),
            // Any node may be one of its places.
            Self::DaemonSet(_) => true,
            _ => false,
        }
    }

    /// The selector by which it takes pods that have no controller; `None` when it takes none.
    pub fn adopts(&self) -> Option<&LabelSelector> {
        match self {
            Self::Deployment(_) | Self::CronJob(_) | Self::Revision(_) | Self::Scaled(_) => None,
            Self::StatefulSet(set) => set.selector.as_ref(),
            Self::DaemonSet(set) => set.selector.as_ref(),
            Self::ReplicaSet(set) => set.selector.as_ref(),
            Self::Job(job) => job.selector.as_ref(),
        }
    }
}

type Decode = fn(&[u8]) -> Result<Workload, DecodeError>;

fn decoder(resource: Resource) -> Option<Decode> {
    Some(match resource {
        DEPLOYMENTS => |json| Ok(Workload::Deployment(Arc::new(Deployment::decode(json)?))),
        REPLICA_SETS | REPLICATION_CONTROLLERS => {
            |json| Ok(Workload::ReplicaSet(Arc::new(ReplicaSet::decode(json)?)))
        }
        CRON_JOBS => |json| Ok(Workload::CronJob(Arc::new(CronJob::decode(json)?))),
        STATEFUL_SETS => |json| Ok(Workload::StatefulSet(Arc::new(StatefulSet::decode(json)?))),
        DAEMON_SETS => |json| Ok(Workload::DaemonSet(Arc::new(DaemonSet::decode(json)?))),
        CONTROLLER_REVISIONS => |json| Ok(Workload::Revision(Arc::new(Revision::decode(json)?))),
        JOBS => |json| Ok(Workload::Job(Arc::new(Job::decode(json)?))),
        other if other.kind()?.scale.is_some() => {
            |json| Ok(Workload::Scaled(Arc::new(Scaled::decode(json)?)))
        }
        _ => return None,
    })
}

impl Scaled {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, spec } = serde_json::from_slice(json)?;
        Ok(Self { meta: metadata.into(), replicas: spec.replicas })
    }
}

#[derive(Deserialize)]
struct Shape {
    metadata: MetaShape,
    #[serde(default)]
    spec: SpecShape,
}

#[derive(Default, Deserialize)]
struct SpecShape {
    #[serde(default)]
    replicas: i64,
}

/// Deployments.
pub const DEPLOYMENTS: Resource = Resource { group: "apps", plural: "deployments" };

/// StatefulSets.
pub const STATEFUL_SETS: Resource = Resource { group: "apps", plural: "statefulsets" };

/// DaemonSets.
pub const DAEMON_SETS: Resource = Resource { group: "apps", plural: "daemonsets" };

/// ControllerRevisions.
pub const CONTROLLER_REVISIONS: Resource = Resource { group: "apps", plural: "controllerrevisions" };

/// CronJobs.
pub const CRON_JOBS: Resource = Resource { group: "batch", plural: "cronjobs" };

/// Jobs.
pub const JOBS: Resource = Resource { group: "batch", plural: "jobs" };

/// ReplicaSets.
pub const REPLICA_SETS: Resource = Resource { group: "apps", plural: "replicasets" };

/// ReplicationControllers.
pub const REPLICATION_CONTROLLERS: Resource = Resource::core("replicationcontrollers");

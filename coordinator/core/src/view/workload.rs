//! Objects that controllers look after: the parts of their specs and statuses that decisions rest on, and where to find them.
//!
//! Templates of pods are held as digests: a controller asks whether two are the same, and objects are made from what is stored.

mod cron_job;
mod daemon_set;
mod deployment;
mod indexes;
mod job;
mod meta;
mod replica_set;
mod revision;
mod stateful_set;
mod template;

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
};

use dunlin_api::{Kind, selector::LabelSelector};
use serde::Deserialize;

pub(super) use self::meta::MetaShape;
pub use self::{
    cron_job::{Concurrency, CronJob, CronJobStatus},
    daemon_set::{DaemonSet, DaemonSetStatus, Rolling},
    deployment::{Deployment, DeploymentStatus, Strategy},
    indexes::Indexes,
    job::{FailureRule, Job, JobStatus, OnExitCodes, OnPodCondition, SuccessRule},
    meta::{Condition, Meta},
    replica_set::{ReplicaSet, ReplicaSetStatus},
    revision::Revision,
    stateful_set::{Order, Retention, StatefulSet, StatefulSetStatus, UpdateStrategy},
    template::{HASH_LABEL, RevisionHash, TemplateDigest},
};
pub(crate) use self::{
    daemon_set::{Network, tolerations},
    meta::LAST_APPLIED,
    template::{kept, restored},
};
use super::{DecodeError, Labels, ObjectId, ObjectKey, Resource};

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

/// All of them.
#[derive(Debug, Default)]
pub struct Workloads {
    objects: HashMap<ObjectId, Workload>,
    /// By namespace, for the question whom a pod without controller belongs to.
    by_namespace: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// By the uid of their controller.
    controlled: HashMap<String, BTreeSet<ObjectId>>,
    /// Those that a change of a node may concern.
    daemon_sets: BTreeSet<ObjectId>,
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

impl Workloads {
    /// Folds in an object as stored; answers what was known before.
    ///
    /// # Errors
    /// When `json` is not an object of the kind; nothing changes then.
    pub fn apply(&mut self, id: &ObjectId, json: &[u8]) -> Result<Option<Workload>, DecodeError> {
        let Some(decode) = decoder(id.resource) else { return Ok(None) };
        let workload = decode(json)?;
        let before = self.delete(id);
        if let Some(controller) = &workload.meta().controller {
            self.controlled.entry(controller.uid.clone()).or_default().insert(id.clone());
        }
        self.by_namespace.entry(Arc::clone(&id.key.namespace)).or_default().insert(id.clone());
        if id.resource == DAEMON_SETS {
            self.daemon_sets.insert(id.clone());
        }
        self.objects.insert(id.clone(), workload);
        Ok(before)
    }

    /// Forgets an object; answers what was known of it.
    pub fn delete(&mut self, id: &ObjectId) -> Option<Workload> {
        let before = self.objects.remove(id)?;
        remove_from(&mut self.by_namespace, &id.key.namespace, id);
        self.daemon_sets.remove(id);
        if let Some(controller) = &before.meta().controller {
            remove_from(&mut self.controlled, &controller.uid, id);
        }
        Some(before)
    }

    /// One of them.
    pub fn get(&self, id: &ObjectId) -> Option<&Workload> {
        self.objects.get(id)
    }

    /// A Deployment.
    pub fn deployment(&self, key: &ObjectKey) -> Option<&Arc<Deployment>> {
        match self.get(&ObjectId { resource: DEPLOYMENTS, key: key.clone() })? {
            Workload::Deployment(deployment) => Some(deployment),
            _ => None,
        }
    }

    /// A ReplicaSet or a ReplicationController.
    pub fn replica_set(&self, id: &ObjectId) -> Option<&Arc<ReplicaSet>> {
        match self.get(id)? {
            Workload::ReplicaSet(set) => Some(set),
            _ => None,
        }
    }

    /// A Job.
    pub fn job(&self, key: &ObjectKey) -> Option<&Arc<Job>> {
        match self.get(&ObjectId { resource: JOBS, key: key.clone() })? {
            Workload::Job(job) => Some(job),
            _ => None,
        }
    }

    /// A CronJob.
    pub fn cron_job(&self, key: &ObjectKey) -> Option<&Arc<CronJob>> {
        match self.get(&ObjectId { resource: CRON_JOBS, key: key.clone() })? {
            Workload::CronJob(cron) => Some(cron),
            _ => None,
        }
    }

    /// A StatefulSet.
    pub fn stateful_set(&self, key: &ObjectKey) -> Option<&Arc<StatefulSet>> {
        match self.get(&ObjectId { resource: STATEFUL_SETS, key: key.clone() })? {
            Workload::StatefulSet(set) => Some(set),
            _ => None,
        }
    }

    /// A DaemonSet.
    pub fn daemon_set(&self, key: &ObjectKey) -> Option<&Arc<DaemonSet>> {
        match self.get(&ObjectId { resource: DAEMON_SETS, key: key.clone() })? {
            Workload::DaemonSet(set) => Some(set),
            _ => None,
        }
    }

    /// All DaemonSets of all namespaces.
    pub fn daemon_sets(&self) -> impl Iterator<Item = (&ObjectId, &Arc<DaemonSet>)> {
        self.daemon_sets.iter().filter_map(|id| match self.objects.get(id)? {
            Workload::DaemonSet(set) => Some((id, set)),
            _ => None,
        })
    }

    /// A ControllerRevision.
    pub fn revision(&self, key: &ObjectKey) -> Option<&Arc<Revision>> {
        match self.get(&ObjectId { resource: CONTROLLER_REVISIONS, key: key.clone() })? {
            Workload::Revision(revision) => Some(revision),
            _ => None,
        }
    }

    /// Those of one kind in a namespace, by name.
    pub fn of_kind(
        &self,
        namespace: &str,
        resource: Resource,
    ) -> impl Iterator<Item = (&ObjectId, &Workload)> {
        let first = ObjectId { resource, key: ObjectKey::new(namespace, "") };
        let ids =
            self.by_namespace.get(namespace).into_iter().flat_map(move |ids| ids.range(first.clone()..));
        let ids = ids.take_while(move |id| id.resource == resource);
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
    }

    /// Those of a namespace, by kind and name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = (&ObjectId, &Workload)> {
        let ids = self.by_namespace.get(namespace).into_iter().flatten();
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
    }

    /// Those that the object of this uid controls, by kind and name.
    pub fn controlled_by(&self, uid: &str) -> impl Iterator<Item = (&ObjectId, &Workload)> {
        let ids = self.controlled.get(uid).into_iter().flatten();
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
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

fn remove_from<K>(map: &mut HashMap<K, BTreeSet<ObjectId>>, key: &str, id: &ObjectId)
where
    K: Eq + Hash + Borrow<str>,
{
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
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

//! What controllers have made: named by what it is made of, so that a plan needs no templates.

use std::sync::Arc;

use crate::view::ObjectId;

/// Something to create for an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// What it is made of, and belongs to.
    pub owner: ObjectId,
    /// The owner's uid.
    pub uid: Arc<str>,
    /// The owner's generation: of any other nothing is made.
    pub generation: i64,
    /// What.
    pub what: Blueprint,
}

/// What is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blueprint {
    /// Pods of the owner's template with names made up from its own.
    Pods {
        /// How many.
        count: usize,
    },
    /// Pods of an Indexed Job.
    IndexedPods {
        /// Which.
        pods: Vec<IndexedPod>,
    },
    /// The Job of a CronJob for one time.
    Job {
        /// Its name.
        name: String,
        /// The time, as its annotation says it.
        scheduled_at: String,
    },
    /// Pods of a StatefulSet, each after the claims that it lacks.
    StatefulPods {
        /// Their revision.
        revision: Arc<str>,
        /// The ControllerRevision that keeps their template; `None` when it is the owner's own.
        template: Option<ObjectId>,
        /// Which.
        pods: Vec<StatefulPod>,
    },
    /// Pods of a DaemonSet.
    DaemonPods {
        /// The ControllerRevision that keeps their template; `None` when it is the owner's own.
        template: Option<ObjectId>,
        /// One for each of these nodes.
        nodes: Vec<String>,
        /// Hash of the template.
        hash: String,
        /// How often the template has changed.
        template_generation: Option<i64>,
    },
    /// Claims of a StatefulSet's pods that are there already.
    Claims {
        /// Which.
        claims: Vec<ClaimOf>,
    },
    /// The ControllerRevision of the owner's current template.
    Revision {
        /// Its name.
        name: String,
        /// The label that holds its hash, and that hash.
        label: (&'static str, String),
        /// Its place in the history.
        number: i64,
    },
    /// The ReplicaSet of a Deployment's current template.
    ReplicaSet {
        /// Its name.
        name: String,
        /// Its `pod-template-hash`.
        hash: String,
        /// How many pods it is to have.
        replicas: i64,
        /// Its annotations.
        annotations: std::collections::BTreeMap<String, String>,
    },
}

/// A pod of a StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatefulPod {
    /// Its number.
    pub ordinal: i64,
    /// Which of its claims are to be made first, by the names of their templates.
    pub claims: Vec<String>,
}

/// A claim of a StatefulSet's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimOf {
    /// The pod's number.
    pub ordinal: i64,
    /// Name of the template that it is made of.
    pub template: String,
}

impl Blueprint {
    /// The object that keeps the pod template, when it is not the owner's own.
    pub fn template_from(&self) -> Option<&ObjectId> {
        match self {
            Self::StatefulPods { template, .. } | Self::DaemonPods { template, .. } => template.as_ref(),
            _ => None,
        }
    }
}

/// A pod of an Indexed Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedPod {
    /// Its index.
    pub index: u32,
    /// How often the index has failed; only where that is limited.
    pub failures: Option<i64>,
}

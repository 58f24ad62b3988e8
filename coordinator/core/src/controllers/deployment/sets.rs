//! The ReplicaSets of a Deployment: the one of its current template, and those of earlier ones.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        Action, WorkloadAction,
        offline::{self, Deferred},
    },
    BY, history,
};
use crate::view::{
    Deployment, ObjectId, ReplicaSet, View,
    workload::{REPLICA_SETS, Workload},
};

/// All ReplicaSets of a Deployment.
pub(super) struct Sets {
    /// That of the current template, if there is one.
    pub(super) newest: Option<Set>,
    /// The others, the oldest first.
    pub(super) old: Vec<Set>,
    /// The set of the current template, when another is kept in its place.
    pub(super) held: Option<ObjectId>,
    /// Pods on nodes that are offline.
    pub(super) deferred: Deferred,
    /// What counts as available of the newest set, when that is not what its status says.
    newest_available: Option<i64>,
    /// Names of all ReplicaSets in the namespace.
    names: BTreeSet<Arc<str>>,
}

/// One of them, and the size it is to have.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) id: ObjectId,
    pub(super) info: Arc<ReplicaSet>,
    /// The size it is to have.
    pub(super) replicas: i64,
    /// Whether that was decided here; else it is what it was.
    pub(super) is_decided: bool,
}

impl Set {
    /// How many of its pods serve once it has the size it is to have, at most: a set that was made smaller says for a moment how many
    /// it had.
    pub(super) fn available(&self) -> i64 {
        self.info.status.available_replicas.min(self.replicas)
    }
}

impl Sets {
    /// Finds them, and what has to be done so that they say whose they are.
    pub(super) fn of(view: &View, id: &ObjectId, deployment: &Deployment) -> (Self, Vec<Action>) {
        let (mut own, mut names, mut actions) = (Vec::new(), BTreeSet::new(), Vec::new());
        let meta = &deployment.meta;
        for (set_id, set) in view.workloads().in_namespace(&id.key.namespace) {
            let Workload::ReplicaSet(set) = set else { continue };
            if set_id.resource != REPLICA_SETS {
                continue;
            }
            names.insert(Arc::clone(&set_id.key.name));
            let selected = deployment
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches_labels(&set.meta.labels));
            let is_own = set.meta.is_controlled_by(&meta.uid);
            let may_change = !meta.deleting && !set.meta.deleting;
            let (set_id, uid) = (set_id.clone(), Arc::clone(&set.meta.uid));
            if is_own && !selected {
                if may_change {
                    let owner = Arc::clone(&meta.uid);
                    actions.push(Action::Workload(BY, WorkloadAction::Release { id: set_id, uid, owner }));
                }
                continue;
            }
            if set.meta.controller.is_none() && selected && may_change {
                let (owner, owner_uid) = (id.clone(), Arc::clone(&meta.uid));
                actions.push(Action::Workload(
                    BY,
                    WorkloadAction::Adopt { id: set_id.clone(), uid, owner, owner_uid },
                ));
            } else if !is_own {
                continue;
            }
            own.push(Set::new(set_id, set));
        }
        own.sort_by(|one, other| one.age().cmp(&other.age()));
        let newest = own.iter().position(|set| set.info.template == deployment.template);
        let newest = newest.map(|position| own.remove(position));
        let deferred = Deferred::default();
        (Self { newest, old: own, held: None, deferred, newest_available: None, names }, actions)
    }

    /// Puts an old set in the place of the newest.
    pub(super) fn hold(&mut self, id: &ObjectId) {
        let Some(position) = self.old.iter().position(|set| set.id == *id) else { return };
        let kept = self.old.remove(position);
        if let Some(newest) = self.newest.replace(kept) {
            self.held = Some(newest.id.clone());
            self.old.push(newest);
            self.old.sort_by(|one, other| one.age().cmp(&other.age()));
        }
    }

    /// Finds out which pods are deferred.
    pub(super) fn look_at_nodes(&mut self, view: &View, policy: offline::Policy) {
        let is_well = |set: &Set| {
            let status = &set.info.status;
            status.available_replicas == status.replicas && status.terminating_replicas.unwrap_or(0) == 0
        };
        if !policy.defers() || (!view.has_offline_nodes() && self.all().all(is_well)) {
            return;
        }
        let mut deferred = Deferred::default();
        // Nobody waits for one that is to end: it has its successor elsewhere.
        let of_set = |uid| view.pods_controlled_by(uid).filter(|(_, pod)| pod.is_active());
        for (_, pod) in self.old.iter().flat_map(|set| of_set(&set.info.meta.uid)) {
            deferred.count(view, pod);
        }
        if let Some(newest) = &self.newest {
            let (mut reachable, mut left) = (0, 0);
            for (_, pod) in of_set(&newest.info.meta.uid) {
                if deferred.count(view, pod) {
                    left += 1;
                } else {
                    let is_seen = pod.node.as_ref().is_some_and(|node| !view.is_offline(node));
                    reachable += i64::from(pod.is_ready() && is_seen);
                }
            }
            // The status may still count one that just fell silent.
            let available = newest.available().min(reachable);
            self.newest_available = Some(available + left);
        }
        self.deferred = deferred;
    }

    /// How many pods of the newest set are available or deferred.
    pub(super) fn newest_available(&self) -> i64 {
        let told = self.newest.as_ref().map_or(0, Set::available);
        self.newest_available.unwrap_or(told)
    }

    /// How many pods of the set of the current template there are.
    pub(super) fn updated(&self) -> i64 {
        let held = self.old.iter().find(|set| self.held.as_ref() == Some(&set.id));
        held.or(self.newest.as_ref()).map_or(0, |set| set.info.status.replicas)
    }

    /// All of them, the newest last.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Set> {
        self.old.iter().chain(&self.newest)
    }

    /// How many pods they are to have together.
    pub(super) fn total(&self) -> i64 {
        self.all().map(|set| set.replicas).sum()
    }

    /// How many pods they have or are to have together, whichever is more of each: one that was made smaller has its pods until its
    /// own controller has taken them away.
    pub(super) fn standing(&self) -> i64 {
        self.all().map(|set| set.replicas.max(set.info.status.replicas)).sum()
    }

    /// Whether a ReplicaSet of this name exists, whosever it is.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether `replicas` of the Deployment changed since one of them was given its size.
    pub(super) fn are_to_be_scaled(&self, deployment: &Deployment) -> bool {
        let desired = |set: &Set| set.info.meta.number(history::DESIRED);
        self.all()
            .filter(|set| set.info.is_active())
            .any(|set| desired(set).is_some_and(|desired| desired != deployment.replicas))
    }
}

impl Set {
    pub(super) fn new(id: ObjectId, info: &Arc<ReplicaSet>) -> Self {
        Self { id, replicas: info.replicas, info: Arc::clone(info), is_decided: false }
    }

    /// Decides on a size.
    pub(super) fn scale(&mut self, replicas: i64) {
        self.replicas = replicas.max(0);
        self.is_decided = true;
    }

    /// The order of their creation; names decide between those of one second.
    pub(super) fn age(&self) -> (jiff::Timestamp, &Arc<str>) {
        (self.info.meta.created, &self.id.key.name)
    }
}

//! The ReplicaSets of a Deployment: the one of its current template, and those of earlier ones.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{Action, WorkloadAction},
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
        (Self { newest, old: own, names }, actions)
    }

    /// All of them, the newest last.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Set> {
        self.old.iter().chain(&self.newest)
    }

    /// How many pods they are to have together.
    pub(super) fn total(&self) -> i64 {
        self.all().map(|set| set.replicas).sum()
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

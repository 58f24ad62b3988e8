//! DaemonSets: a pod on every node that is for them.
//!
//! `pkg/controller/daemon` of Kubernetes is the reference. The controller decides which nodes get a pod, and pins each pod to its node by
//! an affinity; the scheduler then binds it, when there is room. A plan makes one step: first every node gets or loses what it should,
//! and only when all do, pods of an old revision make way.

mod manage;
mod places;
mod revisions;
mod rollback;
mod rolling;
mod status;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use self::{places::Places, revisions::Current, rollback::Held};
use super::{
    Action, Plan, WorkloadAction,
    auto_rollback::steps::Next,
    claim::{self, Claiming, Ended},
    create::{Blueprint, Creation},
    history::History,
    tell::{Component, Severity},
};
use crate::{
    ObjectKey, times,
    view::{
        ObjectId, PodInfo, View,
        workload::{DAEMON_SETS, DaemonSet},
    },
};

/// What to do about a DaemonSet.
pub fn reconcile(view: &View, key: &ObjectKey, now: Timestamp) -> Plan {
    let Some(set) = view.workloads().daemon_set(key) else { return Plan::nothing() };
    if set.meta.deleting {
        // What it owns goes by itself, its revisions perhaps before its pods.
        return Plan::nothing();
    }
    let id = ObjectId { resource: DAEMON_SETS, key: key.clone() };
    let history = History::of(view, &id, &set.meta, set.selector.as_ref(), BY);
    let mut plan = Plan { actions: history.actions.clone(), again_at: None };
    let selector = set.selector.as_ref();
    let claiming = Claiming { selector, includes: &|_| true, ended: Ended::Adopted, by: BY };
    let claimed = claim::pods_by(view, &id, &set.meta, &claiming);
    plan.actions.extend(claimed.actions);
    let mut places = Places::of(view, set, &set.placing, &claimed.pods);
    let Some(current) = revisions::current(view, &id, set, &history, &places, &mut plan) else { return plan };
    let mut look = Look { view, id: &id, set, current: &current, held: None, now, plan };
    let decision = rollback::decide(&look, &history, &places);
    look.plan.actions.extend(decision.actions);
    if let Some(conditions) = decision.conditions {
        status::write_conditions(&mut look, &conditions);
    }
    match decision.next {
        Next::Rollout => {}
        Next::Wait => return look.plan,
        Next::Hold(kept, verdict) => look.held = Held::of(&history, &kept, verdict),
    }
    if let Some(placing) = look.held.as_ref().and_then(|held| held.placing.as_ref()) {
        places = Places::of(view, set, placing, &claimed.pods);
    }
    if !manage::places(&mut look, &places) && set.rolling.is_some() {
        rolling::update(&mut look, &places);
    }
    let old = revisions::superfluous(&look, &history, &places);
    look.plan.actions.extend(old);
    status::write(&mut look, &places);
    look.plan
}

/// A pod of the set.
type Pod = (ObjectKey, Arc<PodInfo>);

/// One look at a DaemonSet, on its way to a plan.
struct Look<'a> {
    view: &'a View,
    id: &'a ObjectId,
    set: &'a DaemonSet,
    /// The revision of the template as it is.
    current: &'a Current,
    /// The one that pods should have instead, because that of the template was rolled back from.
    held: Option<Held>,
    now: Timestamp,
    plan: Plan,
}

impl Look<'_> {
    /// Creates pods on nodes and deletes others, not too many at once. Whether there is anything to do.
    fn sync(&mut self, nodes: Vec<String>, doomed: &[&Pod]) -> bool {
        let is_idle = nodes.is_empty() && doomed.is_empty();
        if !nodes.is_empty() {
            let nodes = nodes.into_iter().take(BURST).collect();
            let (template, hash) = (self.held.as_ref().map(|held| held.id.clone()), self.hash().to_owned());
            let template_generation = self.template_generation();
            let what = Blueprint::DaemonPods { template, nodes, hash, template_generation };
            self.plan.actions.push(creation(self.id, self.set, what));
        }
        for (key, pod) in doomed.iter().take(BURST) {
            let action = claim::delete(self.id, &self.set.meta, BY, key, pod);
            self.plan.actions.push(action);
        }
        !is_idle
    }

    fn min_ready(&self) -> Duration {
        times::seconds(self.set.min_ready_seconds)
    }

    fn is_available(&self, pod: &PodInfo) -> bool {
        pod.is_available(self.min_ready(), self.now)
    }

    /// The hash of the revision that pods should have.
    fn hash(&self) -> &str {
        self.held.as_ref().map_or(&self.current.hash, |held| &held.hash)
    }

    /// What pods of that revision may say instead; of one that is no longer the template's nobody knows it.
    fn template_generation(&self) -> Option<i64> {
        self.set.template_generation.filter(|_| self.held.is_none())
    }

    /// Whether a pod is of the revision that pods should have.
    fn is_updated(&self, pod: &PodInfo) -> bool {
        let label = |name: &str| pod.affiliation.labels.get(name);
        let generation = self.template_generation().map(|generation| generation.to_string());
        label(HASH_LABEL).is_some_and(|hash| hash == self.hash())
            || (generation.is_some() && label(GENERATION_LABEL) == generation.as_ref())
    }

    fn tell(&mut self, severity: Severity, reason: &'static str, message: String) {
        let told = WorkloadAction::Tell {
            about: self.id.clone(),
            uid: Arc::clone(&self.set.meta.uid),
            severity,
            reason,
            message,
        };
        self.plan.actions.push(Action::Workload(BY, told));
    }
}

fn creation(id: &ObjectId, set: &DaemonSet, what: Blueprint) -> Action {
    let creation =
        Creation { owner: id.clone(), uid: Arc::clone(&set.meta.uid), generation: set.meta.generation, what };
    Action::Workload(BY, WorkloadAction::Create(creation))
}

/// Pods created or deleted by one plan.
const BURST: usize = 250;

/// The label of revisions and pods that holds the hash of the template.
pub(crate) use super::stateful_set::REVISION_LABEL as HASH_LABEL;

/// The label of pods that counts changes of the template; of old, and still looked at.
pub(crate) const GENERATION_LABEL: &str = "pod-template-generation";

const BY: Component = Component::DaemonSet;

#[cfg(test)]
mod tests;

//! StatefulSets: pods with names that stay, each with claims of its own, created, updated and deleted in an order.
//!
//! `pkg/controller/statefulset` of Kubernetes is the reference. A plan makes one step. First the template is kept as a revision; then
//! every number that has no pod gets one, pods beyond the last number go, and pods of another revision make way for the newest.

mod claims;
mod rollback;
mod rolling;
mod scale;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

pub(crate) use self::scale::{POD_INDEX_LABEL, POD_NAME_LABEL};
use super::{
    Action, Plan, StatusChange, WorkloadAction,
    auto_rollback::{
        Verdict,
        steps::{Decision, Next},
    },
    claim::{self, Claiming, Ended},
    conditions,
    create::{Blueprint, Creation},
    history::{self, History},
    offline::{self, Deferred},
    tell::Component,
};
use crate::{
    ObjectKey, times,
    view::{
        ObjectId, Phase, PodInfo, View,
        workload::{CONTROLLER_REVISIONS, Order, STATEFUL_SETS, StatefulSet, StatefulSetStatus},
    },
};

/// What to do about a StatefulSet.
pub fn reconcile(view: &View, key: &ObjectKey, now: Timestamp) -> Plan {
    let Some(set) = view.workloads().stateful_set(key) else { return Plan::nothing() };
    let id = ObjectId { resource: STATEFUL_SETS, key: key.clone() };
    let history = History::of(view, &id, &set.meta, set.selector.as_ref(), BY);
    let revisions = match Revisions::of(view, &id, set, &history) {
        Ok(revisions) => revisions,
        Err(first) => {
            let actions = history.actions.into_iter().chain(first).collect();
            return Plan { actions, again_at: None };
        }
    };
    let decision = rollback::decide(view, &id, set, &history, &revisions, now);
    let mut look = Look::new(view, &id, set, revisions, now);
    look.left = rollback::left(&history);
    look.stable = rollback::stable(&history);
    look.plan.actions.extend(history.actions.iter().cloned());
    if look.follow(decision) == Step::Ends {
        return look.plan;
    }
    let mut status = status::counted(&look);
    if !set.meta.deleting {
        look.step(&mut status);
        let mut live = look.live_revisions();
        live.extend(rollback::needed(set, &history, &look.revisions));
        let truncated = history.truncated(set.revision_history_limit, &live, BY);
        look.plan.actions.extend(truncated);
    }
    status::finish(&mut look, status);
    look.plan
}

/// A pod of the set.
type Pod = (ObjectKey, Arc<PodInfo>);

/// Names of the two revisions that pods of a set may have.
struct Revisions {
    /// What pods had before the last change of the template, until all have the newest.
    current: Arc<str>,
    /// What they are to have: that of the template, unless that was rolled back from.
    update: Arc<str>,
    /// That of the template as it is.
    template: Arc<str>,
    collisions: i64,
}

impl Revisions {
    /// Finds them; or what has to be done first.
    fn of(view: &View, id: &ObjectId, set: &StatefulSet, history: &History) -> Result<Self, Vec<Action>> {
        let collisions = set.status.collision_count.unwrap_or(0);
        let (update, collisions) = match history.keeping(set.template).next_back() {
            Some(newest) => {
                let last = history.revisions.last();
                if last.is_some_and(|last| last.info.template != newest.info.template) && !set.meta.deleting {
                    return Err(vec![newest.renumbered(history.next_number(), BY)]);
                }
                (Arc::clone(newest.name()), collisions)
            }
            None if set.meta.deleting => return Err(Vec::new()),
            None => Self::named(view, id, set, history, collisions)?,
        };
        let of_status = history.revisions.iter().find(|known| **known.name() == *set.status.current_revision);
        let current = of_status.map_or(&update, history::Known::name);
        Ok(Self { current: Arc::clone(current), template: Arc::clone(&update), update, collisions })
    }

    /// Whether another revision is kept than that of the template.
    fn is_held(&self) -> bool {
        self.update != self.template
    }

    /// A revision of the name that this template gets; if there is none, it has to be created first.
    fn named(
        view: &View,
        id: &ObjectId,
        set: &StatefulSet,
        history: &History,
        collisions: i64,
    ) -> Result<(Arc<str>, i64), Vec<Action>> {
        let label = |collisions| set.hash.label(collisions);
        let name = history::name_for(view, &id.key, set.template, label, collisions);
        if name.exists {
            return Ok((name.name.into(), name.collisions));
        }
        let what = Blueprint::Revision {
            name: name.name,
            label: (HASH_LABEL, name.hash),
            number: history.next_number(),
        };
        let mut first = vec![creation(id, set, what)];
        first.extend(status::note_collisions(id, set, name.collisions));
        Err(first)
    }
}

/// One look at a StatefulSet, on its way to a plan.
struct Look<'a> {
    view: &'a View,
    id: &'a ObjectId,
    set: &'a StatefulSet,
    revisions: Revisions,
    /// By their number, those that are wanted.
    replicas: BTreeMap<i64, Pod>,
    /// Those beyond, the highest number first.
    condemned: Vec<(i64, Pod)>,
    offline: offline::Policy,
    /// Revisions that are or were left.
    left: Vec<Arc<str>>,
    /// Revisions that once were stable.
    stable: Vec<Arc<str>>,
    /// What is to be said of rollbacks, when that is something new.
    verdict: Option<Verdict>,
    now: Timestamp,
    plan: Plan,
}

/// Whether there is more to do in this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Goes,
    /// A pod has to change before anything else may.
    Ends,
}

impl<'a> Look<'a> {
    fn new(
        view: &'a View,
        id: &'a ObjectId,
        set: &'a StatefulSet,
        revisions: Revisions,
        now: Timestamp,
    ) -> Self {
        let is_member = |key: &ObjectKey| ordinal(&id.key.name, &key.name).is_some();
        let selector = set.selector.as_ref();
        let claiming = Claiming { selector, includes: &is_member, ended: Ended::Adopted, by: BY };
        let claimed = claim::pods_by(view, id, &set.meta, &claiming);
        let (mut replicas, mut condemned) = (BTreeMap::new(), Vec::new());
        for pod in claimed.pods {
            let Some(ordinal) = ordinal(&id.key.name, &pod.0.name) else { continue };
            if set.has_place_for(ordinal) {
                replicas.insert(ordinal, pod);
            } else {
                condemned.push((ordinal, pod));
            }
        }
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        let plan = Plan { actions: claimed.actions, again_at: None };
        let offline = offline::Policy::of(&set.meta);
        let (left, stable, verdict) = (Vec::new(), Vec::new(), None);
        Self { view, id, set, revisions, replicas, condemned, offline, left, stable, verdict, now, plan }
    }

    /// Does what was decided about a rollback.
    fn follow(&mut self, decision: Decision) -> Step {
        self.plan.actions.extend(decision.actions);
        if let Some(conditions) = decision.conditions {
            let before = &self.set.status.conditions;
            let change = StatusChange::default().with_conditions(before, &conditions, conditions::written);
            self.plan.actions.push(status::change_of(self.id, self.set, change));
        }
        match decision.next {
            Next::Rollout => Step::Goes,
            Next::Wait => Step::Ends,
            Next::Hold(kept, verdict) => {
                self.revisions.update = kept.key.name;
                self.verdict = Some(verdict);
                Step::Goes
            }
        }
    }

    /// Whether a pod is of a revision that was rolled back from and never served.
    fn is_left(&self, pod: &PodInfo) -> bool {
        let revision = revision_of(pod);
        !is_ready(pod)
            && *revision != *self.revisions.update
            && self.left.iter().any(|left| **left == *revision)
    }

    /// One step towards what the set asks for. Counts what it deletes out of the status at once.
    fn step(&mut self, status: &mut StatefulSetStatus) {
        if scale::up(self) == Step::Ends || scale::down(self) == Step::Ends {
            return;
        }
        status.current_replicas = (status.current_replicas - rolling::update(self)).max(0);
    }

    fn is_ordered(&self) -> bool {
        self.set.order == Order::OrderedReady
    }

    fn min_ready(&self) -> Duration {
        times::seconds(self.set.min_ready_seconds)
    }

    /// Whether a pod serves, has done so for long enough, and is to stay.
    fn is_available(&self, pod: &PodInfo) -> bool {
        pod.deletion.is_none() && pod.is_available(self.min_ready(), self.now)
    }

    /// Whether a pod is passed over until its node is seen again.
    fn is_deferred(&self, pod: &PodInfo) -> bool {
        self.offline.defers() && offline::is_deferred(self.view, pod)
    }

    /// The pods that are.
    fn deferred(&self) -> Deferred {
        let mut deferred = Deferred::default();
        if self.offline.defers() {
            for (_, pod) in self.pods() {
                deferred.count(self.view, pod);
            }
        }
        deferred
    }

    fn delete(&mut self, (key, pod): &Pod) {
        let action = claim::delete(self.id, &self.set.meta, BY, key, pod);
        self.plan.actions.push(action);
    }

    fn create(&mut self, what: Blueprint) {
        self.plan.actions.push(creation(self.id, self.set, what));
    }

    /// The pod's name.
    fn pod_key(&self, ordinal: i64) -> ObjectKey {
        let name = format!("{}-{ordinal}", self.id.key.name);
        ObjectKey { namespace: Arc::clone(&self.id.key.namespace), name: name.into() }
    }

    /// The object that keeps a revision.
    fn revision_id(&self, name: &Arc<str>) -> ObjectId {
        let key = ObjectKey { namespace: Arc::clone(&self.id.key.namespace), name: Arc::clone(name) };
        ObjectId { resource: CONTROLLER_REVISIONS, key }
    }

    /// All its pods.
    fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.replicas.values().chain(self.condemned.iter().map(|(_, pod)| pod))
    }

    /// Revisions that the set or a pod of it has.
    fn live_revisions(&self) -> BTreeSet<String> {
        let of_pods = self.pods().map(|(_, pod)| revision_of(pod).to_owned());
        let Revisions { current, update, template, .. } = &self.revisions;
        let own = [current, update, template].map(|name| name.to_string());
        of_pods.chain(own).collect()
    }
}

/// Whether a pod serves.
fn is_ready(pod: &PodInfo) -> bool {
    pod.phase == Phase::Running && pod.is_ready()
}

/// The revision that a pod says that it is of.
fn revision_of(pod: &PodInfo) -> &str {
    pod.affiliation.labels.get(REVISION_LABEL).map_or("", String::as_str)
}

/// The number of a pod of this name, if it is one of the set's.
fn ordinal(set: &str, pod: &str) -> Option<i64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal.to_string() == digits).then(|| ordinal.into())
}

fn creation(id: &ObjectId, set: &StatefulSet, what: Blueprint) -> Action {
    let creation =
        Creation { owner: id.clone(), uid: Arc::clone(&set.meta.uid), generation: set.meta.generation, what };
    Action::Workload(BY, WorkloadAction::Create(creation))
}

/// The label of revisions that holds the hash of what they keep.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The label of pods that names their revision.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

const BY: Component = Component::StatefulSet;

#[cfg(test)]
mod tests;

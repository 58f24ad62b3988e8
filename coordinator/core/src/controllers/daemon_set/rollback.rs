//! Automatic rollback of a DaemonSet: what its revisions and conditions mean to the steps that all kinds share, and whether a rollout gets
//! on. Nodes that are offline are left out of both. As for StatefulSets the condition `Progressing` is there only when somebody asks.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    super::{
        auto_rollback::{
            PROGRESSING, Policy, STABLE, THROUGH, TIMED_OUT, UPDATED, Verdict, deadline, keeps_crashing,
            steps::{self, Decision, Kept, Situation},
        },
        conditions,
        history::{History, Known},
        tell::Component,
    },
    BY, Look, Pod,
    places::{Place, Places},
    revisions,
};
use crate::{
    times,
    view::{
        ObjectId, PodInfo,
        workload::{Condition, DaemonSet, DaemonSetStatus, Placing},
    },
};

/// A revision that is kept although the template is another.
pub(super) struct Held {
    /// What keeps it.
    pub(super) id: ObjectId,
    /// What pods of it say.
    pub(super) hash: String,
    /// Where they run.
    pub(super) placing: Option<Arc<Placing>>,
    /// What is to be said of it.
    pub(super) verdict: Verdict,
}

/// How far a rollout is, in nodes.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Where the newest revision serves.
    served: i64,
    /// Where it does not.
    missing: i64,
    /// Where there is a pod of another revision and none of the newest.
    outdated: i64,
}

impl Held {
    pub(super) fn of(history: &History, kept: &ObjectId, verdict: Verdict) -> Option<Self> {
        let known = history.revisions.iter().find(|known| known.id == *kept)?;
        let (id, hash) = (known.id.clone(), revisions::hash_of(known));
        Some(Self { id, hash, placing: known.info.placing.clone(), verdict })
    }
}

impl Tally {
    fn of(look: &Look<'_>, places: &Places) -> Self {
        let mut tally = Self::default();
        for place in concerned(places) {
            let has = |is_wanted: &dyn Fn(&PodInfo) -> bool| live(place).any(|(_, pod)| is_wanted(pod));
            if has(&|pod| look.is_updated(pod) && look.is_available(pod)) {
                tally.served += 1;
                continue;
            }
            tally.missing += 1;
            tally.outdated += i64::from(!place.pods.is_empty() && !has(&|pod| look.is_updated(pod)));
        }
        tally
    }
}

/// Decides on the step of a rollback that is due.
pub(super) fn decide(look: &Look<'_>, history: &History, places: &Places) -> Decision {
    let set = look.set;
    if set.rolling.is_none() {
        return Decision::default();
    }
    let is_asked = Policy::of(&set.meta) != Policy::Never;
    let newest = look.current.kept.as_ref().map(|(known, number)| Kept { number: *number, ..known.kept() });
    let tally = if is_asked { Tally::of(look, places) } else { Tally::default() };
    // A rollout that is through without any pod that serves proves nothing.
    let through = newest.filter(|_| tally.missing == 0 && tally.served > 0);
    let failed = conditions::get(&set.status.conditions, PROGRESSING);
    let failed = failed.filter(|failed| {
        failed.reason == TIMED_OUT
            && through.is_none()
            && newest.is_some_and(|newest| newest.is_named(&failed.message))
    });
    steps::decide(&Situation {
        by: BY,
        restores: Component::Rollback,
        id: look.id,
        meta: &set.meta,
        newest,
        old: revisions::old(history, set).map(Known::kept).collect(),
        through,
        failure: failed.map(|failed| reason(look, places, tally, &failed.message)),
        conditions: &set.status.conditions,
        now: look.now,
    })
}

/// Those of the old revisions that have to be kept whatever the history's limit.
pub(super) fn needed<'a>(set: &DaemonSet, old: &[&'a Known]) -> Vec<&'a ObjectId> {
    let old: Vec<_> = old.iter().map(|known| known.kept()).collect();
    steps::needed(&set.meta, &old)
}

/// Says whether the rollout gets on, and when it will have missed its deadline if it does not.
pub(super) fn judge(look: &Look<'_>, places: &Places, status: &mut DaemonSetStatus) -> Option<Timestamp> {
    let (set, conditions) = (look.set, &mut status.conditions);
    let is_asked = set.rolling.is_some() && Policy::of(&set.meta) != Policy::Never;
    let Some((newest, _)) = look.current.kept.as_ref().filter(|_| is_asked) else {
        conditions::remove(conditions, PROGRESSING);
        return None;
    };
    let revision = format!("Revision \"{}\"", newest.name());
    if look.held.is_some() {
        let message = format!("{revision} was rolled back from and is not tried again.");
        conditions::say(conditions, PROGRESSING, ("False", TIMED_OUT, &message), look.now);
        return None;
    }
    let tally = Tally::of(look, places);
    let current = conditions::get(conditions, PROGRESSING).cloned();
    let current = current.filter(|current| newest.kept().is_named(&current.message));
    let was_through = current.as_ref().is_some_and(|current| current.reason == THROUGH);
    if tally.missing == 0 {
        let message = format!("{revision} was rolled out.");
        conditions::say(conditions, PROGRESSING, ("True", THROUGH, &message), look.now);
    } else if was_through && tally.outdated == 0 {
        // Pods that are missing later say nothing about the rollout; nodes that come back with what was before go through it.
    } else if let Some(broken) = broken(look, places, newest) {
        conditions::say(conditions, PROGRESSING, ("False", TIMED_OUT, &broken), look.now);
    } else if was_through || current.as_ref().is_none_or(|current| gets_on(current, tally)) {
        // A new time each time: the deadline counts from it.
        conditions::remove(conditions, PROGRESSING);
        let message = format!("{revision} is being rolled out{HAVING}{}", tally.served);
        conditions::set(conditions, PROGRESSING, ("True", UPDATED, &message), look.now);
        return Some(times::after(look.now, deadline(&set.meta)));
    } else if let Some(since) = current.filter(|current| current.reason == UPDATED)?.last_transition_time {
        let at = times::after(since, deadline(&set.meta));
        if look.now < at {
            return Some(at);
        }
        let message = format!("{revision} has timed out progressing{HAVING}{}", tally.served);
        conditions::say(conditions, PROGRESSING, ("False", TIMED_OUT, &message), look.now);
    }
    None
}

/// Whether the newest revision serves on more nodes than ever before in this rollout. A number that merely rises says little where nodes
/// come and go, and with them pods that were through long ago.
fn gets_on(current: &Condition, tally: Tally) -> bool {
    let noted = current.message.rsplit_once(HAVING).and_then(|(_, most)| most.parse::<i64>().ok());
    noted.is_some_and(|most| tally.served > most)
}

/// Why the newest revision is not waited for any longer, if that is so.
fn broken(look: &Look<'_>, places: &Places, newest: &Known) -> Option<String> {
    if Policy::of(&look.set.meta) != Policy::Failures || newest.info.meta.annotation(STABLE).is_some() {
        return None;
    }
    let mut pods = concerned(places).flat_map(live);
    let (key, pod) = pods.find(|(_, pod)| look.is_updated(pod) && keeps_crashing(pod))?;
    let (name, pod, times) = (newest.name(), &key.name, pod.restarts);
    Some(format!("Revision \"{name}\" keeps crashing: pod {pod} was restarted {times} times."))
}

/// What is wrong with the newest revision.
fn reason(look: &Look<'_>, places: &Places, tally: Tally, judged: &str) -> String {
    let broken = concerned(places).flat_map(live).filter(|(_, pod)| look.is_updated(pod) && !pod.is_ready());
    let trouble = broken.filter_map(|(key, pod)| Some((key, pod.trouble.as_ref()?))).next();
    let trouble =
        trouble.map(|(key, trouble)| format!(", pod {} is in {trouble}", key.name)).unwrap_or_default();
    let (judged, wanted) = (judged.trim_end_matches('.'), tally.served + tally.missing);
    format!("{judged}; on {} of {wanted} nodes that are reached it is available{trouble}", tally.served)
}

/// Places that a rollout has to get to: those of nodes that are for the set and not offline.
fn concerned(places: &Places) -> impl Iterator<Item = &Place> {
    places.by_node.values().filter(|place| place.runs() && !place.is_deferred)
}

/// Pods of a place that are not about to go.
fn live(place: &Place) -> impl Iterator<Item = &Pod> {
    place.pods.iter().filter(|(_, pod)| pod.deletion.is_none())
}

/// Precedes, in messages, the number of nodes where the newest revision serves.
const HAVING: &str = "; nodes that have it: ";

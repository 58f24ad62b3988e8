//! A pod for every number that has none, and an end to those beyond the last.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;

use super::{
    super::{Action, WorkloadAction, create::StatefulPod, replica_set::BURST},
    BY, Blueprint, Look, Pod, Step, claims, is_ready,
};
use crate::view::{ObjectId, Phase, PodInfo, Resource, workload::UpdateStrategy};

/// Looks at every number in its order: what lacks a pod gets one, and what has one that ended gets another. Ends at the first pod
/// that has to be waited for, when pods wait for each other.
pub(super) fn up(look: &mut Look<'_>) -> Step {
    let mut created = Created::default();
    let mut outcome = Step::Goes;
    for ordinal in look.set.start..look.set.start.saturating_add(look.set.replicas) {
        let waits = match look.replicas.get(&ordinal).cloned() {
            None => {
                create(look, ordinal, &mut created);
                true
            }
            Some(pod) => !keep(look, ordinal, &pod),
        };
        if created.count >= BURST || (waits && look.is_ordered()) {
            outcome = Step::Ends;
            break;
        }
    }
    created.write(look);
    outcome
}

/// Deletes pods beyond the last number, the highest first; one after the other, when pods wait for each other.
pub(super) fn down(look: &mut Look<'_>) -> Step {
    let condemned = look.condemned.clone();
    for (ordinal, pod) in &condemned {
        claims::hand_over(look, *ordinal, pod);
    }
    // Before any goes, all others have to serve; but one that does not must not stand in its own way.
    let is_missing = |pod: &PodInfo| !look.is_available(pod) && !look.is_deferred(pod);
    let first_unavailable = condemned.iter().rev().find(|(_, (_, pod))| is_missing(pod));
    let first_unavailable = first_unavailable.map(|(ordinal, _)| *ordinal);
    for (ordinal, pod) in condemned.iter().take(BURST) {
        if look.is_deferred(&pod.1) {
            // It ends when its node is seen again, and keeps no other from ending before.
            if pod.1.deletion.is_none() {
                look.delete(pod);
            }
            continue;
        }
        let is_first = first_unavailable == Some(*ordinal);
        if pod.1.deletion.is_none() && (!look.is_ordered() || is_first || look.is_available(&pod.1)) {
            look.delete(pod);
        }
        if look.is_ordered() {
            return Step::Ends;
        }
    }
    Step::Goes
}

/// Pods to create, by their revision.
#[derive(Default)]
struct Created {
    /// How many were looked at.
    count: usize,
    by_revision: BTreeMap<Arc<str>, Vec<StatefulPod>>,
}

impl Created {
    fn write(self, look: &mut Look<'_>) {
        for (revision, pods) in self.by_revision {
            let is_newest = revision == look.revisions.template;
            let template = (!is_newest).then(|| look.revision_id(&revision));
            look.create(Blueprint::StatefulPods { revision, template, pods });
        }
    }
}

fn create(look: &mut Look<'_>, ordinal: i64, created: &mut Created) {
    created.count += 1;
    let key = look.pod_key(ordinal);
    if look.view.pod(&key).is_some() {
        // Somebody else's pod has the name, and nothing here hears of its end.
        look.plan.wake_at(look.now + NAME_TAKEN_RETRY);
        return;
    }
    let Ok(missing) = claims::missing(look, ordinal) else { return };
    claims::keep(look, ordinal);
    let revision =
        if keeps_current(look, ordinal) { &look.revisions.current } else { &look.revisions.update };
    let pods = created.by_revision.entry(Arc::clone(revision)).or_default();
    pods.push(StatefulPod { ordinal, claims: missing });
}

/// Whether a pod of this number is to be of the revision before the last change.
fn keeps_current(look: &Look<'_>, ordinal: i64) -> bool {
    let UpdateStrategy::RollingUpdate { partition, .. } = look.set.update else { return false };
    let kept = partition.unwrap_or(look.set.status.current_replicas);
    ordinal < look.set.start.saturating_add(kept)
}

/// Looks after a pod that is there. False when those after it wait for it.
fn keep(look: &mut Look<'_>, ordinal: i64, pod: &Pod) -> bool {
    let (key, info) = pod;
    if info.phase.finished() {
        let meta = &look.set.meta;
        match look.view.pod_failures().held_until(&meta.uid, meta.generation, look.now) {
            _ if info.deletion.is_some() => {}
            // The next one would fail as soon.
            Some(due) => look.plan.wake_at(due),
            None => look.delete(pod),
        }
        return false;
    }
    if info.phase == Phase::Pending {
        claims::create_missing(look, ordinal);
    }
    if look.is_deferred(info) {
        return true;
    }
    if look.is_ordered() {
        if info.deletion.is_none() && look.is_left(info) {
            // In order nobody would get past it to where old pods are deleted.
            look.delete(pod);
            return false;
        }
        if info.deletion.is_some() || !is_ready(info) {
            return false;
        }
        if !look.is_available(info) {
            return false;
        }
    }
    claims::keep(look, ordinal);
    let name = &*key.name;
    if info.affiliation.labels.get(POD_NAME_LABEL).is_none_or(|label| label != name) {
        let labels = json!({ POD_NAME_LABEL: name, POD_INDEX_LABEL: ordinal.to_string() });
        let patch = WorkloadAction::Patch {
            id: ObjectId { resource: Resource::core("pods"), key: key.clone() },
            uid: info.uid.as_str().into(),
            subresource: "",
            patch: json!({ "metadata": { "labels": labels } }),
        };
        look.plan.actions.push(Action::Workload(BY, patch));
    }
    true
}

/// The label that selects one pod.
pub(crate) const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// The label that holds a pod's number.
pub(crate) const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// How often to look whether a pod's name is free again.
const NAME_TAKEN_RETRY: Duration = Duration::from_secs(10);

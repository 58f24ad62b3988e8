//! Which revision pods should have, and which old ones are kept.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;

use super::{
    super::{
        Action, Plan, WorkloadAction,
        create::Blueprint,
        history::{self, History, Known},
    },
    BY, HASH_LABEL, Look, creation,
    places::Places,
    rollback, status,
};
use crate::view::{ObjectId, Resource, View, workload::DaemonSet};

/// The revision of the template as it is.
pub(super) struct Current {
    /// What pods of it say.
    pub(super) hash: String,
    pub(super) collisions: i64,
    /// What keeps it, and its number there or what that is about to be. `None` while that is somebody else's.
    pub(super) kept: Option<(Known, i64)>,
}

/// Finds it, and adds to the plan what has to be done about it. `None` when it has to be created first.
pub(super) fn current(
    view: &View,
    id: &ObjectId,
    set: &DaemonSet,
    history: &History,
    places: &Places,
    plan: &mut Plan,
) -> Option<Current> {
    let collisions = set.status.collision_count.unwrap_or(0);
    let number = old(history, set).map(|known| known.info.number).max().unwrap_or(0) + 1;
    // The last is the one with the highest number.
    let mut keeping = history.keeping(set.template).rev();
    let Some(kept) = keeping.next() else {
        let label = |collisions| set.template.hash_label(collisions);
        let found = history::name_for(view, &id.key, set.template, label, collisions);
        if found.exists {
            return Some(Current { hash: found.hash, collisions: found.collisions, kept: None });
        }
        let label = (HASH_LABEL, found.hash);
        let what = Blueprint::Revision { name: found.name, label, number };
        plan.actions.push(creation(id, set, what));
        plan.actions.extend(status::note_collisions(id, set, found.collisions));
        return None;
    };
    let hash = hash_of(kept);
    for duplicate in keeping {
        plan.actions.extend(relabel(places, &hash_of(duplicate), &hash));
        plan.actions.push(duplicate.discarded(BY));
    }
    if !kept.info.meta.labels.contains_key(HASH_LABEL) {
        let patch = json!({ "metadata": { "labels": { HASH_LABEL: hash } } });
        let (id, uid) = (kept.id.clone(), Arc::clone(&kept.info.meta.uid));
        let patch = WorkloadAction::Patch { id, uid, subresource: "", patch };
        plan.actions.push(Action::Workload(BY, patch));
    }
    if kept.info.number < number {
        plan.actions.push(kept.renumbered(number, BY));
    }
    let kept = Some((kept.clone(), kept.info.number.max(number)));
    Some(Current { hash, collisions, kept })
}

/// Old revisions beyond the limit, the oldest first. One that a pod has is passed over, and one that a rollback needs.
pub(super) fn superfluous(look: &Look<'_>, history: &History, places: &Places) -> Vec<Action> {
    let set = look.set;
    let live: BTreeSet<&str> = places
        .pods()
        .filter_map(|(_, pod)| pod.affiliation.labels.get(HASH_LABEL))
        .map(String::as_str)
        .chain([&*look.current.hash, look.hash()])
        .collect();
    let old: Vec<&Known> = old(history, set).collect();
    let needed = rollback::needed(set, &old);
    let limit = usize::try_from(set.revision_history_limit).unwrap_or(0);
    let excess = old.len().saturating_sub(limit);
    let is_used = |known: &Known| live.contains(&*hash_of(known)) || needed.contains(&&known.id);
    let unused = old.into_iter().filter(|known| !is_used(known));
    unused.take(excess).map(|known| known.discarded(BY)).collect()
}

/// Revisions of other templates, the oldest first.
pub(super) fn old<'a>(history: &'a History, set: &DaemonSet) -> impl Iterator<Item = &'a Known> {
    let template = set.template;
    history.revisions.iter().filter(move |known| known.info.template != Some(template))
}

/// What pods of a revision say. One without a label was made by hand; its name tells it apart as well.
pub(super) fn hash_of(known: &Known) -> String {
    known.info.meta.labels.get(HASH_LABEL).cloned().unwrap_or_else(|| known.name().to_string())
}

/// Lets pods of one revision say that they are of another that is the same.
fn relabel(places: &Places, from: &str, to: &str) -> Vec<Action> {
    let of_old = places
        .pods()
        .filter(|(_, pod)| pod.affiliation.labels.get(HASH_LABEL).is_some_and(|hash| hash == from));
    of_old
        .map(|(key, pod)| {
            let patch = WorkloadAction::Patch {
                id: ObjectId { resource: Resource::core("pods"), key: key.clone() },
                uid: pod.uid.as_str().into(),
                subresource: "",
                patch: json!({ "metadata": { "labels": { HASH_LABEL: to } } }),
            };
            Action::Workload(BY, patch)
        })
        .collect()
}

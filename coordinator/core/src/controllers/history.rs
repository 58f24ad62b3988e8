//! The history of a StatefulSet or DaemonSet: its ControllerRevisions, each of which keeps a pod template.

use std::{collections::BTreeSet, sync::Arc};

use dunlin_api::selector::LabelSelector;
use serde_json::json;

use super::{Action, WorkloadAction, auto_rollback::steps::Kept, tell::Component};
use crate::{
    ObjectKey,
    view::{
        ObjectId, View,
        workload::{CONTROLLER_REVISIONS, Meta, Revision, TemplateDigest, Workload},
    },
};

/// One revision.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: ObjectId,
    pub(super) info: Arc<Revision>,
}

/// The revisions of a workload, the oldest first.
#[derive(Debug)]
pub(super) struct History {
    pub(super) revisions: Vec<Known>,
    /// Adoptions.
    pub(super) actions: Vec<Action>,
}

/// The name that a new revision gets.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) hash: String,
    /// How many other templates of this name were met on the way.
    pub(super) collisions: i64,
    /// Whether a revision of this name keeps this very template already, whosever it is.
    pub(super) exists: bool,
}

impl History {
    /// Finds the revisions of a workload, those that nobody controls among them.
    pub(super) fn of(
        view: &View,
        id: &ObjectId,
        meta: &Meta,
        selector: Option<&LabelSelector>,
        by: Component,
    ) -> Self {
        let mut history = Self { revisions: Vec::new(), actions: Vec::new() };
        for (revision_id, workload) in view.workloads().of_kind(&id.key.namespace, CONTROLLER_REVISIONS) {
            let Workload::Revision(info) = workload else { continue };
            let selected = selector.is_some_and(|selector| selector.matches_labels(&info.meta.labels));
            let is_orphan = info.meta.controller.is_none();
            if !selected || !(is_orphan || info.meta.is_controlled_by(&meta.uid)) {
                continue;
            }
            if is_orphan {
                if meta.deleting || info.meta.deleting {
                    continue;
                }
                let adoption = WorkloadAction::Adopt {
                    id: revision_id.clone(),
                    uid: Arc::clone(&info.meta.uid),
                    owner: id.clone(),
                    owner_uid: Arc::clone(&meta.uid),
                };
                history.actions.push(Action::Workload(by, adoption));
            }
            history.revisions.push(Known { id: revision_id.clone(), info: Arc::clone(info) });
        }
        history.revisions.sort_by(|one, other| one.order().cmp(&other.order()));
        history
    }

    /// The number that the next revision gets.
    pub(super) fn next_number(&self) -> i64 {
        self.revisions.last().map_or(1, |last| last.info.number + 1)
    }

    /// Those that keep this template.
    pub(super) fn keeping(&self, template: TemplateDigest) -> impl DoubleEndedIterator<Item = &Known> {
        self.revisions.iter().filter(move |known| known.info.template == Some(template))
    }

    /// Deletes the oldest revisions that nothing rests on, beyond `limit`. A negative limit keeps all.
    pub(super) fn truncated(&self, limit: i64, live: &BTreeSet<String>, by: Component) -> Vec<Action> {
        let Ok(limit) = usize::try_from(limit) else { return Vec::new() };
        let old: Vec<_> = self.revisions.iter().filter(|known| !live.contains(&*known.id.key.name)).collect();
        let excess = old.len().saturating_sub(limit);
        old.into_iter().take(excess).map(|known| known.discarded(by)).collect()
    }
}

impl Known {
    /// The order in a history.
    fn order(&self) -> (i64, jiff::Timestamp, &Arc<str>) {
        (self.info.number, self.info.meta.created, &self.id.key.name)
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.id.key.name
    }

    /// As automatic rollback looks at it.
    pub(super) fn kept(&self) -> Kept<'_> {
        Kept { id: &self.id, meta: &self.info.meta, number: self.info.number }
    }

    /// Gives it a number: one of an earlier revision that is current again.
    pub(super) fn renumbered(&self, number: i64, by: Component) -> Action {
        let patch = json!({ "revision": number });
        let (id, uid) = (self.id.clone(), Arc::clone(&self.info.meta.uid));
        Action::Workload(by, WorkloadAction::Patch { id, uid, subresource: "", patch })
    }

    pub(super) fn discarded(&self, by: Component) -> Action {
        let (id, uid) = (self.id.clone(), Arc::clone(&self.info.meta.uid));
        Action::Workload(by, WorkloadAction::Discard { id, uid })
    }
}

/// Finds a name for a revision of `template`: that of its owner and a hash that no other template has in this namespace.
pub(super) fn name_for(
    view: &View,
    owner: &ObjectKey,
    template: TemplateDigest,
    hash: impl Fn(i64) -> String,
    known_collisions: i64,
) -> Name {
    let mut collisions = known_collisions;
    loop {
        let hash = hash(collisions);
        let name = format!("{}-{hash}", owner.name);
        let key = ObjectKey { namespace: Arc::clone(&owner.namespace), name: name.as_str().into() };
        match view.workloads().revision(&key) {
            // Each turn meets another of the namespace's revisions.
            Some(other) if other.template != Some(template) => collisions += 1,
            found => return Name { name, hash, collisions, exists: found.is_some() },
        }
    }
}

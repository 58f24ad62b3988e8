//! What a node alone decides for pods of one template, kept per node until something about the node changes.

use std::sync::{Arc, Weak};

use super::{
    affinity, filter,
    profile::Profile,
    refusal::Refusal,
    score,
    snapshot::{Node, Slot, Snapshot},
    taints,
};
use crate::view::{ObjectKey, PodTemplate};

/// What a node alone decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    /// Whether it takes the pod.
    pub(crate) refusal: Refusal,
    /// Weighed scores that do not depend on other nodes.
    pub(crate) resources: i64,
    /// Number of taints that would rather keep the pod away.
    pub(crate) taints: i64,
    /// Weight of the preferences that it meets.
    pub(crate) preferred: i64,
}

/// Verdicts on all nodes for the templates that were asked for of late.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    tables: Vec<Table>,
    clock: u64,
}

/// Verdicts on all nodes for one template.
#[derive(Debug)]
pub(crate) struct Table {
    /// Keeps the template's address from being used again.
    template: Weak<PodTemplate>,
    used: u64,
    entries: Vec<(u64, Verdict)>,
}

impl Verdicts {
    /// Takes out the table of a template.
    pub(crate) fn take(&mut self, template: &Arc<PodTemplate>) -> Table {
        let known =
            self.tables.iter().position(|table| std::ptr::eq(table.template.as_ptr(), Arc::as_ptr(template)));
        match known {
            Some(place) => self.tables.swap_remove(place),
            None => Table { template: Arc::downgrade(template), used: 0, entries: Vec::new() },
        }
    }

    /// Puts it back.
    pub(crate) fn put(&mut self, mut table: Table) {
        if self.tables.len() >= TABLES_MAX {
            let oldest = self.tables.iter().enumerate().min_by_key(|(_, table)| table.used);
            if let Some((oldest, _)) = oldest {
                self.tables.swap_remove(oldest);
            }
        }
        self.clock += 1;
        table.used = self.clock;
        self.tables.push(table);
    }
}

impl Table {
    /// The verdict on a node, found out anew if the node changed.
    pub(crate) fn verdict(
        &mut self,
        template: &PodTemplate,
        profile: &Profile,
        snapshot: &Snapshot,
        slot: Slot,
    ) -> Verdict {
        if self.entries.len() <= slot.index() {
            self.entries.resize(slot.index() + 1, (0, Verdict::default()));
        }
        let changed = snapshot.mark(slot).changed;
        let (judged, verdict) = &mut self.entries[slot.index()];
        if *judged != changed {
            *judged = changed;
            *verdict = judge(template, profile, snapshot.node(slot), None);
        }
        *verdict
    }
}

/// What a node alone decides for a pod; `pod` is left out among those that the node is kept for.
pub(crate) fn judge(
    template: &PodTemplate,
    profile: &Profile,
    node: &Node,
    pod: Option<&ObjectKey>,
) -> Verdict {
    let Some(info) = &node.info else { return Verdict { refusal: Refusal::HOPELESS, ..Verdict::default() } };
    let object = filter::check_object(template, info);
    if !object.is_none() {
        return Verdict { refusal: object, ..Verdict::default() };
    }
    let kept_for = node.kept_for(template.priority, pod);
    let refusal = if kept_for.is_empty() {
        filter::check_use(template, info, &node.usage)
    } else {
        let mut usage = node.usage.clone();
        kept_for.iter().for_each(|nominee| usage.add(&nominee.pod.template));
        filter::check_use(template, info, &usage)
    };
    if !refusal.is_none() {
        return Verdict { refusal, ..Verdict::default() };
    }
    Verdict {
        refusal,
        resources: profile.weights.fit * score::fit(template, profile.resources, info, &node.usage)
            + profile.weights.balance * score::balance(template, info, &node.usage),
        taints: taints::intolerable(template, info),
        preferred: affinity::preference(template, info),
    }
}

/// Templates whose verdicts are kept; each takes 40 bytes per node.
const TABLES_MAX: usize = 32;

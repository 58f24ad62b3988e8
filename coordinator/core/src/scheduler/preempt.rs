//! Preemption: which pods of lower priority have to go from which node so that a pod fits there.
//!
//! As Kubernetes' DefaultPreemption: on each node that could fit the pod, all pods of lower priority are thought away, and then as many
//! as possible are kept, the most important first, those first whose loss would break a disruption budget. Among the nodes the one is
//! taken whose loss is least.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    sync::{Arc, Weak},
};

use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;

use super::{
    explain::Remedies,
    far::{Change, Incoming},
    filter,
    refusal::Refusal,
    snapshot::{Node, Resident, Slot, Snapshot},
};
use crate::{
    budget::Budget,
    view::{NodeInfo, ObjectKey, PodInfo, PodTemplate, Usage, View},
};

/// Pods that go for another's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// The node on which they are; it is kept for the pod.
    pub node: NodeName,
    /// The pods, the most important first.
    pub victims: Vec<Victim>,
    /// Pods of lower priority that the node was kept for, and is not any more.
    pub displaced: Vec<ObjectKey>,
}

/// A pod that goes for another's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its key.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: PodUid,
    /// Whether it is being deleted already.
    pub deleting: bool,
}

/// Why a pod may not have others go for its sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ineligible {
    /// `preemptionPolicy: Never`.
    Never,
    /// Pods are going for its sake already.
    VictimsTerminating,
}

/// What one node would lose.
#[derive(Debug)]
pub(crate) struct Loss {
    violations: usize,
    highest: i32,
    sum: i64,
    /// When the first of the most important ones started.
    started: Option<Timestamp>,
    victims: Vec<Victim>,
}

/// What nodes would lose for one template, kept per node until something about the node or a budget changes.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    template: Weak<PodTemplate>,
    budgets: u64,
    /// By slot.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// When the node had changed last.
    changed: u64,
    loss: Result<Loss, Refusal>,
}

/// Whether others may go for the pod's sake.
pub(crate) fn eligible(
    view: &View,
    pod: &PodInfo,
    unresolvable: impl Fn(Slot) -> bool,
) -> Result<(), Ineligible> {
    if !pod.template.preempts {
        return Err(Ineligible::Never);
    }
    let snapshot = view.snapshot();
    let Some(slot) = pod.nominated.as_ref().and_then(|node| snapshot.slot(node)) else { return Ok(()) };
    let going = |resident: &Resident| {
        resident.pod.template.priority < pod.template.priority
            && resident.pod.deletion.is_some()
            && resident.pod.preempted
    };
    if !unresolvable(slot) && snapshot.node(slot).pods.iter().any(going) {
        return Err(Ineligible::VictimsTerminating);
    }
    Ok(())
}

/// Looks for pods that could go. `nodes` are those that could fit the pod then, in the order in which they were looked at.
///
/// # Errors
/// For each reason the number of nodes on which it does not help.
pub(crate) fn find(
    view: &View,
    losses: &mut Losses,
    incoming: &Incoming<'_>,
    nodes: &[Slot],
) -> Result<Preemption, Remedies> {
    let snapshot = view.snapshot();
    let enough = candidates_wanted(snapshot.ordered().len());
    // What others do far away is not kept track of, so that it is found out each time.
    let keeps = incoming.class.is_local() && incoming.pod.nominated.is_none();
    let template = &incoming.pod.template;
    let budgets = view.budgets_changed();
    let mut table = if keeps { losses.take(template, budgets) } else { Table::new(template, budgets) };
    let mut candidates: Vec<Slot> = Vec::with_capacity(enough);
    let mut remedies = Remedies::default();
    for slot in nodes {
        match table.loss(snapshot, *slot, || Trial::new(view, incoming, *slot).run()) {
            Ok(_) => candidates.push(*slot),
            Err(refusal) => remedies.count(*refusal, 1),
        }
        if candidates.len() >= enough {
            break;
        }
    }
    let preemption = table.least(snapshot, &candidates).map(|(slot, loss)| {
        let node = snapshot.node(slot);
        let lower = node.nominated.iter().filter(|nominee| {
            nominee.pod.template.priority < template.priority && nominee.key != *incoming.key
        });
        Preemption {
            node: node.name.clone(),
            victims: loss.victims.clone(),
            displaced: lower.map(|nominee| nominee.key.clone()).collect(),
        }
    });
    if keeps {
        losses.put(table);
    }
    preemption.ok_or(remedies)
}

impl Loss {
    /// Which is less, in Kubernetes' order of criteria.
    fn compare(&self, other: &Self) -> Ordering {
        let key = |loss: &Self| (loss.violations, loss.highest, loss.sum, loss.victims.len());
        // Of equals, the pods that run for a shorter time go.
        key(self).cmp(&key(other)).then_with(|| later(other.started, self.started))
    }
}

impl Losses {
    fn take(&mut self, template: &Arc<PodTemplate>, budgets: u64) -> Table {
        let same = |table: &Table| std::ptr::eq(table.template.as_ptr(), Arc::as_ptr(template));
        let known = self.tables.iter().position(same).map(|place| self.tables.remove(place));
        known.filter(|table| table.budgets == budgets).unwrap_or_else(|| Table::new(template, budgets))
    }

    fn put(&mut self, table: Table) {
        if self.tables.len() >= TABLES_MAX {
            self.tables.remove(0);
        }
        self.tables.push(table);
    }
}

impl Table {
    fn new(template: &Arc<PodTemplate>, budgets: u64) -> Self {
        Self { template: Arc::downgrade(template), budgets, entries: Vec::new() }
    }

    /// What a node would lose, found out anew if the node changed.
    fn loss(
        &mut self,
        snapshot: &Snapshot,
        slot: Slot,
        find_out: impl FnOnce() -> Result<Loss, Refusal>,
    ) -> &Result<Loss, Refusal> {
        if self.entries.len() <= slot.index() {
            self.entries.resize_with(slot.index() + 1, Entry::default);
        }
        let changed = snapshot.mark(slot).changed;
        let entry = &mut self.entries[slot.index()];
        if entry.changed != changed {
            *entry = Entry { changed, loss: find_out() };
        }
        &entry.loss
    }

    /// The node that would lose least; of equals the first by name.
    fn least(&self, snapshot: &Snapshot, candidates: &[Slot]) -> Option<(Slot, &Loss)> {
        let known = |slot: &Slot| Some((*slot, self.entries.get(slot.index())?.loss.as_ref().ok()?));
        candidates.iter().filter_map(known).min_by(|(slot, loss), (other, other_loss)| {
            let rank = |slot: &Slot| snapshot.mark(*slot).rank;
            loss.compare(other_loss).then_with(|| rank(slot).cmp(&rank(other)))
        })
    }
}

impl Default for Entry {
    /// No node's: changes are counted from one.
    fn default() -> Self {
        Self { changed: 0, loss: Err(Refusal::HOPELESS) }
    }
}

/// Pods of one node thought away.
struct Trial<'a> {
    view: &'a View,
    incoming: &'a Incoming<'a>,
    slot: Slot,
    node: &'a Node,
    usage: Usage,
    /// By place in the node's list.
    gone: Vec<usize>,
}

impl<'a> Trial<'a> {
    fn new(view: &'a View, incoming: &'a Incoming<'a>, slot: Slot) -> Self {
        let node = view.snapshot().node(slot);
        Self { view, incoming, slot, node, usage: node.usage.clone(), gone: Vec::new() }
    }

    fn run(mut self) -> Result<Loss, Refusal> {
        let priority = self.incoming.pod.template.priority;
        let lower = self.node.pods.iter().enumerate();
        let mut lower: Vec<usize> = lower
            .filter(|(_, resident)| resident.pod.template.priority < priority)
            .map(|(place, _)| place)
            .collect();
        if lower.is_empty() {
            return Err(Refusal::NO_VICTIMS);
        }
        lower.iter().for_each(|place| self.take_away(*place));
        let refusal = self.check();
        if !refusal.is_none() {
            return Err(refusal);
        }
        lower.sort_by(|place, other| importance(&self.node.pods[*place], &self.node.pods[*other]));
        let (violating, harmless) = self.split_by_budgets(&lower);
        let mut violations = 0;
        for place in violating {
            if !self.keep(place) {
                violations += 1;
            }
        }
        for place in harmless {
            self.keep(place);
        }
        Ok(self.loss(violations))
    }

    fn take_away(&mut self, place: usize) {
        self.usage.remove(&self.node.pods[place].pod.template);
        self.gone.push(place);
    }

    /// Puts a pod back if the other one fits all the same.
    fn keep(&mut self, place: usize) -> bool {
        let template = &self.node.pods[place].pod.template;
        self.usage.add(template);
        let Some(at) = self.gone.iter().position(|gone| *gone == place) else { return true };
        self.gone.swap_remove(at);
        if self.check().is_none() {
            return true;
        }
        self.usage.remove(template);
        self.gone.push(place);
        false
    }

    fn check(&self) -> Refusal {
        let Some(info) = &self.node.info else { return Refusal::HOPELESS };
        let Incoming { key, pod, .. } = self.incoming;
        let gone: Vec<Change<'_>> =
            self.gone.iter().map(|place| Change::goes(&self.node.pods[*place])).collect();
        let kept_for = self.node.kept_for(pod.template.priority, Some(*key));
        if !kept_for.is_empty() {
            let mut usage = self.usage.clone();
            kept_for.iter().for_each(|nominee| usage.add(&nominee.pod.template));
            let comes = kept_for.iter().map(|nominee| Change::comes(nominee));
            let changes: Vec<_> = gone.iter().copied().chain(comes).collect();
            let refusal = self.check_with(info, &usage, &changes);
            if !refusal.is_none() {
                return refusal;
            }
        }
        self.check_with(info, &self.usage, &gone)
    }

    fn check_with(&self, info: &NodeInfo, usage: &Usage, changes: &[Change<'_>]) -> Refusal {
        let refusal = filter::check(&self.incoming.pod.template, info, usage);
        if !refusal.is_none() {
            return refusal;
        }
        self.incoming.check(self.view.snapshot(), self.slot, changes)
    }

    /// Which of the pods break a budget when they go after those before them, and which do not.
    fn split_by_budgets(&self, pods: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let mut allowed: HashMap<&ObjectKey, i64> = HashMap::new();
        let mut breaks = |place: &usize| {
            let Resident { key, pod, .. } = &self.node.pods[*place];
            let labels = &pod.affiliation.labels;
            let guards = |budget: &Budget| {
                let selector = budget.selector.as_ref().filter(|selector| !selector.is_empty());
                selector.is_some_and(|selector| selector.matches_labels(labels))
                    && !budget.status.disrupted_pods.contains_key(&*key.name)
            };
            let mut broken = false;
            if labels.is_empty() {
                return false;
            }
            for (key, budget) in self.view.budgets_of(&key.namespace).filter(|(_, budget)| guards(budget)) {
                let left = allowed.entry(key).or_insert(budget.status.disruptions_allowed);
                *left -= 1;
                broken |= *left < 0;
            }
            broken
        };
        pods.iter().partition(|place| breaks(place))
    }

    fn loss(mut self, violations: usize) -> Loss {
        self.gone.sort_by(|place, other| importance(&self.node.pods[*place], &self.node.pods[*other]));
        let pods: Vec<&Resident> = self.gone.iter().map(|place| &self.node.pods[*place]).collect();
        let highest = pods.first().map_or(i32::MIN, |resident| resident.pod.template.priority);
        let sum = pods.iter().map(|one| i64::from(one.pod.template.priority) + PRIORITY_SHIFT).sum();
        let first = pods.iter().filter(|one| one.pod.template.priority == highest);
        let started = first.map(|one| one.pod.started).min_by(|one, other| later(*one, *other)).flatten();
        let victim = |one: &&Resident| Victim {
            key: one.key.clone(),
            uid: one.pod.uid.clone(),
            deleting: one.pod.deletion.is_some(),
        };
        Loss { violations, highest, sum, started, victims: pods.iter().map(victim).collect() }
    }
}

/// The more important pod first: by priority, then the one that has run for longer.
fn importance(one: &Resident, other: &Resident) -> Ordering {
    Reverse(one.pod.template.priority)
        .cmp(&Reverse(other.pod.template.priority))
        .then_with(|| later(one.pod.started, other.pod.started))
        .then_with(|| one.key.cmp(&other.key))
}

/// The later start after the earlier one; what has not started yet starts last.
fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Ordering {
    (one.is_none(), one).cmp(&(other.is_none(), other))
}

/// Nodes among which to choose: a tenth, but not fewer than a hundred, as in Kubernetes.
fn candidates_wanted(nodes: usize) -> usize {
    (nodes / 10).max(CANDIDATES_MIN)
}

/// The fewest nodes among which to choose.
const CANDIDATES_MIN: usize = 100;

/// Added to every priority, so that a pod of a priority below zero does not make up for another.
const PRIORITY_SHIFT: i64 = 1 << 31;

/// Templates for which losses are kept.
const TABLES_MAX: usize = 8;

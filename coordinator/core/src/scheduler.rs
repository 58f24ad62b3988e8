//! The scheduler: which node a pod goes to, or how many nodes each filter refused and who would have to go.
//!
//! [`place`] is a function of the view and a pod; what it keeps in the view beside is derived from it and only saves time. Nodes are
//! filtered in Kubernetes' order, the first filter that refuses a node names the reason; those left are scored with the weights of the
//! pod's profile. Equal scores go to the node with fewer pods, then by name, where Kubernetes draws lots. On a large fleet the search
//! ends when enough nodes fit, and the next one goes on from there. The order of pods and when to try one again is the [`Queue`]'s.

mod affinity;
mod bound;
mod decision;
mod eligibility;
mod explain;
mod far;
mod filter;
mod images;
mod own_images;
mod preempt;
mod profile;
mod queue;
mod refusal;
mod score;
pub(crate) mod snapshot;
mod taints;
mod verdicts;
mod volumes;

use dunlin_link::NodeName;

pub use bound::{REASON_NODE_AFFINITY, is_to_be_checked, may_be_on, refused_status};
pub use decision::{Decision, NodeDecision, Outcome, PluginScore, explain};
pub use explain::{GATED_MESSAGE, Reason, Unschedulable};
pub use own_images::PLATFORMS_PREFIX;
pub use preempt::{Preemption, Victim};
pub use queue::{Hint, Queue};
pub use snapshot::Snapshot;

pub(crate) use eligibility::{Eligibility, eligibility, target};
pub(crate) use preempt::Losses;

use self::{
    explain::Remedies,
    far::{Change, Containers, Incoming},
    own_images::Architectures,
    profile::Profile,
    refusal::Refusal,
    score::Fitting,
    snapshot::Slot,
    verdicts::{Table, Verdict, judge},
    volumes::Volumes,
};
use crate::{
    node_status::{CONTAINERS_UNAVAILABLE, NETWORK_UNAVAILABLE},
    view::{NodeInfo, ObjectKey, PodInfo, PodTemplate, PodTerm, View},
};

/// `spec.schedulerName` of pods that name none.
pub const NAME: &str = "default-scheduler";

/// Reason of the condition `PodScheduled` while no node fits.
pub const REASON_UNSCHEDULABLE: &str = "Unschedulable";

/// The label of nodes that says what they are.
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// Reason of the condition `PodScheduled` while scheduling gates hold a pod.
pub const REASON_GATED: &str = "SchedulingGated";

/// Reason of the condition `DisruptionTarget` of a pod that goes for another's sake.
pub const REASON_PREEMPTED: &str = "PreemptionByScheduler";

/// Whether pods with this `spec.schedulerName` are placed here.
pub fn is_ours(scheduler_name: &str) -> bool {
    profile::of(scheduler_name).is_some()
}

/// Whether a pod's node selector and required node affinity admit a node, whatever else keeps the pod off it now.
pub(crate) fn is_admitted(template: &PodTemplate, node: &NodeInfo) -> bool {
    affinity::required_matches(template, node)
}

/// Whether a node by itself could take a pod that waits.
pub(crate) fn may_take(view: &View, key: &ObjectKey, node: &NodeName) -> bool {
    let (Some(pod), Some(slot)) = (view.pod(key), view.snapshot().slot(node)) else { return false };
    judge(&pod.template, &profile::DEFAULT, view.snapshot().node(slot), Some(key)).refusal.is_none()
}

/// Whether a placed pod is one that a waiting pod wants to be near, or counts when it is spread.
pub(crate) fn may_be_company(view: &View, waiting: &ObjectKey, placed: &ObjectKey) -> bool {
    let (Some(pod), Some(placed_pod)) = (view.pod(waiting), view.pod(placed)) else { return false };
    let labels = &pod.affiliation.labels;
    let of_namespace = view.namespace(&placed.namespace).map(|namespace| &namespace.labels);
    let means =
        |term: &PodTerm| term.matches(&placed.namespace, of_namespace, &placed_pod.affiliation.labels);
    let affinity = pod.template.pod_affinity.as_ref();
    let mut near = affinity.into_iter().flat_map(|affinity| &affinity.required);
    near.any(|term| means(&term.resolve(&waiting.namespace, labels)))
        || pod.template.spread.iter().any(|spread| means(&spread.resolve(&waiting.namespace, labels)))
}

/// Chooses a node for a pod that has none.
///
/// # Errors
/// When no node fits: the number of nodes for each reason, and the pods that are to go for this one's sake, if that helps.
pub fn place(view: &mut View, key: &ObjectKey, pod: &PodInfo) -> Result<NodeName, Box<Unschedulable>> {
    let nodes = view.snapshot_mut().order().len();
    let volumes = match Volumes::of(view, key, pod) {
        Ok(volumes) => volumes,
        Err(message) => return Err(Box::new(Unschedulable::prerequisite(nodes, message))),
    };
    let class = view.snapshot_mut().class(key, pod);
    let images = view.snapshot().own_images.of(&pod.template);
    let kind = containers(view.snapshot(), pod, &images);
    let incoming = Incoming { key, pod, class: &class, volumes: &volumes, kind, images: &images };
    let profile = profile::of(&pod.template.scheduler_name).unwrap_or(&profile::DEFAULT);
    let mut table = view.snapshot_mut().verdicts.take(&pod.template);
    let alone = incoming.concerns_nothing_beyond_a_node(view.snapshot());
    let mut search = Search { view, incoming, profile, alone, table: &mut table };
    let found = match search.kept_node() {
        Some(slot) => Ok(slot),
        None => search.run(),
    };
    let snapshot = view.snapshot_mut();
    snapshot.verdicts.put(table);
    match found {
        Ok(slot) => Ok(snapshot.node(slot).name.clone()),
        Err(refused) => Err(Box::new(unschedulable(view, &incoming, nodes, &refused))),
    }
}

/// A search for one pod.
struct Search<'a> {
    view: &'a mut View,
    incoming: Incoming<'a>,
    profile: &'a Profile,
    /// Whether each node by itself decides whether the pod fits there.
    alone: bool,
    table: &'a mut Table,
}

/// Nodes that were looked at in vain.
#[derive(Debug, Default)]
struct Refused {
    remedies: Remedies,
    /// Those that could fit the pod if others went away.
    resolvable: Vec<Slot>,
}

impl Search<'_> {
    /// The node that is kept for the pod, if it fits there by now: then no other is looked at.
    fn kept_node(&mut self) -> Option<Slot> {
        let node = self.incoming.pod.nominated.as_ref()?;
        let slot = self.view.snapshot().slot(node)?;
        self.judge(slot).refusal.is_none().then_some(slot)
    }

    fn run(&mut self) -> Result<Slot, Refused> {
        if let Some(names) = &self.incoming.class.named {
            let snapshot = self.view.snapshot();
            let named: Vec<Slot> = names.iter().filter_map(|name| snapshot.slot(name)).collect();
            let others = snapshot.ordered().len() - named.len();
            let mut refused = Refused::default();
            refused.remedies.count(Refusal::NOT_NAMED, others);
            return self.best_of(&named, named.len(), refused).map(|(slot, _)| slot);
        }
        let order = self.view.snapshot_mut().order();
        let (slot, looked_at) = self.best_of(&order, nodes_wanted(order.len()), Refused::default())?;
        let snapshot = self.view.snapshot_mut();
        snapshot.start = (snapshot.start + looked_at) % order.len().max(1);
        Ok(slot)
    }

    /// The best of the first nodes that fit; also how many were looked at.
    fn best_of(
        &mut self,
        nodes: &[Slot],
        wanted: usize,
        mut refused: Refused,
    ) -> Result<(Slot, usize), Refused> {
        let start = if nodes.is_empty() { 0 } else { self.view.snapshot().start % nodes.len() };
        let (before, from) = nodes.split_at(start);
        let mut fitting = Vec::with_capacity(wanted.min(nodes.len()));
        let mut looked_at = 0;
        for slot in from.iter().chain(before) {
            looked_at += 1;
            let verdict = self.judge(*slot);
            if verdict.refusal.is_none() {
                fitting.push(Fitting { slot: *slot, verdict });
                if fitting.len() >= wanted {
                    break;
                }
            } else {
                refused.remedies.count(verdict.refusal, 1);
                if verdict.refusal.is_resolvable() {
                    refused.resolvable.push(*slot);
                }
            }
        }
        let best = score::best(self.view.snapshot(), &self.incoming, self.profile, &fitting);
        best.map(|slot| (slot, looked_at)).ok_or(refused)
    }

    fn judge(&mut self, slot: Slot) -> Verdict {
        let snapshot = self.view.snapshot();
        let Incoming { key, pod, class, .. } = self.incoming;
        // What one of many like pods is told is kept; not what holds for this one alone.
        let mut verdict = if pod.nominated.is_none() && class.named.is_none() {
            self.table.verdict(&pod.template, self.profile, snapshot, slot)
        } else {
            judge(&pod.template, self.profile, snapshot.node(slot), Some(key))
        };
        if !self.alone && verdict.refusal.is_none() {
            verdict.refusal = self.incoming.check_all(snapshot, slot);
        }
        verdict
    }
}

impl Incoming<'_> {
    /// Whether [`Self::check_all`] takes every node.
    fn concerns_nothing_beyond_a_node(&self, snapshot: &Snapshot) -> bool {
        self.kind == Containers::Any
            && self.class.is_local()
            && self.volumes.ask_nothing()
            && !snapshot.keeps_nodes()
    }

    /// Looks beyond the node, with the pods that it is kept for and without them: it has to fit either way.
    fn check_all(&self, snapshot: &Snapshot, slot: Slot) -> Refusal {
        if self.kind == Containers::Linux && runs_modules_alone(snapshot, slot) {
            return Refusal::CONTAINERS;
        }
        if self.kind == Containers::Linux && !self.pod.template.host_network && lacks_network(snapshot, slot)
        {
            return Refusal::NETWORK;
        }
        if is_of_other_platform(snapshot, slot, self.images) {
            return Refusal::PLATFORM;
        }
        let kept_for = snapshot.node(slot).kept_for(self.pod.template.priority, Some(self.key));
        if !kept_for.is_empty() {
            let comes: Vec<_> = kept_for.iter().map(|nominee| Change::comes(nominee)).collect();
            let refusal = self.check(snapshot, slot, &comes);
            if !refusal.is_none() {
                return refusal;
            }
        }
        self.check(snapshot, slot, &[])
    }
}

fn containers(snapshot: &Snapshot, pod: &PodInfo, images: &[Architectures]) -> Containers {
    let is_linux = !images.is_empty() || snapshot.is_linux(&pod.template);
    if is_linux { Containers::Linux } else { Containers::Any }
}

/// Whether an image is there for other machines than a node is. One that says nothing of itself may be any.
fn is_of_other_platform(snapshot: &Snapshot, slot: Slot, images: &[Architectures]) -> bool {
    let info = snapshot.node(slot).info.as_ref();
    let machine = info.and_then(|info| info.labels.get(ARCHITECTURE));
    machine.is_some_and(|machine| !images.iter().all(|image| own_images::runs(machine, image)))
}

/// Whether a node says that it runs no Linux containers. One that says nothing may run them.
fn runs_modules_alone(snapshot: &Snapshot, slot: Slot) -> bool {
    let info = snapshot.node(slot).info.as_ref();
    info.is_some_and(|info| info.condition(CONTAINERS_UNAVAILABLE) == Some("True"))
}

/// Whether a node says that pods get no network of their own there.
fn lacks_network(snapshot: &Snapshot, slot: Slot) -> bool {
    let info = snapshot.node(slot).info.as_ref();
    info.is_some_and(|info| info.condition(NETWORK_UNAVAILABLE) == Some("True"))
}

fn unschedulable(view: &mut View, incoming: &Incoming<'_>, nodes: usize, refused: &Refused) -> Unschedulable {
    let unresolvable = |slot: Slot| !refused.resolvable.contains(&slot);
    let preemption = preempt::eligible(view, incoming.pod, unresolvable).map(|()| {
        let mut losses = view.take_losses();
        let found = preempt::find(view, &mut losses, incoming, &refused.resolvable);
        view.put_losses(losses);
        found
    });
    Unschedulable::new(&incoming.pod.template, nodes, &refused.remedies, preemption)
}

/// How many nodes that fit are enough: all of a small fleet, and of a large one a part that shrinks from a half to a twentieth, as in
/// Kubernetes.
fn nodes_wanted(nodes: usize) -> usize {
    if nodes < NODES_WANTED_MIN {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(NODES_WANTED_MIN)
}

/// The fewest nodes among which to choose.
const NODES_WANTED_MIN: usize = 100;

#[cfg(test)]
mod tests;

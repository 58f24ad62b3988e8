//! The fleet as the scheduler sees it: nodes by number, what is held of each, and counts per topology domain, all kept up to date
//! change by change.
//!
//! The view tells of every pod that comes to a node or goes, and of every node. Nothing here is decided; what is derived for one
//! kind of pod is dropped or amended as changes come, as `docs/design/scheduler.md` lists.

pub(crate) mod classes;
pub(crate) mod counters;
pub(crate) mod groups;
mod order;
mod slab;
pub(crate) mod terms;
pub(crate) mod topology;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use dunlin_link::{NodeName, reference::Reference};

use self::{
    classes::Classes,
    counters::{Counters, Terminating},
    groups::{GroupId, Groups},
    order::{Mark, Order},
    terms::{Kind, Last, TermId, Terms},
    topology::{KeyId, Topology},
};
use super::{own_images::OwnImages, verdicts::Verdicts};
use crate::view::{Labels, NodeInfo, ObjectKey, PodInfo, PodTemplate, Usage};

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

/// All nodes, and what is derived from them.
#[derive(Debug, Default)]
pub struct Snapshot {
    slots: HashMap<NodeName, Slot>,
    pub(crate) nodes: Vec<Node>,
    /// By slot, as the nodes.
    marks: Vec<Mark>,
    free: Vec<Slot>,
    order: Order,
    pub(crate) topology: Topology,
    pub(crate) groups: Groups,
    pub(crate) terms: Terms,
    pub(crate) counters: Counters,
    pub(super) classes: Classes,
    pub(super) verdicts: Verdicts,
    pub(crate) namespaces: HashMap<Arc<str>, Labels>,
    /// On how many nodes an image is.
    images: HashMap<String, usize>,
    /// Images that were found to hold Linux containers, by full reference.
    pub(crate) linux_images: BTreeSet<String>,
    /// Those of the coordinator's own registry, with what they are for.
    pub(crate) own_images: OwnImages,
    /// Where pods that wait for others to go will be placed.
    nominations: HashMap<ObjectKey, Slot>,
    /// Where the next search starts.
    pub(super) start: usize,
    /// Counts changes, so that what was derived of a node can tell whether it still holds.
    clock: u64,
}

/// A node, or a name that pods are bound to.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) info: Option<Arc<NodeInfo>>,
    pub(crate) usage: Usage,
    /// Pods that hold something of it.
    pub(crate) pods: Vec<Resident>,
    /// Pods for which others are to leave it.
    pub(crate) nominated: Vec<Nominee>,
}

/// A pod on a node.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) key: ObjectKey,
    pub(crate) pod: Arc<PodInfo>,
    pub(crate) terms: Vec<TermId>,
    group: GroupId,
}

/// A pod that a node is kept for.
#[derive(Clone, Debug)]
pub(crate) struct Nominee {
    pub(crate) key: ObjectKey,
    pub(crate) pod: Arc<PodInfo>,
}

impl Slot {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Snapshot {
    /// Folds in a node.
    pub(crate) fn apply_node(&mut self, info: &Arc<NodeInfo>) {
        let slot = self.enter(&info.name);
        let node = &self.nodes[slot.index()];
        let moved = node.info.as_ref().is_none_or(|before| {
            before.labels != info.labels || before.taints != info.taints || before.name != info.name
        });
        let came = node.info.is_none();
        self.forget_images(slot);
        if moved {
            self.detach(slot);
        }
        self.nodes[slot.index()].info = Some(Arc::clone(info));
        if came {
            self.order.insert(slot, &self.nodes, &mut self.marks);
        }
        if moved {
            self.attach(slot);
        }
        for image in info.images.keys() {
            *self.images.entry(image.clone()).or_default() += 1;
        }
        self.touch(slot);
    }

    /// Forgets a node; pods stay bound to its name.
    pub(crate) fn delete_node(&mut self, name: &NodeName) {
        let Some(slot) = self.slots.get(name).copied() else { return };
        self.forget_images(slot);
        self.detach(slot);
        if self.nodes[slot.index()].info.take().is_some() {
            self.order.remove(slot, &self.nodes, &mut self.marks);
        }
        self.touch(slot);
        self.leave(slot);
    }

    /// A pod came to a node, be it bound or assumed to be.
    pub(crate) fn add_pod(&mut self, node: &NodeName, key: &ObjectKey, pod: &Arc<PodInfo>) {
        let slot = self.enter(node);
        let group = self.groups.enter(&key.namespace, &pod.affiliation, &self.counters, &self.namespaces);
        let terms = self.enter_terms(key, pod);
        let resident = Resident { key: key.clone(), pod: Arc::clone(pod), terms, group };
        self.count_in(slot, &resident);
        let node = &mut self.nodes[slot.index()];
        node.usage.add(&pod.template);
        node.pods.push(resident);
        self.touch(slot);
    }

    /// A pod went from a node, or its end was seen.
    pub(crate) fn remove_pod(&mut self, node: &NodeName, pod: &Arc<PodInfo>) {
        let Some(slot) = self.slots.get(node).copied() else { return };
        let node = &mut self.nodes[slot.index()];
        let place = node.pods.iter().position(|known| Arc::ptr_eq(&known.pod, pod));
        debug_assert!(place.is_some(), "a pod goes as it came, or it would count on its node for ever");
        let Some(place) = place else { return };
        let resident = node.pods.swap_remove(place);
        node.usage.remove(&pod.template);
        self.count_out(slot, &resident);
        for term in &resident.terms {
            if self.terms.leave(*term, &mut self.topology) == Last::Yes {
                self.classes.forget_term(*term);
            }
        }
        self.groups.leave(resident.group);
        self.touch(slot);
        self.leave(slot);
    }

    /// Keeps a node for a pod that waits for others to go.
    pub(crate) fn nominate(&mut self, node: &NodeName, key: &ObjectKey, pod: &Arc<PodInfo>) {
        self.withdraw(key);
        let slot = self.enter(node);
        self.nominations.insert(key.clone(), slot);
        self.nodes[slot.index()].nominated.push(Nominee { key: key.clone(), pod: Arc::clone(pod) });
        self.touch(slot);
    }

    /// Keeps no node for a pod any more.
    pub(crate) fn withdraw(&mut self, key: &ObjectKey) {
        let Some(slot) = self.nominations.remove(key) else { return };
        self.nodes[slot.index()].nominated.retain(|nominee| nominee.key != *key);
        self.touch(slot);
        self.leave(slot);
    }

    /// Folds in a namespace's labels.
    pub(crate) fn apply_namespace(&mut self, name: &str, labels: &Labels) {
        if self.namespaces.get(name) != Some(labels) {
            self.namespaces.insert(name.into(), labels.clone());
            self.forget_derived();
        }
    }

    /// Forgets a namespace.
    pub(crate) fn delete_namespace(&mut self, name: &str) {
        if self.namespaces.remove(name).is_some() {
            self.forget_derived();
        }
    }

    /// Nodes that exist, in the order in which they are looked at.
    pub(crate) fn order(&mut self) -> Arc<[Slot]> {
        self.order.slots()
    }

    /// The same, put in order before.
    pub(crate) fn ordered(&self) -> &[Slot] {
        &self.order.slots
    }

    /// A node that exists.
    pub(crate) fn slot(&self, name: &NodeName) -> Option<Slot> {
        let slot = *self.slots.get(name)?;
        self.nodes[slot.index()].info.is_some().then_some(slot)
    }

    /// What is known of a node.
    pub(crate) fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot.index()]
    }

    /// What a search looks at first.
    pub(crate) fn mark(&self, slot: Slot) -> Mark {
        self.marks[slot.index()]
    }

    /// Whether some node is kept for a pod.
    pub(super) fn keeps_nodes(&self) -> bool {
        !self.nominations.is_empty()
    }

    /// What the pods of a node, or of a name that pods are bound to, hold together.
    pub fn usage(&self, name: &NodeName) -> Option<&Usage> {
        self.slots.get(name).map(|slot| &self.nodes[slot.index()].usage)
    }

    /// Remembers that an image holds a Linux container. Beyond a number of them all are forgotten; they will be found again.
    pub fn note_linux_image(&mut self, image: &Reference) {
        if self.linux_images.len() >= LINUX_IMAGES_MAX {
            self.linux_images.clear();
        }
        self.linux_images.insert(image.to_string());
    }

    /// Whether a pod is known to have a Linux container.
    pub(crate) fn is_linux(&self, template: &PodTemplate) -> bool {
        let full = |image: &String| image.parse().map(|image: Reference| image.to_string());
        !self.linux_images.is_empty()
            && template
                .images
                .iter()
                .filter_map(|image| full(image).ok())
                .any(|image| self.linux_images.contains(&image))
    }

    /// On how many nodes an image is.
    pub(crate) fn nodes_with(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or(0)
    }

    fn enter(&mut self, name: &NodeName) -> Slot {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let node = Node {
            name: name.clone(),
            info: None,
            usage: Usage::default(),
            pods: Vec::new(),
            nominated: Vec::new(),
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.nodes[slot.index()] = node;
            self.marks[slot.index()] = Mark::default();
            slot
        } else {
            self.nodes.push(node);
            self.marks.push(Mark::default());
            Slot(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX))
        };
        self.slots.insert(name.clone(), slot);
        slot
    }

    fn leave(&mut self, slot: Slot) {
        let node = &self.nodes[slot.index()];
        if node.info.is_none() && node.pods.is_empty() && node.nominated.is_empty() {
            self.slots.remove(&node.name);
            self.free.push(slot);
        }
    }

    fn touch(&mut self, slot: Slot) {
        self.clock += 1;
        let mark = &mut self.marks[slot.index()];
        mark.changed = self.clock;
        mark.pods = self.nodes[slot.index()].usage.pods;
    }

    /// Counts a node and its pods out everywhere, before what decides where they count changes.
    fn detach(&mut self, slot: Slot) {
        for resident in std::mem::take(&mut self.nodes[slot.index()].pods) {
            self.count_out(slot, &resident);
            self.nodes[slot.index()].pods.push(resident);
        }
        self.counters.iter_mut().for_each(|counter| counter.detach(slot));
        self.topology.detach(slot);
    }

    fn attach(&mut self, slot: Slot) {
        let Some(info) = self.nodes[slot.index()].info.clone() else { return };
        self.topology.attach(slot, &info.labels);
        let Self { counters, topology, .. } = self;
        counters.iter_mut().for_each(|counter| counter.attach(slot, &info, topology));
        for resident in std::mem::take(&mut self.nodes[slot.index()].pods) {
            self.count_in(slot, &resident);
            self.nodes[slot.index()].pods.push(resident);
        }
    }

    fn count_in(&mut self, slot: Slot, resident: &Resident) {
        let Self { groups, counters, terms, topology, .. } = self;
        for id in groups.counters(resident.group) {
            if let Some(counter) =
                counters.get_mut(*id).filter(|counter| resident.counts(counter.spec.terminating))
            {
                counter.add(slot);
            }
        }
        resident.terms.iter().for_each(|term| terms.add(*term, slot, topology));
    }

    fn count_out(&mut self, slot: Slot, resident: &Resident) {
        let Self { groups, counters, terms, topology, .. } = self;
        for id in groups.counters(resident.group) {
            if let Some(counter) =
                counters.get_mut(*id).filter(|counter| resident.counts(counter.spec.terminating))
            {
                counter.remove(slot);
            }
        }
        resident.terms.iter().for_each(|term| terms.remove(*term, slot, topology));
    }

    /// Makes a counter that is up to date, or takes one that there is.
    pub(super) fn enter_counter(&mut self, spec: counters::Spec) -> counters::CounterId {
        if let Some(id) = self.counters.find(&spec) {
            return id;
        }
        let key = self.enter_key(&spec.key);
        let id = self.counters.insert(spec, key);
        self.groups.learn_counter(id, &self.counters, &self.namespaces);
        let Self { nodes, counters, groups, topology, .. } = self;
        let Some(counter) = counters.get_mut(id) else { return id };
        let terminating = counter.spec.terminating;
        for (index, node) in nodes.iter().enumerate() {
            let Some(info) = &node.info else { continue };
            let slot = Slot(u32::try_from(index).unwrap_or(u32::MAX));
            counter.attach(slot, info, topology);
            for resident in node.pods.iter().filter(|resident| resident.counts(terminating)) {
                if groups.counters(resident.group).last() == Some(&id) {
                    counter.add(slot);
                }
            }
        }
        id
    }

    fn enter_key(&mut self, key: &str) -> KeyId {
        let nodes = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            Some((Slot(u32::try_from(index).unwrap_or(u32::MAX)), &node.info.as_ref()?.labels))
        });
        self.topology.enter(key, nodes)
    }

    /// The terms that a placed pod has for pods to come.
    fn enter_terms(&mut self, key: &ObjectKey, pod: &PodInfo) -> Vec<TermId> {
        let Some(affinity) = &pod.template.pod_affinity else { return Vec::new() };
        let forbids = affinity.anti_required.iter().map(|term| (Kind::Forbids, term));
        let required = affinity.required.iter().map(|term| (Kind::Required, term));
        let preferred = affinity.preferred.iter().map(|(weight, term)| (Kind::Weighs(*weight), term));
        let anti = affinity.anti_preferred.iter().map(|(weight, term)| (Kind::Weighs(-*weight), term));
        let mut entered = Vec::new();
        for (kind, term) in forbids.chain(required).chain(preferred).chain(anti) {
            let spec = terms::Spec {
                kind,
                term: term.resolve(&key.namespace, &pod.affiliation.labels),
                key: term.topology_key.clone(),
            };
            let id = self.terms.find(&spec).unwrap_or_else(|| {
                let key = self.enter_key(&spec.key);
                let id = self.terms.insert(spec.clone(), key);
                self.classes.learn_term(id, &spec, &self.namespaces);
                id
            });
            entered.push(id);
        }
        entered
    }

    fn forget_images(&mut self, slot: Slot) {
        let Some(info) = &self.nodes[slot.index()].info else { return };
        for image in info.images.keys() {
            if let Some(nodes) = self.images.get_mut(image) {
                *nodes -= 1;
                if *nodes == 0 {
                    self.images.remove(image);
                }
            }
        }
    }

    /// Drops what was derived from labels of namespaces.
    fn forget_derived(&mut self) {
        for counter in self.classes.drain() {
            self.counters.leave(counter, &mut self.topology, &mut self.groups);
        }
    }
}

impl Node {
    /// Pods of at least this priority that the node is kept for, but `pod` itself.
    pub(crate) fn kept_for(&self, priority: i32, pod: Option<&ObjectKey>) -> Vec<&Nominee> {
        if self.nominated.is_empty() {
            return Vec::new();
        }
        let others = self.nominated.iter().filter(|nominee| Some(&nominee.key) != pod);
        others.filter(|nominee| nominee.pod.template.priority >= priority).collect()
    }
}

impl Resident {
    fn counts(&self, terminating: Terminating) -> bool {
        terminating == Terminating::Count || self.pod.deletion.is_none()
    }
}
/// Images that are remembered as those of Linux containers.
const LINUX_IMAGES_MAX: usize = 4096;

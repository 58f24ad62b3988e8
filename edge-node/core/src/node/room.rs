//! The room that the node offers. Pods that are held take some of which the coordinator knows nothing, and the scheduler would place pods
//! there that the node has to refuse, again and again.

use super::{Entry, NodeCore, output::Output};
use crate::admission::Usage;

impl NodeCore {
    /// Tells what is allocatable beside the pods that are held, if that is not what was told last.
    pub(super) fn tell_room(&mut self) {
        let mut taken = Usage::default();
        let held = self.pods.values().filter(|entry| entry.is_held() && !entry.pod.is_over());
        held.for_each(|entry| taken.add(entry.pod.assignment()));
        let node = &mut self.desk.node;
        let mut facts = node.facts.clone();
        facts.allocatable = taken.beside(facts.allocatable);
        if facts != node.told {
            node.told.clone_from(&facts);
            self.desk.outputs.push_back(Output::Facts(Box::new(facts)));
        }
    }
}

impl Entry {
    /// Whether a snapshot neither named nor buried the pod.
    pub(super) fn is_held(&self) -> bool {
        self.revision.is_none() && !self.is_static()
    }
}

//! In which order nodes are looked at, and what is read of each of them at every look.

use std::sync::Arc;

use super::{Node, Slot};

/// What a search reads of every node that it looks at. It lies apart from the nodes, so that a search through thousands of them that
/// did not change reads little memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// When anything of the node changed last.
    pub(crate) changed: u64,
    /// Number of pods on it.
    pub(crate) pods: u32,
    /// Its place among all nodes by name.
    pub(crate) rank: u32,
}

/// An order that has nothing to do with the nodes' names, zones or age, so that any part of it is a fair sample, and that is the same
/// for the same nodes.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) slots: Arc<[Slot]>,
    /// Whether `shuffled` changed since.
    stale: bool,
    shuffled: Vec<(u64, Slot)>,
    by_name: Vec<Slot>,
}

impl Order {
    pub(super) fn insert(&mut self, slot: Slot, nodes: &[Node], marks: &mut [Mark]) {
        let (shuffled, named) = self.places(slot, nodes);
        self.shuffled.insert(shuffled, (shuffle_key(nodes[slot.index()].name.as_str()), slot));
        self.by_name.insert(named, slot);
        self.renumber(named, marks);
    }

    pub(super) fn remove(&mut self, slot: Slot, nodes: &[Node], marks: &mut [Mark]) {
        let (shuffled, named) = self.places(slot, nodes);
        self.shuffled.remove(shuffled);
        self.by_name.remove(named);
        self.renumber(named, marks);
    }

    /// All nodes in order.
    pub(super) fn slots(&mut self) -> Arc<[Slot]> {
        if self.stale {
            self.stale = false;
            self.slots = self.shuffled.iter().map(|(_, slot)| *slot).collect();
        }
        Arc::clone(&self.slots)
    }

    /// Where a node is, or is to be, in either list.
    fn places(&self, slot: Slot, nodes: &[Node]) -> (usize, usize) {
        let name = &nodes[slot.index()].name;
        let key = shuffle_key(name.as_str());
        let before = |(other, slot): &(u64, Slot)| (*other, &nodes[slot.index()].name) < (key, name);
        let named = self.by_name.partition_point(|slot| nodes[slot.index()].name < *name);
        (self.shuffled.partition_point(before), named)
    }

    fn renumber(&mut self, from: usize, marks: &mut [Mark]) {
        self.stale = true;
        for (rank, slot) in (0_u32..).zip(&self.by_name).skip(from) {
            marks[slot.index()].rank = rank;
        }
    }
}

/// FNV-1a over a name, its bits mixed once more, for names often differ in their last letter only.
fn shuffle_key(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

//! The heap of pods' timers.

use std::{cmp::Reverse, collections::BinaryHeap};

use dunlin_link::PodUid;

use crate::clock::Mono;

/// Timers by time. A pod's later setting makes its earlier ones void; the pod's entry says which counts.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Mono, PodUid)>>,
}

impl Timers {
    /// Sets a timer.
    pub(super) fn set(&mut self, at: Mono, uid: PodUid) {
        self.heap.push(Reverse((at, uid)));
    }

    /// When the first goes off.
    pub(super) fn next(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one that is due.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<PodUid> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, uid))| uid)
    }
}

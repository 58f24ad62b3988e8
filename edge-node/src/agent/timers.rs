//! The agent's clock and the heap of its pods' timers.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node_core::clock::{Mono, Now};
use dunlin_link::{PodUid, UnixMillis};
use tokio::time::Instant;

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic zero is now.
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time now.
    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mono = self.start.elapsed();
        Now { wall: UnixMillis(millis(wall)), mono: Mono(millis(mono)) }
    }

    /// The instant of a monotonic time; the past counts as the start.
    pub(super) fn instant(&self, at: Mono) -> Instant {
        // One millisecond more: a timer must not go off before the time it is for, or it would spin.
        self.start + Duration::from_millis(u64::try_from(at.0).map_or(0, |millis| millis + 1))
    }
}

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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

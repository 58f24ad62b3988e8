//! The agent's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dunlin_edge_node_core::clock::{Mono, Now};
use dunlin_link::UnixMillis;
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

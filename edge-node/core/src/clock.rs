//! Time as the shell reads it: the wall clock for what people see, a monotonic one for every delay and deadline.
//!
//! A node without a battery-backed clock jumps by years when it first hears a time server. No timer may notice.

use dunlin_link::UnixMillis;

/// One reading of both clocks, taken once per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For times in status and events.
    pub wall: UnixMillis,
    /// For delays and deadlines.
    pub mono: Mono,
}

impl Now {
    /// The monotonic time at which the wall clock showed `wall`; a time that lies in the future counts as now.
    pub fn mono_at(self, wall: UnixMillis) -> Mono {
        let age = self.wall.0.saturating_sub(wall.0).max(0);
        Mono(self.mono.0.saturating_sub(age))
    }

    /// The wall time of a monotonic time.
    pub fn wall_at(self, mono: Mono) -> UnixMillis {
        UnixMillis(self.wall.0.saturating_add(mono.0.saturating_sub(self.mono.0)))
    }
}

/// Milliseconds of a clock that never jumps; zero is the agent's start, so times from before it are negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub i64);

impl Mono {
    /// This time and `millis` more.
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis))
    }

    /// Milliseconds from now until this time; 0 if it has passed.
    pub fn millis_after(self, now: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0)
    }
}

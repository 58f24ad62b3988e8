//! The coordinator's time, as far as the node knows it.
//!
//! It owes nothing to the machine's own clock, which may say 1970 or 2106: it starts from what is known to have passed (the release,
//! what is on disk, the start of the own certificate), and counts on from there. A coordinator's greeting has the last word, also when its
//! clock was ahead and has been put right since: a node that went on by the old time would take each new certificate for an expired one.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dunlin_link::{UnixMillis, session::clock::RELEASED_AT_SECONDS};

/// The time. One for a node, shared by what learns it and what keeps it.
#[derive(Debug)]
pub struct ServerTime(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    known: UnixMillis,
    at: Instant,
    /// What is on disk.
    kept: UnixMillis,
}

impl ServerTime {
    /// What any node of this release knows.
    pub fn new() -> Self {
        Self(Mutex::new(State { known: released(), at: Instant::now(), kept: UnixMillis::default() }))
    }

    /// A coordinator says that it is this time. Before the release it cannot be.
    pub fn told(&self, time: UnixMillis) {
        let mut state = self.state();
        (state.known, state.at) = (time.max(released()), Instant::now());
    }

    /// It is this time, or later.
    pub fn learn(&self, time: UnixMillis) {
        let now = self.now();
        if time > now {
            let mut state = self.state();
            (state.known, state.at) = (time, Instant::now());
        }
    }

    /// The coordinator's time; before its greeting, that or earlier.
    pub fn now(&self) -> UnixMillis {
        let State { known, at, .. } = *self.state();
        UnixMillis(known.0.saturating_add(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }

    /// The same as a time since 1970.
    pub(crate) fn since_1970(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now().0).unwrap_or(0))
    }

    /// This time is on disk.
    pub(crate) fn kept(&self, time: UnixMillis) {
        self.learn(time);
        self.state().kept = time;
    }

    /// What should be written along with something else: nothing when the disk knows about as much.
    pub(crate) fn worth_keeping(&self) -> Option<UnixMillis> {
        let now = self.now();
        (now.0.abs_diff(self.state().kept.0) >= KEEP_MS_MIN).then_some(now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Its fields are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ServerTime {
    fn default() -> Self {
        Self::new()
    }
}

/// No clock shows less.
fn released() -> UnixMillis {
    UnixMillis(i64::try_from(RELEASED_AT_SECONDS * 1000).unwrap_or(i64::MAX))
}

/// A time that is a minute old is as good as one that is not.
const KEEP_MS_MIN: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_by_itself() {
        let time = ServerTime::new();
        let released = released();
        assert!(time.now() >= released && time.now().0 < released.0 + 60_000);
        time.learn(UnixMillis(0));
        assert!(time.now() >= released, "a coordinator without a clock");
        let later = UnixMillis(released.0 + 1_000_000_000);
        time.learn(later);
        assert!(time.now() >= later);
        assert!(time.worth_keeping().is_some());
        time.kept(time.now());
        assert_eq!(time.worth_keeping(), None, "the disk knows");
        time.learn(UnixMillis(later.0 + 120_000));
        assert!(time.worth_keeping().is_some());
    }

    #[test]
    fn a_greeting_has_the_last_word() {
        let time = ServerTime::new();
        let now = UnixMillis(released().0 + 1_000_000_000_000);
        time.kept(UnixMillis(now.0 + 1_000_000_000_000));
        time.told(now);
        assert!(time.now().0.abs_diff(now.0) < KEEP_MS_MIN);
        assert!(time.worth_keeping().is_some(), "a restart shall not go back to the false one");
        time.told(UnixMillis(0));
        assert!(time.now() >= released());
    }
}

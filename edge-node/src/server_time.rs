//! The coordinator's time, as far as the node can be sure that it has come: a lower bound that only rises.
//!
//! It owes nothing to the machine's own clock, which may say 1970 or 2106: it starts from what is known to have passed (the release,
//! what is on disk, the start of the own certificate), is told more by every greeting of a coordinator, and counts on from there.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dunlin_link::{UnixMillis, session::clock::RELEASED_AT_SECONDS};

/// The lower bound. One for a node, shared by what learns it and what keeps it.
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
        let known = UnixMillis(i64::try_from(RELEASED_AT_SECONDS * 1000).unwrap_or(i64::MAX));
        Self(Mutex::new(State { known, at: Instant::now(), kept: UnixMillis::default() }))
    }

    /// It is this time, or later.
    pub fn learn(&self, time: UnixMillis) {
        let now = self.now();
        if time > now {
            let mut state = self.state();
            (state.known, state.at) = (time, Instant::now());
        }
    }

    /// The coordinator's time, or earlier.
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
        (now.0.saturating_sub(self.state().kept.0) >= KEEP_MS_MIN).then_some(now)
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

/// A bound that is a minute old is as good as one that is not.
const KEEP_MS_MIN: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises() {
        let time = ServerTime::new();
        let released = UnixMillis(i64::try_from(RELEASED_AT_SECONDS).unwrap() * 1000);
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
}

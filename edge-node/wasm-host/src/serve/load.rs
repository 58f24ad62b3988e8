//! What an instance has to do, and what time says of it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{answer::Life, limits::Limits};

/// What an instance has to do, as seen from within and from outside.
#[derive(Debug, Default)]
pub(super) struct Load {
    given: AtomicUsize,
    /// It takes no more requests.
    is_retired: AtomicBool,
    is_blamed: AtomicBool,
    state: Mutex<LoadState>,
}

#[derive(Debug, Default)]
pub(super) struct LoadState {
    /// Requests that its handler has not returned from.
    /// Whoever has a request to do with holds its life, and a life its instance: this is the side that holds nothing.
    lives: Vec<Weak<Life>>,
    /// Since when there are none.
    done_since: Option<Instant>,
    /// Whether nothing else goes on in it either, since `done_since`.
    pub(super) is_idle: bool,
}

impl Load {
    pub(super) fn count_given(&self) {
        self.given.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether its trap is to be counted: the first time that somebody asks.
    pub(super) fn blame(&self) -> bool {
        self.retire();
        !self.is_blamed.swap(true, Ordering::Relaxed)
    }

    /// Has it take no more requests.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Whether it will take another request, now or later.
    pub(super) fn is_open(&self, limits: &Limits) -> bool {
        self.given.load(Ordering::Relaxed) < limits.reuse && !self.is_retired.load(Ordering::Relaxed)
    }

    /// Whether it has room for another request now.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.is_open(limits) && self.state().lives.len() < limits.concurrency
    }

    /// Has a request be one of this instance: when it is made for it, and when it takes it. The second says nothing new, unless the
    /// request was meant for another instance, which could not be made.
    pub(super) fn begin(self: &Arc<Self>, life: &Arc<Life>) {
        life.set_instance(self);
        let mut state = self.state();
        if !state.lives.iter().any(|other| is_same(other, life)) {
            state.lives.push(Arc::downgrade(life));
        }
        (state.done_since, state.is_idle) = (None, false);
    }

    pub(super) fn finish(&self, life: &Arc<Life>) {
        let mut state = self.state();
        state.lives.retain(|other| !is_same(other, life));
        state.done_since = state.lives.is_empty().then(Instant::now);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, LoadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What time says of the instance.
    pub(super) fn look(&self, limits: &Limits, now: Instant) -> Look {
        let state = self.state();
        let lives: Vec<_> = state.lives.iter().filter_map(Weak::upgrade).collect();
        // A moment later than its client, so that the client hears of the time.
        let due = |life: &Arc<Life>| life.began + limits.answer + LATE_MARGIN;
        let end = |life: &Arc<Life>| life.began + limits.answer + WHOLE_MAX;
        let is_late = |life: &Arc<Life>| !life.is_answered() && now >= due(life);
        if lives.iter().any(is_late) {
            self.retire();
        }
        let Some(done_since) = state.done_since else {
            let is_lost = !lives.is_empty() && lives.iter().all(is_late);
            if is_lost || lives.iter().any(|life| now >= end(life)) {
                return Look::Over;
            }
            let next =
                |life: &Arc<Life>| if life.is_answered() || is_late(life) { end(life) } else { due(life) };
            return Look::Until(lives.iter().map(next).min().unwrap_or(now + WHOLE_MAX));
        };
        let until = done_since + if state.is_idle { limits.idle } else { WHOLE_MAX };
        match (now >= until, state.is_idle) {
            (false, _) => Look::Until(until),
            (true, false) => Look::Over,
            (true, true) => Look::Idle,
        }
    }
}

/// See [`Load::look`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Until(Instant),
    /// Its requests had all the time they may have.
    Over,
    /// It had no request for long enough.
    Idle,
}

fn is_same(one: &Weak<Life>, other: &Arc<Life>) -> bool {
    std::ptr::eq(one.as_ptr(), Arc::as_ptr(other))
}

/// How long after its client an instance is given up.
pub(super) const LATE_MARGIN: Duration = Duration::from_millis(100);

/// How long a request may take after its answer had to begin, its answer's body included, and how long an instance may go on after the
/// last of them.
const WHOLE_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(answer: Duration) -> Limits {
        Limits { instances: 1, concurrency: 2, reuse: 9, answer, idle: Duration::from_secs(1) }
    }

    #[test]
    fn a_request_that_moves_is_its_new_instance_s_alone() {
        let limits = limits(Duration::from_secs(30));
        let (first, second, life) =
            (Arc::new(Load::default()), Arc::new(Load::default()), Arc::new(Life::new()));
        first.begin(&life);
        second.begin(&life);
        second.begin(&life);
        assert!(second.has_room(&limits), "it counts once");
        let now = Instant::now();
        assert!(matches!(second.look(&limits, now), Look::Until(until) if until > now + limits.idle));
        assert_eq!(second.look(&limits, now + 2 * limits.answer), Look::Over);
        assert!(life.instance().is_some_and(|instance| instance.blame()));
        assert!(!second.blame() && first.blame(), "it was the second that was blamed");
        second.finish(&life);
        assert!(second.state().done_since.is_some());
    }

    #[test]
    fn a_request_that_never_ends_leaves_nothing() {
        let (load, life) = (Arc::new(Load::default()), Arc::new(Life::new()));
        load.begin(&life);
        let (left_load, left_life) = (Arc::downgrade(&load), Arc::downgrade(&life));
        drop((load, life));
        assert!(left_load.upgrade().is_none() && left_life.upgrade().is_none());
    }

    #[test]
    fn an_answer_may_be_waited_for_longer_than_its_body() {
        let limits = limits(3 * WHOLE_MAX);
        let (load, life) = (Arc::new(Load::default()), Arc::new(Life::new()));
        load.begin(&life);
        let due = life.began + limits.answer + LATE_MARGIN;
        assert_eq!(load.look(&limits, life.began + 2 * WHOLE_MAX), Look::Until(due));
        life.answered();
        let end = life.began + limits.answer + WHOLE_MAX;
        assert_eq!(load.look(&limits, due), Look::Until(end));
        assert_eq!(load.look(&limits, end), Look::Over);
    }
}

//! What an autoscaler recommended and did lately.

use std::time::Duration;

use jiff::Timestamp;

use super::Measured;
use crate::view::Autoscaler;

/// What is remembered of an autoscaler, in memory only.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// When the target is measured next; `None` is at once.
    pub(crate) next: Option<Timestamp>,
    /// What was measured and not looked at so far.
    pub(crate) measured: Option<Measured>,
    /// Replicas that were recommended before limits, in the order of time.
    pub(super) recommended: Vec<(Timestamp, i64)>,
    /// How many replicas were added.
    pub(super) added: Vec<(Timestamp, i64)>,
    /// How many replicas were removed.
    pub(super) removed: Vec<(Timestamp, i64)>,
    /// The change that was asked for last: when, from how many and to how many.
    asked: Option<(Timestamp, i64, i64)>,
}

impl Memory {
    /// Takes note of the replicas that there are.
    pub(super) fn begin(&mut self, autoscaler: &Autoscaler, current: i64, now: Timestamp) {
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
        // Only where rates are limited is it asked what was done before, and only what was really done counts.
        if let Some((at, from, to)) = self.asked.take()
            && to == current
            && autoscaler.spec.behavior.is_some()
        {
            let (changes, change) =
                if to > from { (&mut self.added, to - from) } else { (&mut self.removed, from - to) };
            changes.push((at, change));
            forget(changes, now, CHANGES_KEPT);
        }
    }

    /// Takes note of a change that is asked for.
    pub(super) fn asked(&mut self, from: i64, to: i64, now: Timestamp) {
        self.asked = Some((now, from, to));
    }

    /// Takes note of a recommendation, and forgets those older than `window`.
    pub(super) fn recommend(&mut self, replicas: i64, window: Duration, now: Timestamp) {
        forget(&mut self.recommended, now, window);
        self.recommended.push((now, replicas));
    }
}

/// What is of the last `window`.
pub(super) fn within(
    list: &[(Timestamp, i64)],
    window: Duration,
    now: Timestamp,
) -> impl Iterator<Item = i64> + '_ {
    let cutoff = now - window;
    // What is ahead was noted before the clock was put back.
    list.iter().filter(move |(at, _)| *at > cutoff && *at <= now).map(|(_, count)| *count)
}

fn forget(list: &mut Vec<(Timestamp, i64)>, now: Timestamp, window: Duration) {
    let cutoff = now - window;
    list.retain(|(at, _)| (cutoff..=now).contains(at));
    let excess = list.len().saturating_sub(KEPT_MAX);
    list.drain(..excess);
}

/// The longest period that a policy may name.
const CHANGES_KEPT: Duration = Duration::from_secs(1800);

/// More than there can be within the longest window, an hour, unless somebody changes the autoscaler all the time.
const KEPT_MAX: usize = 512;

//! How often pods of a workload failed soon after they were made, and when the next may come: what a node refuses, or what fails at
//! once, must not be made anew at once for ever.
//!
//! Kubernetes leaves this to the time that its parts take. What is here is known since the coordinator's start. DaemonSets have theirs
//! by node ([`super::DaemonFailures`]), Jobs theirs by what they store.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::times;

/// By the uid of the workload.
#[derive(Debug, Default)]
pub struct PodFailures {
    known: HashMap<String, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// Of the workload: after a change it is worth a new try.
    generation: i64,
    /// How many rounds failed.
    rounds: u32,
    /// When the next pods may come.
    due: Timestamp,
}

impl PodFailures {
    /// Notes that a pod failed that was made `lived` ago. Pods that failed while the next are held back were of the same round.
    pub fn note(&mut self, owner: &str, generation: i64, lived: SignedDuration, now: Timestamp) {
        if lived > signed(SOON) {
            return;
        }
        let known = self.known.get(owner).filter(|known| {
            known.generation == generation
                && known.is_of_this_clock(now)
                && now.duration_since(known.due) <= signed(2 * DELAY_MAX)
        });
        if known.is_some_and(|known| now < known.due) {
            return;
        }
        let rounds = known.map_or(0, |known| known.rounds);
        let delay =
            DELAY_FIRST.saturating_mul(2_u32.saturating_pow(rounds.min(DOUBLINGS_MAX))).min(DELAY_MAX);
        let failures = Failures { generation, rounds: rounds.saturating_add(1), due: now + delay };
        self.known.insert(owner.to_owned(), failures);
    }

    /// Until when no pod may come; `None` when one may come now.
    pub fn held_until(&self, owner: &str, generation: i64, now: Timestamp) -> Option<Timestamp> {
        let failures = self.known.get(owner).filter(|failures| failures.generation == generation)?;
        (failures.due > now && failures.is_of_this_clock(now)).then_some(failures.due)
    }

    /// Forgets a workload.
    pub fn forget(&mut self, owner: &str) {
        self.known.remove(owner);
    }
}

impl Failures {
    /// Nobody waits until a clock that was put back comes to the time again.
    fn is_of_this_clock(&self, now: Timestamp) -> bool {
        self.due <= times::after(now, DELAY_MAX)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or_default()
}

/// A pod that lived longer did not fail at once.
const SOON: Duration = Duration::from_secs(10);

/// Delay after the first round that failed.
const DELAY_FIRST: Duration = Duration::from_secs(1);

/// Longest delay; after twice as long without a failure it counts as the first again.
const DELAY_MAX: Duration = Duration::from_mins(5);

/// Doublings after which the longest delay is reached for certain.
const DOUBLINGS_MAX: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_by_round_and_are_forgotten_after_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut failures = PodFailures::default();
        let mut check = |generation, lived, now, until: Option<i64>| {
            failures.note("u", generation, SignedDuration::from_secs(lived), at(now));
            assert_eq!(failures.held_until("u", generation, at(now)), until.map(at), "{now}");
        };
        check(1, 11, 0, None);
        check(1, 0, 0, Some(1));
        check(1, 0, 0, Some(1));
        check(1, 0, 1, Some(3));
        check(1, 1, 3, Some(7));
        check(2, 0, 4, Some(5));
        check(2, 0, 5, Some(7));
        check(2, 60, 700, None);
        check(2, 0, 700, Some(701));
        for second in 0..20 {
            failures.note("v", 1, SignedDuration::ZERO, at(second * 300));
        }
        assert_eq!(failures.held_until("v", 1, at(19 * 300)), Some(at(20 * 300)));
        // The clock was put back: what it said does not count any more, and failures count anew.
        assert_eq!(failures.held_until("v", 1, at(10)), None);
        failures.note("v", 1, SignedDuration::from_secs(-6000), at(10));
        assert_eq!(failures.held_until("v", 1, at(10)), Some(at(11)));
        failures.forget("v");
        assert_eq!(failures.held_until("v", 1, at(19 * 300)), None);
    }
}

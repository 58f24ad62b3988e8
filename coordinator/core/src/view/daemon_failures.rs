//! How often pods of a DaemonSet failed on a node, and when the next may come: a pod that fails at once must not be made anew at once.
//!
//! Failed pods are deleted, so that nothing stored tells of them. What is here is known since the coordinator's start.

use std::{collections::HashMap, time::Duration};

use dunlin_link::NodeName;
use jiff::Timestamp;

use crate::times;

/// By the DaemonSet's uid and node.
#[derive(Debug, Default)]
pub struct DaemonFailures {
    known: HashMap<String, HashMap<NodeName, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    /// Of the DaemonSet: after a change it is worth a new try.
    generation: i64,
    times: u32,
    /// When the last failed pod may be deleted.
    due: Timestamp,
}

impl DaemonFailures {
    /// Notes that a pod failed.
    pub fn note(&mut self, set: &str, generation: i64, node: &NodeName, now: Timestamp) {
        let nodes = self.known.entry(set.to_owned()).or_default();
        let known = nodes.get(node).copied();
        let known = known.filter(|known| {
            known.generation == generation
                && known.is_of_this_clock(now)
                && now.duration_since(known.due)
                    <= jiff::SignedDuration::try_from(2 * DELAY_MAX).unwrap_or_default()
        });
        let failures = match known {
            None => Failures { generation, times: 1, due: now },
            Some(known) => {
                let delay =
                    DELAY_FIRST.saturating_mul(2_u32.saturating_pow((known.times - 1).min(DOUBLINGS_MAX)));
                let due = (known.due + delay.min(DELAY_MAX)).max(now);
                Failures { generation, times: known.times.saturating_add(1), due }
            }
        };
        nodes.insert(node.clone(), failures);
    }

    /// When the pod of a node that failed may be deleted; `None` is at once.
    pub fn due(&self, set: &str, node: &NodeName, now: Timestamp) -> Option<Timestamp> {
        let failures = self.known.get(set)?.get(node)?;
        failures.is_of_this_clock(now).then_some(failures.due)
    }

    /// Forgets a DaemonSet.
    pub fn forget_set(&mut self, set: &str) {
        self.known.remove(set);
    }

    /// Forgets a node.
    pub fn forget_node(&mut self, node: &NodeName) {
        self.known.values_mut().for_each(|nodes| {
            nodes.remove(node);
        });
        self.known.retain(|_, nodes| !nodes.is_empty());
    }
}

impl Failures {
    /// Nobody waits until a clock that was put back comes to the time again.
    fn is_of_this_clock(&self, now: Timestamp) -> bool {
        self.due <= times::after(now, DELAY_MAX)
    }
}

/// Delay before the second failed pod goes.
const DELAY_FIRST: Duration = Duration::from_secs(1);

/// Longest delay; after twice as long without a failure it counts as the first again.
const DELAY_MAX: Duration = Duration::from_mins(15);

/// Doublings after which the longest delay is reached for certain.
const DOUBLINGS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_are_forgotten_after_a_while() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut failures = DaemonFailures::default();
        let node = NodeName::new("n");
        let mut check = |generation, now, due| {
            failures.note("u", generation, &node, at(now));
            assert_eq!(failures.due("u", &node, at(now)), Some(at(due)), "{now}");
        };
        check(1, 0, 0);
        check(1, 0, 1);
        check(1, 1, 3);
        check(1, 3, 7);
        check(1, 60, 60);
        check(1, 60, 76);
        check(2, 76, 76);
        check(2, 2000, 2000);
        check(2, 2000, 2001);
        // The clock was put back.
        assert_eq!(failures.due("u", &node, at(100)), None);
        failures.note("u", 2, &node, at(100));
        assert_eq!(failures.due("u", &node, at(100)), Some(at(100)));
        failures.forget_node(&node);
        assert_eq!(failures.due("u", &node, at(100)), None);
    }
}

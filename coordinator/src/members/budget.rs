//! How often nodes may renew: a renewal costs the coordinator a signature and a write, and a node decides when it asks.

use std::{collections::HashMap, time::Duration};

use dunlin_link::{NodeName, moment::Moment};

/// A bucket of renewals per node.
#[derive(Debug)]
pub(super) struct Budgets {
    refill: Duration,
    /// When each node's bucket is full again. Those that are full are not here.
    full_at: HashMap<NodeName, Moment>,
    /// Buckets at which full ones are looked for and dropped.
    sweep_at: usize,
}

impl Budgets {
    /// Buckets for certificates that last for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        let refill = (lifetime / REFILLS_PER_LIFE).max(REFILL_MIN);
        Self { refill, full_at: HashMap::new(), sweep_at: SWEEP_MIN }
    }

    /// Takes one renewal of a node; false when its bucket is empty.
    pub(super) fn take(&mut self, node: &NodeName, now: Moment) -> bool {
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = (self.full_at.len() * 2).max(SWEEP_MIN);
        }
        let full_at = self.full_at.get(node).copied().unwrap_or(now).max(now) + self.refill;
        if full_at.since(now) > self.refill * BURST {
            return false;
        }
        self.full_at.insert(node.clone(), full_at);
        true
    }
}

/// Renewals that a node may ask for at once: one, and some whose answers a crash lost.
const BURST: u32 = 5;

/// Over the life of a certificate, beyond the burst.
const REFILLS_PER_LIFE: u32 = 100;

/// However short certificates live, a node gets no more than one in this time.
const REFILL_MIN: Duration = Duration::from_secs(1);

/// Below this many buckets none are looked for.
const SWEEP_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let mut budgets = Budgets::new(Duration::from_secs(5));
        let (node, other) = (NodeName::new("n1"), NodeName::new("n2"));
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let taken = (0..20).filter(|_| budgets.take(&node, at(10))).count();
        assert_eq!(taken, 5);
        assert!(budgets.take(&other, at(10)), "each node has its own");
        assert!(budgets.take(&node, at(11)) && !budgets.take(&node, at(11)));
        let taken = (0..20).filter(|_| budgets.take(&node, at(1000))).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn buckets_that_are_full_are_dropped() {
        let mut budgets = Budgets::new(Duration::from_secs(5));
        for number in 0..10_000_u64 {
            assert!(budgets.take(&NodeName::new(format!("n{number}")), Moment(Duration::from_secs(number))));
        }
        assert!(budgets.full_at.len() <= SWEEP_MIN, "{}", budgets.full_at.len());
    }
}

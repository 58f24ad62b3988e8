//! Faults that can be planted in the simulator's adapters, to prove that the simulator would find them in the product.

use std::{fmt, str::FromStr};

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plant {
    /// A node acknowledges a change before its commit is durable.
    EarlyAck,
    /// A coordinator that starts does not read the records of tombstones.
    DroppedTombstones,
    /// A snapshot is taken as the whole truth: pods that it does not name are stopped.
    DeletionByAbsence,
    /// A session's end counts also when a newer session has taken its place.
    OldSessionWins,
    /// A node reports again, after a reboot, what it reported before it, with sequences of the new start.
    ReplayedStatus,
    /// A controller is asked again before its view has what it wrote.
    HastyController,
    /// Old pods of a rollout are taken all at once, whatever may be unavailable.
    GreedyRollout,
    /// A StatefulSet that is to go by order goes in parallel.
    DisorderedSet,
    /// Evictions do not ask budgets.
    IgnoredBudget,
    /// What belongs to an object that is gone stays.
    LeftDependents,
    /// The scheduler does not see that nodes are cordoned.
    UnseenCordon,
    /// A CronJob's controller sees `concurrencyPolicy: Allow`.
    OverlappingJobs,
    /// What is written of a Service's pods is never written again.
    StaleEndpoints,
    /// The scheduler takes every pod that has a node for less important than it is.
    UnseenPriority,
    /// An autoscaler's controller sees `maxReplicas: 100`.
    UnseenMaximum,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::EarlyAck,
        Self::DroppedTombstones,
        Self::DeletionByAbsence,
        Self::OldSessionWins,
        Self::ReplayedStatus,
        Self::HastyController,
        Self::GreedyRollout,
        Self::DisorderedSet,
        Self::IgnoredBudget,
        Self::LeftDependents,
        Self::UnseenCordon,
        Self::OverlappingJobs,
        Self::StaleEndpoints,
        Self::UnseenPriority,
        Self::UnseenMaximum,
    ];

    /// As `--plant` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EarlyAck => "early-ack",
            Self::DroppedTombstones => "dropped-tombstones",
            Self::DeletionByAbsence => "deletion-by-absence",
            Self::OldSessionWins => "old-session-wins",
            Self::ReplayedStatus => "replayed-status",
            Self::HastyController => "hasty-controller",
            Self::GreedyRollout => "greedy-rollout",
            Self::DisorderedSet => "disordered-set",
            Self::IgnoredBudget => "ignored-budget",
            Self::LeftDependents => "left-dependents",
            Self::UnseenCordon => "unseen-cordon",
            Self::OverlappingJobs => "overlapping-jobs",
            Self::StaleEndpoints => "stale-endpoints",
            Self::UnseenPriority => "unseen-priority",
            Self::UnseenMaximum => "unseen-maximum",
        }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|plant| plant.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|plant| plant.name()).collect();
            format!("no such bug; there are {}", names.join(", "))
        })
    }
}

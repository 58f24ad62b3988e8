//! The shape of a world, drawn from its seed: how large it is, how long it lasts, and what goes wrong in it.

use std::{ops::RangeInclusive, time::Duration};

use dunlin_coordinator_core::{
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    view::{
        Resource,
        services::SERVICES,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::keys::{BUDGETS, DAEMON_SETS, STATEFUL_SETS};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The coordinator's process ends.
    CoordinatorCrash,
    /// An agent's process ends; its guests go on.
    AgentCrash,
    /// A runner's process ends, and its guests with it.
    RunnerCrash,
    /// A node loses its power.
    PowerCut,
    /// A node reaches nobody for a while.
    Partition,
    /// Most nodes reach nobody for a while.
    Outage,
    /// A connection is lost.
    Loss,
    /// A disk is slow for a while.
    SlowDisk,
    /// A node's wall clock jumps, or the coordinator's.
    ClockJump,
    /// A node is cloned, and both run for a while.
    Clone,
    /// The coordinator's store is put back to a backup.
    Restore,
    /// The API refuses what controllers create, as it does while a webhook is down.
    Refusal,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::CoordinatorCrash,
        Self::AgentCrash,
        Self::RunnerCrash,
        Self::PowerCut,
        Self::Partition,
        Self::Outage,
        Self::Loss,
        Self::SlowDisk,
        Self::ClockJump,
        Self::Clone,
        Self::Restore,
        Self::Refusal,
    ];
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    /// Names that pods go by.
    pub(crate) identities: usize,
    /// How long clients and faults are at work.
    pub(crate) active: Duration,
    /// Mean time between two requests of clients.
    pub(crate) request_every: Duration,
    /// Mean time between two faults.
    pub(crate) fault_every: Duration,
    pub(crate) faults: Vec<Fault>,
    /// Kinds of workloads that clients have, budgets and Services.
    pub(crate) workloads: Vec<Resource>,
    pub(crate) room: Room,
    pub(crate) care: Care,
}

/// Whether pods of workloads are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    None,
    /// Many have probes, and now and then one fails.
    Probed,
}

/// Whether all pods that clients want fit on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Ample,
    /// Pods of workloads ask for much, and some are more important than others.
    Scarce,
}

impl Shape {
    /// Draws a shape. Most worlds are small: a defect that needs a thousand nodes to show is rare, and a small world runs in no time.
    pub(crate) fn draw(rng: &mut SmallRng, nodes: Option<RangeInclusive<usize>>) -> Self {
        let nodes = match nodes {
            Some(range) => rng.random_range(range),
            None => match rng.random_range(0..1000) {
                0..=929 => rng.random_range(3..=8),
                930..=984 => rng.random_range(9..=40),
                985..=997 => rng.random_range(41..=200),
                _ => rng.random_range(201..=1000),
            },
        };
        let identities = if nodes <= 40 { rng.random_range(2..=2 * nodes) } else { nodes };
        let rarely = |rng: &mut SmallRng, fault: Fault| match fault {
            Fault::Clone | Fault::Restore => rng.random_bool(0.1),
            _ => rng.random_bool(0.4),
        };
        let faults = Fault::ALL.into_iter().filter(|fault| rarely(rng, *fault)).collect();
        // Many worlds have none: there clients have more to do with the pods that they name themselves.
        let share = if rng.random_bool(0.4) { 0.0 } else { 0.5 };
        let workloads = WORKLOADS.into_iter().filter(|_| rng.random_bool(share)).collect();
        let is_small = nodes <= SCARCE_NODES_MAX;
        let room = if is_small && rng.random_bool(0.3) { Room::Scarce } else { Room::Ample };
        let active = Duration::from_secs(rng.random_range(60..=480));
        let request_every = Duration::from_millis(rng.random_range(300..=4_000));
        let fault_every = Duration::from_millis(rng.random_range(2_000..=30_000));
        // What scales a workload is nothing without it.
        let mut workloads: Vec<Resource> = workloads;
        if workloads.contains(&DEPLOYMENTS) && rng.random_bool(0.3) {
            workloads.push(HORIZONTAL_POD_AUTOSCALERS);
        }
        let care = if nodes <= PROBED_NODES_MAX && rng.random_bool(0.3) { Care::Probed } else { Care::None };
        Self { nodes, identities, active, request_every, fault_every, faults, workloads, room, care }
    }
}

/// In larger worlds looks would be most of what happens.
const PROBED_NODES_MAX: usize = 40;

/// In larger worlds there is always room.
const SCARCE_NODES_MAX: usize = 12;

const WORKLOADS: [Resource; 8] =
    [DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, CRON_JOBS, BUDGETS, SERVICES];

/// A generator of its own for each part of a world, so that a change in one does not shift what the others draw.
pub(crate) fn child(seed: u64, part: u64) -> SmallRng {
    SmallRng::seed_from_u64(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03),
    )
}

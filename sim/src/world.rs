//! One world: a coordinator and its nodes on virtual time, what clients ask of it, what goes wrong, and when all has to be well.

mod clients;
mod converged;
mod faults;
mod manifests;
mod settled;
pub(crate) mod workloads;

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use dunlin_coordinator_core::{controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS, view::ObjectId};
use dunlin_link::moment::Moment;
use jiff::SignedDuration;
use rand::{Rng, rngs::SmallRng};
use serde_json::Value;

use crate::{
    agenda::Agenda,
    context::{Context, Event},
    coordinator::Coordinator,
    network::{Network, Side},
    node::Node,
    oracle::Oracle,
    plant::Plant,
    shape::{Fault, Shape, child},
    trace::Trace,
};

/// What a run is told beside its seed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many nodes; drawn when `None`.
    pub nodes: Option<RangeInclusive<usize>>,
    /// A bug to plant.
    pub plant: Option<Plant>,
    /// How many of the last things that happened a violation shows.
    pub trace_lines: usize,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// How many nodes it had.
    pub nodes: usize,
    /// How much happened.
    pub steps: u64,
    /// Stands for all that happened: equal for equal runs.
    pub hash: u64,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// What was broken first, if anything was.
    pub violation: Option<Violation>,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// In words.
    pub what: String,
    /// The last things that happened before it, a line each.
    pub trace: Vec<String>,
}

/// See the module.
#[derive(Debug)]
struct World {
    shape: Shape,
    context: Context,
    coordinator: Coordinator,
    nodes: Vec<Node>,
    clients: SmallRng,
    chance: SmallRng,
    requests: u64,
    uids: u64,
    /// What the clients want of workloads.
    manifests: BTreeMap<ObjectId, Value>,
    phase: Phase,
}

/// How far a world has come.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Clients and faults are at work.
    Active,
    /// Nothing goes wrong any more; all has to become well.
    Healing {
        since: Moment,
        /// Since when nothing was written, and how much was before.
        quiet: (Moment, u64),
    },
    /// All is well and nothing changes, so nothing is written.
    Idle {
        since: Moment,
        until: Moment,
        written: u64,
    },
    Done,
}

/// Runs the world of a seed to its end.
pub fn run(seed: u64, options: &Options) -> Report {
    let mut world = World::new(seed, options);
    world.begin();
    while world.context.oracle.violation().is_none()
        && !matches!(world.phase, Phase::Done)
        && let Some((at, event)) = world.context.agenda.next()
    {
        world.context.now = at;
        world.handle(event);
    }
    let trace = &world.context.trace;
    let violation = world.context.oracle.violation();
    let violation = violation.map(|what| Violation { what: what.to_owned(), trace: trace.lines() });
    Report {
        seed,
        nodes: world.shape.nodes,
        steps: trace.steps(),
        hash: trace.hash(),
        elapsed: world.context.now.0,
        violation,
    }
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let shape = Shape::draw(&mut child(seed, 1), options.nodes.clone());
        let context = Context {
            now: Moment::default(),
            agenda: Agenda::new(),
            // Room for as many copies as there are nodes.
            network: Network::new(shape.nodes * 2, child(seed, 2)),
            trace: Trace::new(options.trace_lines),
            oracle: Oracle::default(),
            rng: child(seed, 3),
            plant: options.plant,
            load_milli: CALM_LOAD_MILLI,
            clock_error: SignedDuration::ZERO,
        };
        let nodes = (0..shape.nodes).map(|index| Node::new(index, shape.nodes)).collect();
        Self {
            shape,
            context,
            coordinator: Coordinator::new(),
            nodes,
            clients: child(seed, 4),
            chance: child(seed, 5),
            requests: 0,
            uids: 0,
            manifests: BTreeMap::new(),
            phase: Phase::Active,
        }
    }

    fn begin(&mut self) {
        self.coordinator.start(&mut self.context);
        for node in &mut self.nodes {
            node.power_on(&mut self.context);
        }
        self.context.agenda.at(Moment(START), Event::Client);
        self.context.agenda.at(Moment(START), Event::Fault);
        self.context.agenda.at(Moment(LOOK_EVERY), Event::Look);
    }

    fn handle(&mut self, event: Event) {
        let context = &mut self.context;
        match event {
            Event::Read { life } => self.coordinator.handle_read(life, context),
            Event::Flushed { life } => self.coordinator.handle_flushed(life, context),
            Event::Folded { life } => self.coordinator.handle_folded(life, context),
            Event::Wake { life } => self.coordinator.handle_wake(life, context),
            Event::SessionTime { conn } => self.coordinator.handle_session_time(conn, context),
            Event::Accepted { conn } => self.accept(conn),
            Event::Connected { conn } => {
                if let Some(node) = context.network.node_of(conn) {
                    self.nodes[node].handle_connected(conn, context);
                }
            }
            Event::Broken { conn, side: Side::Coordinator } => self.coordinator.handle_broken(conn, context),
            Event::Broken { conn, side: Side::Node } => {
                if let Some(node) = context.network.node_of(conn) {
                    self.nodes[node].handle_broken(conn, context);
                }
            }
            Event::Arrived { conn, to, bytes } => self.arrive(conn, to, &bytes),
            Event::AgentTime { node, life } => self.nodes[node].handle_agent_time(life, context),
            Event::Written { node, boot, life } => self.nodes[node].handle_written(boot, life, context),
            Event::Sandbox { node, life } => self.nodes[node].handle_sandbox(life, context),
            Event::Fetched { node, life, digest } => self.nodes[node].handle_fetched(life, digest, context),
            Event::Checked { node, life, order } => self.nodes[node].handle_checked(life, &order, context),
            Event::Guest { node, boot } => self.nodes[node].handle_guest(boot, context),
            Event::Client => self.client(),
            Event::Fault => self.fault(),
            Event::Repair(repair) => self.repair(repair),
            Event::Look => self.look(),
        }
    }

    /// A dial arrives at the coordinator's machine.
    fn accept(&mut self, conn: crate::network::ConnId) {
        let Some(node) = self.context.network.node_of(conn) else { return };
        let back = self.context.network.delay(node);
        if !self.coordinator.accepts() || self.context.network.is_lost(conn) {
            self.context.agenda.at(self.context.now + back, Event::Broken { conn, side: Side::Node });
            return;
        }
        let name = self.nodes[node].name.clone();
        self.coordinator.handle_accepted(conn, name, &mut self.context);
        self.context.agenda.at(self.context.now + back, Event::Connected { conn });
    }

    fn arrive(&mut self, conn: crate::network::ConnId, to: Side, bytes: &[u8]) {
        if self.context.network.is_lost(conn) {
            return;
        }
        match (to, self.context.network.node_of(conn)) {
            (Side::Coordinator, _) => self.coordinator.handle_bytes(conn, bytes, &mut self.context),
            (Side::Node, Some(node)) => self.nodes[node].handle_bytes(conn, bytes, &mut self.context),
            (Side::Node, None) => {}
        }
    }

    fn look(&mut self) {
        self.context.agenda.at(self.context.now + LOOK_EVERY, Event::Look);
        let Context { oracle, network, now, .. } = &mut self.context;
        oracle.look(self.nodes.len(), network, *now);
        let now = *now;
        match self.phase {
            Phase::Active if now.0 >= self.shape.active => {
                self.heal();
                self.phase = Phase::Healing { since: now, quiet: (now, self.written()) };
            }
            Phase::Healing { since, .. } if now.since(since) > SETTLED_WITHIN + LONGEST_BACKOFF * 2 => {
                let what =
                    self.unsettled().unwrap_or_else(|| "something is written again and again".to_owned());
                let bound = now.since(since).as_secs();
                self.context.oracle.violate(format!("{bound} s after the last fault: {what}"));
            }
            Phase::Healing { since, quiet: (_, before) } if self.written() > before => {
                self.phase = Phase::Healing { since, quiet: (now, self.written()) };
                self.tidy_up();
            }
            Phase::Healing { since, quiet: (quiet_since, written) } => match self.unsettled() {
                None if now.since(quiet_since) >= self.quiet() => {
                    self.phase = Phase::Idle { since, until: now + IDLE, written };
                }
                None => {}
                Some(what) if now.since(since) > SETTLED_WITHIN => {
                    let bound = SETTLED_WITHIN.as_secs();
                    self.context.oracle.violate(format!("{bound} s after the last fault: {what}"));
                }
                Some(_) => self.tidy_up(),
            },
            // What is said of a copy's pods is not waited for, and may change when a time comes that it named.
            Phase::Idle { since, written, .. }
                if self.written() > written && !self.context.oracle.cloned.is_empty() =>
            {
                self.phase = Phase::Healing { since, quiet: (now, self.written()) };
            }
            Phase::Idle { until, written, .. } => {
                if self.written() > written {
                    self.context.oracle.violate("something is written although nothing changes".to_owned());
                } else if now >= until {
                    self.phase = Phase::Done;
                }
            }
            Phase::Active | Phase::Done => {}
        }
    }

    /// How much was ever written, on all disks.
    fn written(&self) -> u64 {
        self.coordinator.store.commits() + self.nodes.iter().map(|node| node.writes).sum::<u64>()
    }

    /// How long nothing is written before all counts as settled. What the store does not know after a restore, or
    /// because a copy of its node spoke for it, runs on unseen, and may be waiting for its next start.
    fn quiet(&self) -> Duration {
        let oracle = &self.context.oracle;
        if oracle.restores > 0 || !oracle.cloned.is_empty() {
            LONGEST_BACKOFF
        } else if self.shape.workloads.contains(&HORIZONTAL_POD_AUTOSCALERS) {
            LONGEST_SCALING
        } else if self.shape.faults.contains(&Fault::Refusal) {
            LONGEST_RETRY
        } else {
            QUIET
        }
    }

    /// Draws a time around a mean.
    fn after(rng: &mut SmallRng, mean: Duration) -> Duration {
        rng.random_range(Duration::ZERO..mean * 2)
    }
}

/// What scaled workloads have to do when nothing goes on: as much as three pods are to do.
const CALM_LOAD_MILLI: i64 = 3 * manifests::AIM_MILLI;

/// When clients and faults begin.
const START: Duration = Duration::from_secs(2);

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Within which time all has to be well once nothing goes wrong any more: longer than the longest silence, grace, toleration and
/// delay of a reconnect one after the other.
const SETTLED_WITHIN: Duration = Duration::from_secs(900);

/// What nodes remember is gathered for a second.
const QUIET: Duration = Duration::from_secs(5);

/// Longer than a controller waits that was refused something.
const LONGEST_RETRY: Duration = Duration::from_secs(35);

/// Longer than an autoscaler waits before it takes pods away, and looks once more.
const LONGEST_SCALING: Duration = Duration::from_secs(95);

/// Longer than a container that keeps ending waits for its next start.
const LONGEST_BACKOFF: Duration = Duration::from_secs(310);

/// How long nothing may be written once all is well.
const IDLE: Duration = Duration::from_secs(120);

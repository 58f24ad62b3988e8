//! What goes wrong, and how it is mended.

use std::time::Duration;

use dunlin_link::moment::Moment;
use jiff::SignedDuration;
use rand::Rng;

use super::{Phase, World};
use crate::{
    context::{Event, Repair},
    shape::Fault,
    trace::Note,
};

impl World {
    /// Something goes wrong, and the next fault is on its way.
    pub(super) fn fault(&mut self) {
        if !matches!(self.phase, Phase::Active) || self.shape.faults.is_empty() {
            return;
        }
        let next = Self::after(&mut self.chance, self.shape.fault_every);
        self.context.agenda.at(self.context.now + next, Event::Fault);
        let fault = self.shape.faults[self.chance.random_range(0..self.shape.faults.len())];
        let node = self.chance.random_range(0..self.shape.nodes);
        self.context.trace.note(self.context.now, Note::Fault(format!("{fault:?} (n{node})")));
        self.strike(fault, node);
    }

    pub(super) fn repair(&mut self, repair: Repair) {
        let context = &mut self.context;
        match repair {
            Repair::Coordinator => self.coordinator.start(context),
            Repair::Machine(node) => self.nodes[node].power_on(context),
            Repair::Agent(node) => self.nodes[node].start_agent(context),
            Repair::Path(node) => context.network.mend(node),
        }
    }

    /// Ends all faults, and copies of nodes.
    pub(super) fn heal(&mut self) {
        let context = &mut self.context;
        context.trace.note(context.now, Note::Fault("none any more".to_owned()));
        for node in self.shape.nodes..self.nodes.len() {
            self.nodes[node].power_off(context);
        }
        self.coordinator.slow_until = Moment::default();
        self.coordinator.refusing_until = Moment::default();
        self.coordinator.start(context);
        for node in &mut self.nodes[..self.shape.nodes] {
            context.network.mend(node.index);
            node.slow_until = Moment::default();
            node.calm_guests();
            node.power_on(context);
            node.start_agent(context);
        }
        self.release_workloads();
    }

    fn strike(&mut self, fault: Fault, node: usize) {
        let soon =
            self.context.now + self.chance.random_range(Duration::from_millis(50)..Duration::from_secs(10));
        let later =
            self.context.now + self.chance.random_range(Duration::from_secs(1)..Duration::from_secs(90));
        let context = &mut self.context;
        match fault {
            Fault::CoordinatorCrash => {
                self.coordinator.crash(context);
                context.agenda.at(soon, Event::Repair(Repair::Coordinator));
            }
            Fault::AgentCrash => {
                self.nodes[node].kill_agent(context);
                context.agenda.at(soon, Event::Repair(Repair::Agent(node)));
            }
            Fault::RunnerCrash => self.nodes[node].kill_runner(context),
            Fault::PowerCut => {
                self.nodes[node].power_off(context);
                let on = if self.chance.random_bool(0.5) { soon } else { later };
                context.agenda.at(on, Event::Repair(Repair::Machine(node)));
            }
            Fault::Partition => self.cut(node, later),
            Fault::Outage => {
                for node in 0..self.shape.nodes {
                    if self.chance.random_bool(0.8) {
                        self.cut(node, later);
                    }
                }
            }
            Fault::Loss => {
                if let Some(conn) = self.nodes[node].connection() {
                    context.lose(conn);
                }
            }
            Fault::SlowDisk if self.chance.random_bool(0.3) => self.coordinator.slow_until = later,
            Fault::SlowDisk => self.nodes[node].slow_until = later,
            Fault::ClockJump if self.chance.random_bool(0.2) => {
                // What it waits for comes later by as much as its clock goes back.
                let error = [-120, -5, 0, 5, 3_600, 86_400];
                let seconds = error[self.chance.random_range(0..error.len())];
                context.clock_error = SignedDuration::from_secs(seconds);
                context.oracle.workloads.clock_jumps(context.now);
            }
            Fault::ClockJump => {
                let jump = [-1_800_000_000_000, -3_600_000, -5_000, 5_000, 86_400_000, 0];
                self.nodes[node].wall_offset_ms = jump[self.chance.random_range(0..jump.len())];
            }
            Fault::Refusal => self.coordinator.refusing_until = later,
            Fault::Clone => self.clone_node(node),
            Fault::Restore => self.restore(soon),
        }
    }

    fn cut(&mut self, node: usize, until: Moment) {
        let open: Vec<_> = self.nodes[node].connection().into_iter().collect();
        self.context.cut(node, &open);
        self.context.agenda.at(until, Event::Repair(Repair::Path(node)));
    }

    fn clone_node(&mut self, node: usize) {
        let index = self.nodes.len();
        if index >= self.shape.nodes * 2 {
            return;
        }
        let copy = self.nodes[node].copy(index);
        self.context.oracle.cloned.insert(copy.name.clone());
        self.nodes.push(copy);
        self.nodes[index].power_on(&mut self.context);
    }

    /// Takes a backup the first time, and goes back to it later.
    fn restore(&mut self, up_at: Moment) {
        let context = &mut self.context;
        if !self.coordinator.has_backup() {
            self.coordinator.take_backup();
            return;
        }
        self.coordinator.crash(context);
        self.coordinator.restore(context);
        context.agenda.at(up_at, Event::Repair(Repair::Coordinator));
    }
}

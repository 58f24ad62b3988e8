//! How runs are stopped: all of a pod, or one, in which order and with how much grace.

use dunlin_link::ContainerId;

use super::{
    Command, ContainerIndex, Pod, Severity,
    worker::{Run, Signal, Then},
};
use crate::{
    clock::{Mono, Now},
    reasons,
};

impl Pod {
    /// The container's image changed: its run is stopped, and the next begins at once.
    pub(super) fn replace(&mut self, index: ContainerIndex, now: Now) {
        let told = |name: &str| format!("Container {name} definition changed, will be restarted");
        self.end_run(index, (self.grace_ms(), Then::Replace), told, now);
    }

    /// Stops containers together, then sidecars one after the other, the last started first.
    pub(super) fn stop_containers(&mut self, until: Mono, now: Now) {
        for index in self.indexes().filter(|index| !self.is_sidecar(*index)).collect::<Vec<_>>() {
            self.stop_live(index, until.millis_after(now.mono), now);
        }
        let holds_up = |index: &ContainerIndex| !self.is_sidecar(*index) && !self.is_ephemeral(*index);
        let main_alive = self.indexes().filter(holds_up).any(|index| self.worker(index).live_id().is_some());
        if main_alive {
            return;
        }
        let last = self
            .indexes()
            .filter(|index| self.is_sidecar(*index) && self.worker(*index).live_id().is_some())
            .last();
        if let Some(index) = last {
            self.stop_live(index, until.millis_after(now.mono), now);
        }
    }

    fn stop_live(&mut self, index: ContainerIndex, grace_ms: u64, now: Now) {
        self.end_run(index, (grace_ms, Then::Policy), |name| format!("Stopping container {name}"), now);
    }

    /// Stops a run that lives and is not being stopped yet, and says so.
    fn end_run(
        &mut self,
        index: ContainerIndex,
        how: (u64, Then),
        told: impl FnOnce(&str) -> String,
        now: Now,
    ) {
        let Some(id) = self.worker(index).live_id().cloned() else { return };
        if matches!(self.worker(index).run, Run::Stopping { .. }) {
            return;
        }
        let message = told(&self.container(index).name);
        self.push_event(now, index, (Severity::Normal, reasons::KILLING), message);
        self.stop(index, id, how, now);
    }

    /// Stops a run that goes on, by way of its hook if it has one.
    pub(super) fn stop(
        &mut self,
        index: ContainerIndex,
        id: ContainerId,
        (grace_ms, then): (u64, Then),
        now: Now,
    ) {
        let started_at = match self.worker(index).run {
            Run::Running { started_at, .. } => Some(started_at),
            _ => None,
        };
        let signal = self.begin_pre_stop(index, grace_ms, now);
        if signal == Signal::Sent {
            self.commands.push_back(Command::Stop { id: id.clone(), grace_ms });
        }
        self.worker_mut(index).advance(Run::Stopping { id, started_at, then, signal });
    }

    pub(super) fn shorten_grace(&mut self, until: Mono, now: Now) {
        let grace_ms = until.millis_after(now.mono);
        for worker in &mut self.workers {
            match &mut worker.run {
                Run::Stopping { id, signal: Signal::Sent, .. } => {
                    self.commands.push_back(Command::Stop { id: id.clone(), grace_ms });
                }
                Run::Stopping { signal: Signal::AfterHook { ends, wakes, floor_ms, .. }, .. } => {
                    (*ends, *wakes) = ((*ends).min(until), (*wakes).min(until));
                    *floor_ms = (*floor_ms).min(grace_ms);
                }
                _ => {}
            }
        }
    }

    pub(super) fn grace_ms(&self) -> u64 {
        u64::from(self.assignment.spec.termination_grace_seconds) * 1000
    }

    pub(super) fn grace_end(&self, now: Now) -> Mono {
        now.mono.plus_millis(self.grace_ms())
    }
}

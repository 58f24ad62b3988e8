//! What of a pod must outlive the agent, and when it must be durable.

use super::{Deletion, InPending, Pod, Recording, Stage, worker::Run};
use crate::{
    clock::Now,
    memory::{ContainerMemory, End, PodMemory, RunMemory},
    termination,
};

impl Pod {
    /// Whether there is something to remember. While a memory is on its way to disk, nothing else is asked for.
    pub fn recording(&self, now: Now) -> Recording {
        if !self.synced || self.remembered.pending.is_some() || matches!(self.stage, Stage::Refused { .. }) {
            return Recording::Clean;
        }
        let known = self.memory(now);
        let durable = self.remembered.durable;
        if durable == known.facts() {
            return if self.remembered.ended.is_empty() { Recording::Clean } else { Recording::Soon };
        }
        if self.is_end_volatile() { Recording::First } else { Recording::Soon }
    }

    /// What to write; to be followed by [`Pod::handle_remembered`] or [`Pod::handle_not_remembered`].
    pub fn take_memory(&mut self, now: Now) -> PodMemory {
        for (_, state) in &mut self.remembered.ended {
            *state = InPending::Yes;
        }
        let memory = self.memory(now);
        self.remembered.pending = Some(memory.facts());
        memory
    }

    /// Whether the pod is over for good and a crash would forget it. A deletion needs no such promise: its tombstone stays until
    /// the coordinator has recorded the end.
    pub(super) fn is_end_volatile(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
            && self.deletion != Deletion::Ordered
            && self.remembered.durable.end.is_none()
    }

    /// Ends that are durable need not be kept by the sandbox.
    pub(super) fn confirm_memory(&mut self) {
        let Some(facts) = self.remembered.pending.take() else { return };
        self.remembered.durable = facts;
        let ended = std::mem::take(&mut self.remembered.ended);
        let (durable, later): (Vec<_>, Vec<_>) =
            ended.into_iter().partition(|(_, state)| *state == InPending::Yes);
        self.remembered.ended = later;
        self.commands.extend(durable.into_iter().map(|(id, _)| super::Command::Remove { id }));
    }

    fn memory(&self, now: Now) -> PodMemory {
        let containers = self.indexes().filter_map(|index| {
            let worker = self.worker(index);
            let run = match (&worker.run, &worker.last) {
                (Run::Starting { id }, _) => RunMemory::Live { id: id.clone(), started_at: None },
                (Run::Running { id, started_at }, _) => {
                    RunMemory::Live { id: id.clone(), started_at: Some(*started_at) }
                }
                (Run::Stopping { id, started_at, .. }, _) => {
                    RunMemory::Live { id: id.clone(), started_at: *started_at }
                }
                (Run::Terminated { how, .. }, _) => RunMemory::Ended(how.clone()),
                // The next run has not begun: what there is to remember is the end before it.
                (Run::Pending | Run::Pulling(_) | Run::Creating(_), Some(last)) => {
                    let is_undone = self.is_to_be_repeated(index);
                    RunMemory::Ended(if is_undone { termination::undone(last) } else { last.clone() })
                }
                (Run::Pending | Run::Pulling(_) | Run::Creating(_), None) => return None,
            };
            let begun = worker.begun_attempt()?;
            let last = if worker.run.has_begun() { worker.last.clone() } else { None };
            Some(ContainerMemory {
                name: self.container(index).name.clone(),
                attempt: begun,
                digest: worker.digest,
                run,
                last,
                backoff: worker.crashes.parts().map(|(delay_ms, updated)| (delay_ms, now.wall_at(updated))),
            })
        });
        let end = match self.stage {
            Stage::Ended(_) if self.deletion == Deletion::Ordered => Some(End::Deleted),
            Stage::Ended(why) => Some(why),
            _ => None,
        };
        PodMemory { containers: containers.collect(), end, failure: self.failure.clone() }
    }
}

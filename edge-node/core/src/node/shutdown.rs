//! The machine goes down for good: its pods are ended in order, and say why. An agent that only restarts leaves them running.

use super::{Entry, NodeCore, pressure::CRITICAL_PRIORITY};
use crate::{
    clock::{Mono, Now},
    memory::Failure,
    reasons,
};

/// A shutdown that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shutdown {
    /// When critical pods are ended, if the others have not stopped before.
    critical_at: Mono,
    /// The end of all graces.
    until: Mono,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Pods that are not critical are being ended.
    First,
    /// All are.
    All,
}

impl NodeCore {
    /// Ends all pods of the coordinator: those that are not critical at once, the others `critical_ms` before `grace_ms` are over, or as
    /// soon as the first have stopped. They have failed for good; the coordinator's controllers make others. From here on no pod is taken.
    /// Static pods are left to the end of the machine, because they start again with it.
    pub fn handle_node_shutdown(&mut self, grace_ms: u64, critical_ms: u64, now: Now) {
        if self.machine.shutdown.is_some() {
            return;
        }
        let until = now.mono.plus_millis(grace_ms);
        let critical_at = now.mono.plus_millis(grace_ms.saturating_sub(critical_ms));
        self.machine.shutdown = Some(Shutdown { critical_at, until, stage: Stage::First });
        self.end_all(|entry| !is_critical(entry), critical_at, now);
        self.continue_shutdown(now);
        self.tell_state(now);
    }

    /// Whether the machine is going down, and nothing of its pods is left to end.
    pub fn is_shut_down(&self, now: Now) -> bool {
        self.machine.shutdown.is_some_and(|shutdown| {
            now.mono >= shutdown.until || self.ended(|_| true) && self.remembering.is_none()
        })
    }

    /// Ends critical pods when it is their turn.
    pub(super) fn continue_shutdown(&mut self, now: Now) {
        let Some(Shutdown { critical_at, until, stage: Stage::First }) = self.machine.shutdown else {
            return;
        };
        if now.mono >= critical_at || self.ended(|entry| !is_critical(entry)) {
            self.machine.shutdown = Some(Shutdown { critical_at, until, stage: Stage::All });
            self.end_all(is_critical, until, now);
        }
    }

    /// When the next step is due at the latest.
    pub(super) fn shutdown_due(&self) -> Option<Mono> {
        let Shutdown { critical_at, stage, .. } = self.machine.shutdown?;
        (stage == Stage::First).then_some(critical_at)
    }

    fn end_all(&mut self, which: impl Fn(&Entry) -> bool, until: Mono, now: Now) {
        let chosen = self.pods.iter().filter(|(_, entry)| !entry.is_static() && which(entry));
        let uids: Vec<_> = chosen.map(|(uid, _)| uid.clone()).collect();
        for uid in uids {
            let failure = Failure {
                reason: reasons::TERMINATED.to_owned(),
                message: "Pod was terminated in response to imminent node shutdown.".to_owned(),
            };
            let grace_ms = until.millis_after(now.mono);
            self.with_pod(&uid, now, |pod, now| pod.handle_failure(failure, grace_ms, now));
        }
    }

    fn ended(&self, which: impl Fn(&Entry) -> bool) -> bool {
        self.pods.values().filter(|entry| !entry.is_static() && which(entry)).all(|entry| entry.pod.is_over())
    }
}

fn is_critical(entry: &Entry) -> bool {
    entry.pod.assignment().care.priority >= CRITICAL_PRIORITY
}

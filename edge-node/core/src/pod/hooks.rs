//! Hooks: what is asked of a container after it started, and before it is told to stop.

use dunlin_link::{ContainerId, care::Action};

use super::{
    Command, ContainerIndex, Pod, Severity,
    asking::PostStart,
    worker::{Run, Signal, Then},
};
use crate::{
    check::{Accept, CheckTicket, Outcome},
    clock::{Mono, Now},
    reasons,
};

impl Pod {
    /// Begins hooks of runs that have started, and ends those that only waited.
    pub(super) fn run_post_starts(&mut self, now: Now) {
        for index in self.indexes() {
            if !matches!(self.worker(index).run, Run::Running { .. }) {
                continue;
            }
            match self.worker(index).asking.post_start {
                PostStart::NotBegun => self.begin_post_start(index, now),
                PostStart::Sleeps(until) if until <= now.mono => {
                    self.worker_mut(index).asking.post_start = PostStart::Done;
                }
                _ => {}
            }
        }
    }

    /// When a hook that only waits is over.
    pub(super) fn hooks_end_at(&self) -> Option<Mono> {
        let waits = self.workers.iter().filter_map(|worker| match (&worker.run, worker.asking.post_start) {
            (Run::Stopping { signal: Signal::AfterHook { wakes, .. }, .. }, _) => Some(*wakes),
            (Run::Running { .. }, PostStart::Sleeps(until)) => Some(until),
            _ => None,
        });
        waits.min()
    }

    /// How a container is told to stop: at once, or after its hook.
    pub(super) fn begin_pre_stop(&mut self, index: ContainerIndex, grace_ms: u64, now: Now) -> Signal {
        let hook = self.care(index).and_then(|care| care.pre_stop.as_deref()).cloned();
        let Some(hook) =
            hook.filter(|_| grace_ms > 0 && matches!(self.worker(index).run, Run::Running { .. }))
        else {
            return Signal::Sent;
        };
        let ends = now.mono.plus_millis(grace_ms);
        if let Action::Sleep { seconds } = hook {
            let wakes = now.mono.plus_millis(u64::from(seconds) * 1000).min(ends);
            return Signal::AfterHook { ticket: None, ends, wakes, floor_ms: GRACE_MS_MIN };
        }
        match self.hook_check(index, &hook, grace_ms) {
            Some(ticket) => {
                Signal::AfterHook { ticket: Some(ticket), ends, wakes: ends, floor_ms: GRACE_MS_MIN }
            }
            None => {
                self.tell_pre_stop_failed(index, now);
                Signal::Sent
            }
        }
    }

    /// The hook before a stop has ended, well or not: the stop follows.
    pub(super) fn pre_stop_answered(&mut self, index: ContainerIndex, outcome: &Outcome, now: Now) {
        if matches!(outcome, Outcome::Failure(_) | Outcome::Error(_)) {
            self.tell_pre_stop_failed(index, now);
        }
        self.signal(index, now);
    }

    /// Tells containers to stop whose hooks are over.
    pub(super) fn signal_due(&mut self, now: Now) {
        for index in self.indexes() {
            if let Run::Stopping { signal: Signal::AfterHook { wakes, .. }, .. } = &self.worker(index).run
                && *wakes <= now.mono
            {
                self.signal(index, now);
            }
        }
    }

    pub(super) fn post_start_answered(&mut self, index: ContainerIndex, outcome: &Outcome, now: Now) {
        match outcome {
            Outcome::Success | Outcome::Warning(_) => {
                self.worker_mut(index).asking.post_start = PostStart::Done;
            }
            Outcome::Failure(_) | Outcome::Error(_) => self.post_start_failed(index, now),
        }
    }

    fn begin_post_start(&mut self, index: ContainerIndex, now: Now) {
        let hook = self.care(index).and_then(|care| care.post_start.as_deref()).cloned();
        let next = match hook {
            None => PostStart::Done,
            Some(Action::Sleep { seconds }) => {
                PostStart::Sleeps(now.mono.plus_millis(u64::from(seconds) * 1000))
            }
            Some(action) => match self.hook_check(index, &action, POST_START_MS_MAX) {
                Some(ticket) => PostStart::Asked(ticket),
                None => return self.post_start_failed(index, now),
            },
        };
        self.worker_mut(index).asking.post_start = next;
    }

    /// What the container answered is told to nobody: it may be secret.
    fn post_start_failed(&mut self, index: ContainerIndex, now: Now) {
        let Run::Running { id, .. } = &self.worker(index).run else { return };
        let id: ContainerId = id.clone();
        let warning = (Severity::Warning, reasons::FAILED_POST_START_HOOK);
        self.push_event(now, index, warning, "PostStartHook failed".to_owned());
        let killing = (Severity::Normal, reasons::KILLING);
        self.push_event(now, index, killing, reasons::FAILED_POST_START_HOOK.to_owned());
        self.worker_mut(index).asking.post_start = PostStart::Failed;
        self.stop(index, id, (self.grace_ms(), Then::Restart), now);
    }

    fn tell_pre_stop_failed(&mut self, index: ContainerIndex, now: Now) {
        let warning = (Severity::Warning, reasons::FAILED_PRE_STOP_HOOK);
        self.push_event(now, index, warning, "PreStopHook failed".to_owned());
    }

    /// Has a hook's action done; `None` when that is not possible.
    fn hook_check(&mut self, index: ContainerIndex, action: &Action, timeout_ms: u64) -> Option<CheckTicket> {
        // Kubernetes lets this be written and never does it.
        if matches!(action, Action::TcpSocket { .. } | Action::Grpc { .. }) {
            return None;
        }
        let id = self.worker(index).live_id().cloned()?;
        let check = self.check(index, action, (Accept::Anything, timeout_ms)).ok()?;
        let ticket = self.next_ticket();
        self.commands.push_back(Command::Check { container: index, id, ticket, check });
        Some(ticket)
    }

    /// Tells a container to stop, in what its hook has left of the grace.
    fn signal(&mut self, index: ContainerIndex, now: Now) {
        let Run::Stopping { id, signal, .. } = &mut self.worker_mut(index).run else { return };
        let Signal::AfterHook { ends, floor_ms, .. } = *signal else { return };
        *signal = Signal::Sent;
        let (id, grace_ms) = (id.clone(), ends.millis_after(now.mono).max(floor_ms));
        self.commands.push_back(Command::Stop { id, grace_ms });
    }
}

/// What a container has at least between the end of its hook and the end of its run; the kubelet's number.
const GRACE_MS_MIN: u64 = 2_000;

/// How long a hook after the start may take.
const POST_START_MS_MAX: u64 = 30_000;

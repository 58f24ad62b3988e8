//! Pods that the node ends before their time, for want of something or because the machine goes down, and what goes wrong in runs that go on.

use dunlin_link::{ContainerId, status::Terminated};

use super::{Pod, Severity, Stage, worker::Run};
use crate::{
    clock::Now,
    memory::{End, Failure},
    reasons,
};

impl Pod {
    /// The node ends the pod: it fails, and nothing of it starts again. Containers get `grace_ms`, or what the pod gives them if that is
    /// less. A pod that is over, or is ending already, is left as it is.
    pub fn handle_failure(&mut self, failure: Failure, grace_ms: u64, now: Now) {
        if self.stage != Stage::Active || self.failure.is_some() {
            return;
        }
        let until = now.mono.plus_millis(grace_ms.min(self.grace_ms()));
        self.failure = Some(failure);
        self.end(End::Finished, until, now);
        self.settle(now);
    }

    /// Requests to a run's HTTP handler failed, `count` since it began; the run itself goes on.
    pub fn handle_requests_failed(
        &mut self,
        id: &ContainerId,
        container: &str,
        (count, last): (u64, &str),
        now: Now,
    ) {
        let Some(index) = self.indexes().find(|index| self.container(*index).name == container) else {
            return;
        };
        if !matches!(&self.worker(index).run, Run::Running { id: running, .. } if running == id) {
            return;
        }
        let requests = if count == 1 { "request" } else { "requests" };
        let message = format!("{count} {requests} to container {container} failed; the last: {last}");
        self.push_event(now, index, (Severity::Warning, reasons::REQUEST_FAILED), message);
    }

    /// A run's guest was refused something of the network. The run may have ended meanwhile, for that very reason.
    pub fn handle_denied(&mut self, id: &ContainerId, container: &str, message: String, now: Now) {
        let Some(index) = self.indexes().find(|index| self.container(*index).name == container) else {
            return;
        };
        let worker = self.worker(index);
        let has_ended = |how: &Terminated| how.container_id.as_ref() == Some(id);
        let ended = match &worker.run {
            Run::Terminated { how, .. } => Some(how),
            _ => worker.last.as_ref(),
        };
        let is_its = worker.live_id() == Some(id) || ended.is_some_and(has_ended);
        if is_its {
            let message = format!("container {container}: {message}");
            self.push_event(now, index, (Severity::Warning, reasons::DENIED), message);
        }
    }

    /// Why the node ended the pod, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the pod is active: it runs, or is about to.
    pub fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }
}

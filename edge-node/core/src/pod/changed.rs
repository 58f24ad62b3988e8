//! Another sandbox than before: what init containers have done in the last one they do again.
//!
//! As for a kubelet, whose `computePodActions` begins with the first init container where a pod's sandbox is another one, unless nothing
//! of the pod is to run any more. The node's runner is no pod's sandbox: where it ends alone, the pods in it keep their volumes and
//! addresses, and what init containers did holds. Where it is gone when an agent comes up, the machine was switched off, or all of the
//! node was.

use super::{ContainerIndex, Pod, Severity, Stage, worker::Worker};
use crate::{clock::Now, reasons};

impl Pod {
    /// The sandbox is gone with all that ran in it: the pod begins anew, if it goes on at all.
    pub(super) fn change_sandbox(&mut self, now: Now) {
        if self.stage != Stage::Active {
            return;
        }
        for index in self.indexes() {
            self.decide_next(index, now);
        }
        let has_run = self.workers.iter().any(Worker::has_begun);
        if !has_run || self.is_finished() {
            return;
        }
        let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
        self.push(now, String::new(), Severity::Normal, (reasons::SANDBOX_CHANGED.to_owned(), message));
        for index in self.indexes() {
            let is_done = self.is_plain_init(index) && self.is_done(index);
            let worker = self.worker_mut(index);
            worker.left_behind = true;
            if is_done {
                worker.begin_next();
            }
        }
    }

    /// An earlier agent ended while init containers ran again, which it therefore did not remember as done: containers ran before, and
    /// some init container is not done.
    pub(super) fn recall_changed_sandbox(&mut self) {
        let has_run = self.mains().any(|index| self.worker(index).has_begun());
        let is_open = self.indexes().any(|index| self.is_plain_init(index) && !self.is_done(index));
        if has_run && is_open {
            self.workers.iter_mut().for_each(|worker| worker.left_behind = true);
        }
    }

    /// Whether what is remembered of a container would have it counted as done, though it is to run again.
    pub(super) fn is_to_be_repeated(&self, index: ContainerIndex) -> bool {
        let worker = self.worker(index);
        self.is_plain_init(index)
            && worker.left_behind
            && !worker.run.has_begun()
            && self.restarts_at_all(index)
    }

    /// Whether init containers have nothing more to do in this sandbox, because a container has begun in it.
    pub(super) fn is_initialized(&self) -> bool {
        self.mains().any(|index| self.worker(index).has_begun_here())
    }

    /// Whether something after a sidecar has begun, which it therefore does not hold up any more.
    pub(super) fn is_passed(&self, sidecar: ContainerIndex) -> bool {
        let later = |index: &ContainerIndex| *index > sidecar && !self.is_ephemeral(*index);
        self.indexes().filter(later).any(|later| self.worker(later).has_begun_here())
    }

    /// Whether it is not a container's turn, so that its time moves nothing: what comes before it does.
    pub(super) fn waits_for_init(&self, index: ContainerIndex) -> bool {
        if self.is_ephemeral(index) {
            return false;
        }
        let initialized = self.is_initialized();
        let is_open = |earlier: ContainerIndex| {
            if self.is_sidecar(earlier) {
                return !self.is_passed(earlier) && !self.is_started(earlier);
            }
            self.is_init(earlier) && !initialized && !self.is_done(earlier)
        };
        initialized && self.is_plain_init(index)
            || self.indexes().take_while(|earlier| *earlier < index).any(is_open)
    }

    /// Whether an init container came to its good end.
    fn is_done(&self, index: ContainerIndex) -> bool {
        self.worker(index).ended().is_some_and(|end| end.exit_code == 0)
    }

    fn is_plain_init(&self, index: ContainerIndex) -> bool {
        self.is_init(index) && !self.is_sidecar(index)
    }
}

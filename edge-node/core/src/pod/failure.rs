//! Pods that the node ends before their time, for want of something or because the machine goes down.

use super::{Pod, Stage};
use crate::{
    clock::Now,
    memory::{End, Failure},
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

    /// Why the node ended the pod, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the pod is active: it runs, or is about to.
    pub fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }
}

//! Containers that wait for their volumes.

use super::{ContainerIndex, Pod, Severity};
use crate::{clock::Now, reasons};

impl Pod {
    /// A volume that the container which a [`super::Command::Create`] asked for needs is not in place; it is tried again later.
    pub fn handle_not_mounted(&mut self, index: ContainerIndex, message: String, now: Now) {
        self.push_event(now, index, (Severity::Warning, reasons::FAILED_MOUNT), message);
        self.worker_mut(index).handle_not_mounted(now.mono);
        self.settle(now);
    }

    /// The container needs something that was asked for and is to come at any moment. Nothing is said of that before it took a while.
    pub fn handle_not_mounted_yet(&mut self, index: ContainerIndex, message: String, now: Now) {
        if self.worker(index).has_waited() {
            return self.handle_not_mounted(index, message, now);
        }
        self.worker_mut(index).handle_not_mounted_yet(now.mono);
        self.settle(now);
    }

    /// What a volume lacked has come: whatever waits for volumes is tried again.
    pub fn handle_mountable(&mut self, now: Now) {
        for index in self.indexes() {
            self.worker_mut(index).handle_mountable();
        }
        self.settle(now);
    }
}

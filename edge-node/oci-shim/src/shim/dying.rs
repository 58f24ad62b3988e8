//! The last processes of a container that is being taken away. They are killed and waited for beside everything else: one that waits for
//! a disk holds up nobody but its own container's end.

use std::time::Instant;

use dunlin_link::ContainerId;
use rustix::process::{Signal, pidfd_send_signal};

use super::{Shim, operation::reap};
use crate::{clean::KILL_MAX, container::Held, rootfs, say};

/// What is waited for.
#[derive(Debug)]
pub(super) struct Dying {
    pub(super) held: Vec<Held>,
    /// When no more is waited for them.
    pub(super) until: Instant,
}

impl Shim {
    /// The runtime has done what it could: whoever is left of a container is killed, and then all of it is taken away.
    pub(super) fn end_container(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id) else {
            return self.machine.handle_cleaned(id, String::new());
        };
        let init = container.init.take();
        if let Some(init) = &init {
            // It may have ended by now.
            let _ = pidfd_send_signal(&init.fd, Signal::KILL);
        }
        let dying = Dying { held: init.into_iter().collect(), until: Instant::now() + KILL_MAX };
        self.dying.insert(id.clone(), dying);
        self.look_at_dying(id);
    }

    /// Takes those that have ended; with the last of them, the container.
    pub(super) fn look_at_dying(&mut self, id: &ContainerId) {
        let Some(dying) = self.dying.get_mut(id) else { return };
        dying.held.retain(is_there);
        if !dying.held.is_empty() {
            return;
        }
        // Those that were not seen before, or were started meanwhile.
        let container = self.containers.get(id);
        dying.held = container.map(|container| self.cgroups.kill(&container.cgroup)).unwrap_or_default();
        if dying.held.is_empty() {
            self.dying.remove(id);
            self.take_away(id);
        }
    }

    /// No longer waits for those that do not end.
    pub(super) fn give_up_dying(&mut self) {
        let now = Instant::now();
        let late = self.dying.iter().filter(|(_, dying)| dying.until <= now);
        let late: Vec<ContainerId> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            say(&format!("some processes of {id} do not end"));
            if let Some(dying) = self.dying.remove(&id) {
                // Those that are children are buried when they end.
                self.abandoned.extend(dying.held);
            }
            self.take_away(&id);
        }
    }

    fn take_away(&mut self, id: &ContainerId) {
        let mut last_words = String::new();
        if let Some(mut container) = self.containers.remove(id) {
            let chunks = container.output.finish();
            self.pass_on(id, chunks);
            self.detach(id);
            self.cgroups.remove_leaf(&container.cgroup);
            last_words = container.last_words();
            rootfs::remove(&container.dir);
        }
        self.machine.handle_cleaned(id, last_words);
    }
}

/// Whether it has not ended. One that is no child of this process is taken by somebody else.
pub(super) fn is_there(held: &Held) -> bool {
    reap(held).is_none() && !held.has_ended()
}

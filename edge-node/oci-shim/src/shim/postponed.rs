//! Containers that wait until they can be begun. While the processes that a pod's containers shared are ending, none can begin among them,
//! and there are no others yet: the kernel lets their first process go only when all of them are buried.

use std::{mem, time::Instant};

use dunlin_edge_node_core::sandbox::linux::LinuxSpec;

use super::Shim;
use crate::{clean::KILL_MAX, container::Held};

/// One of them.
#[derive(Debug)]
pub(super) struct Postponed {
    spec: Box<LinuxSpec>,
    /// When no more is waited.
    pub(super) until: Instant,
}

impl Shim {
    /// Has a container put together, at once or when it can be.
    pub(super) fn begin_container(&mut self, spec: Box<LinuxSpec>) {
        let first = self.pod.as_ref().and_then(|pod| pod.init.as_ref());
        if first.is_some_and(Held::is_exiting) {
            self.expect_strays();
            self.postponed.push(Postponed { spec, until: Instant::now() + KILL_MAX });
            return;
        }
        if let Err(why) = self.create(&spec) {
            let now = self.now();
            self.machine.handle_not_created(&spec.id, why, now);
        }
    }

    /// There are other processes among which they can begin, or there never will be.
    pub(super) fn begin_postponed(&mut self) {
        for postponed in mem::take(&mut self.postponed) {
            self.begin_container(postponed.spec);
        }
    }

    /// No longer waits for processes that do not end.
    pub(super) fn give_up_postponed(&mut self) {
        let (moment, now) = (Instant::now(), self.now());
        for late in self.postponed.extract_if(.., |postponed| postponed.until <= moment) {
            let why = "the processes that the pod's containers share do not end".to_owned();
            self.machine.handle_not_created(&late.spec.id, why, now);
        }
    }
}

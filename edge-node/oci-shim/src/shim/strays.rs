//! Children that nobody asked for: what a runtime leaves when it fails half-way, and orphans of containers on the machine's own process
//! ids. They have to be waited for: a container does not end while one of them is unburied in its namespace.

use std::{
    fs, process,
    time::{Duration, Instant},
};

use dunlin_edge_node_core::sandbox::linux::ProcessSharing;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{Shim, operation::Command};

impl Shim {
    /// Looks for some in the next moments.
    pub(super) fn expect_strays(&mut self) {
        self.strays_until = Some(Instant::now() + STRAYS_MAX);
    }

    /// When to look next.
    pub(super) fn next_look(&self) -> Option<Duration> {
        if self.strays_until.is_some() {
            return Some(LOOK_EVERY);
        }
        let has_orphans = self.pod.as_ref().is_some_and(|pod| pod.spec.processes == ProcessSharing::Host);
        has_orphans.then_some(LOOK_SOMETIMES)
    }

    /// Takes those that have ended.
    pub(super) fn bury_strays(&mut self) {
        if self.next_look().is_none() {
            return;
        }
        self.strays_until = self.strays_until.filter(|until| *until > Instant::now());
        // One of these may be what a runtime is about to tell.
        let is_telling =
            |running: &super::Running| matches!(running.what, Command::Run(_) | Command::Exec(_));
        if self.operations.iter().any(is_telling) {
            return;
        }
        let children = format!("/proc/self/task/{}/children", process::id());
        let children = fs::read_to_string(children).unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)) {
            if !self.is_known(pid) {
                // One that still lives is looked at again.
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
        }
    }

    fn is_known(&self, pid: Pid) -> bool {
        let operations = self.operations.iter().map(|running| &running.held);
        let inits = self.containers.values().filter_map(|container| container.init.as_ref());
        let commands = self.streams.values().filter_map(super::Stream::process);
        let init = self.pod.as_ref().and_then(|pod| pod.init.as_ref());
        let dying = self.dying.values().flat_map(|dying| &dying.held);
        let shared = init.into_iter().chain(self.runners.held()).chain(dying);
        operations
            .chain(inits)
            .chain(shared)
            .chain(commands)
            .chain(&self.abandoned)
            .any(|held| held.pid == pid)
    }
}

/// How long after a failure or a kill something may still turn up.
const STRAYS_MAX: Duration = Duration::from_secs(5);

/// How often is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often where orphans are normal.
const LOOK_SOMETIMES: Duration = Duration::from_secs(30);

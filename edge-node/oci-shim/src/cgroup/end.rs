//! The end of cgroups: who is in them is killed, and they are taken away.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::{CgroupPath, Cgroups, Version};
use crate::container::Held;

impl Cgroups {
    /// Kills whoever is in the cgroup or below it, and answers with some of them, to wait for; none when nobody is there. Those that they
    /// start meanwhile are killed the next time.
    pub(crate) fn kill(&self, cgroup: &CgroupPath) -> Vec<Held> {
        // At once, where the kernel can.
        for hierarchy in self.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::Two) {
            let kill = hierarchy.dir(cgroup).join("cgroup.kill");
            let _ = fs::OpenOptions::new().write(true).open(kill).and_then(|file| write_one(&file));
        }
        let found: Vec<Pid> = self.processes(cgroup).into_values().collect();
        let mut waited_for = Vec::new();
        for some in found.chunks(HELD_MAX) {
            let held: Vec<Held> = some.iter().filter_map(|pid| Held::new(*pid).ok()).collect();
            // A number may have become another process's before it was held. Whoever has it now is looked for again: once it is held, it
            // cannot become yet another's.
            let still = self.processes(cgroup);
            for held in held.into_iter().filter(|held| still.contains_key(&number(held.pid))) {
                // One that has ended already needs no signal.
                let _ = pidfd_send_signal(&held.fd, Signal::KILL);
                if waited_for.len() < HELD_MAX {
                    waited_for.push(held);
                }
            }
        }
        waited_for
    }

    /// All processes in the cgroup and those below it, by number.
    pub(super) fn processes(&self, cgroup: &CgroupPath) -> BTreeMap<i32, Pid> {
        let mut found = BTreeMap::new();
        for dir in self.dirs(cgroup).flat_map(with_those_below) {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            let pids = text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
            found.extend(pids.map(|pid| (number(pid), pid)));
        }
        found
    }

    /// Takes a container's cgroup away where nobody is in it, with those below; the pod's stays.
    pub(crate) fn remove_leaf(&self, cgroup: &CgroupPath) {
        // Runtimes do it themselves unless they were killed.
        self.dirs(cgroup).for_each(remove_with_those_below);
    }

    /// Takes a pod's cgroup away where nobody is in it, with those below and the empty ones above: another pod that is just about to use
    /// one of those makes it again.
    pub(crate) fn remove(&self, cgroup: &CgroupPath) {
        for hierarchy in &self.hierarchies {
            let dir = hierarchy.dir(cgroup);
            remove_with_those_below(dir.clone());
            for dir in dir.ancestors().skip(1).take_while(|above| *above != hierarchy.root) {
                match fs::remove_dir(dir) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                    _ => {}
                }
            }
        }
    }
}

fn write_one(mut file: &fs::File) -> io::Result<()> {
    io::Write::write_all(&mut file, b"1")
}

const fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// What is still in use stays.
fn remove_with_those_below(dir: PathBuf) {
    for dir in with_those_below(dir).into_iter().rev() {
        let _ = fs::remove_dir(dir);
    }
}

/// A cgroup's folder and all below it, outer ones first; nothing more where it is not.
fn with_those_below(dir: PathBuf) -> Vec<PathBuf> {
    let mut found = vec![dir];
    let mut at = 0;
    // Containers can make some for themselves, but not without end.
    while at < found.len() && found.len() < FOLDERS_MAX {
        let below = folders(&found[at]);
        found.extend(below);
        at += 1;
    }
    found
}

pub(super) fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Processes that are held open at once.
const HELD_MAX: usize = 128;

/// Cgroups of one pod that are looked into.
const FOLDERS_MAX: usize = 65_536;

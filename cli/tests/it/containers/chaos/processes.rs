//! The processes behind pods, and their sudden ends.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The processes of one pod.
#[derive(Clone, Debug)]
pub(super) struct PodProcesses {
    /// The pod's folder in the node's state.
    folder: PathBuf,
}

/// What kills the pod's next command of the OCI runtime.
#[derive(Debug)]
pub(super) struct Trap {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Option<String>>,
}

impl PodProcesses {
    pub(super) fn of(state: &Path, uid: &str) -> Self {
        Self { folder: state.join("pods").join(uid) }
    }

    /// The shim.
    pub(super) fn shim(&self) -> Option<Pid> {
        self.find(|words| words.get(1).is_some_and(|word| word == "shim"), &self.folder)
    }

    /// The runner inside the pod.
    pub(super) fn runner(&self) -> Option<Pid> {
        let socket = self.folder.join("wasm/runner.sock");
        self.find(|words| words.get(1).is_some_and(|word| word == "runner"), &socket)
    }

    /// The first process of a container.
    pub(super) fn container(&self, id: &str) -> Option<Pid> {
        let file = self.folder.join("containers").join(id).join("pid");
        fs::read_to_string(file).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// The first process of those that the pod's containers share.
    pub(super) fn first(&self) -> Option<Pid> {
        let shim = self.shim()?.as_raw_nonzero().get().to_string();
        let is_child = |pid: &Pid| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(shim.as_str())
        };
        pids().find(|pid| words_of(*pid) == ["/pause"] && is_child(pid))
    }

    /// Kills the next command of the runtime for this pod, at a moment of its life that `spins` draws.
    pub(super) fn trap(&self, spins: u32) -> Trap {
        let root = self.folder.join("runtime").display().to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let start = Instant::now();
            while !stop.load(Ordering::Relaxed) && start.elapsed() < TRAP_MAX {
                let Some(pid) = pids().find(|pid| words_of(*pid).contains(&root)) else {
                    thread::sleep(Duration::from_micros(200));
                    continue;
                };
                (0..spins).for_each(|_| std::hint::spin_loop());
                let words = words_of(pid);
                // It may have ended by itself.
                if kill_process(pid, Signal::KILL).is_ok() {
                    return Some(words.join(" "));
                }
            }
            None
        });
        Trap { is_over, thread }
    }

    fn find(&self, is_it: impl Fn(&[String]) -> bool, names: &Path) -> Option<Pid> {
        let name = names.display().to_string();
        pids().find(|pid| {
            let words = words_of(*pid);
            is_it(&words) && words.contains(&name)
        })
    }
}

impl Trap {
    /// Ends it; answers the command that it killed, if any came.
    pub(super) fn end(self) -> Option<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Kills a process, and waits until it is gone.
pub(super) fn kill(pid: Pid) {
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
    crate::cluster::wait_until("the end of a process", || {
        if words_of(pid).is_empty() { Ok(()) } else { Err(format!("{:?}", words_of(pid))) }
    });
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

/// A process may end while it is looked at; one that has ended has no arguments.
fn words_of(pid: Pid) -> Vec<String> {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let text = String::from_utf8_lossy(&line).into_owned();
    text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// How long it is waited for a command of the runtime.
const TRAP_MAX: Duration = Duration::from_secs(30);

//! The runner of a pod's WASM containers, where the pod has Linux containers, too: it is inside the pod's network, IPC and host name, and
//! in a cgroup of its own. Agents speak with it by its own socket.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
};

use dunlin_edge_node_core::sandbox::{
    Event,
    linux::{LinuxResources, RunnerSpec},
};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, pidfd_send_signal},
};

use super::{Shim, operation::reap, pod::Pod};
use crate::{
    cgroup::{CgroupPath, Cgroups, Swap},
    container::Held,
    machine::How,
    namespaces, spec, sys,
};

/// The pod's runners, of which there is one at a time.
#[derive(Debug, Default)]
pub(super) struct Runners {
    runs: Option<Numbered>,
    /// The number of the latest that was started, or was to be.
    latest: u64,
    /// What is to follow the one that is on its way out.
    next: Option<Asked>,
    /// What is to be told of them: the latest.
    pub(super) untold: Option<Event>,
}

/// What an agent asks for.
#[derive(Debug)]
struct Asked {
    spec: RunnerSpec,
    /// Or why it cannot be had.
    program: Result<OwnedFd, String>,
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    held: Held,
}

impl Runners {
    /// Whether there is one.
    pub(super) const fn has_one(&self) -> bool {
        self.runs.is_some()
    }

    /// The one that there is.
    pub(super) fn held(&self) -> Option<&Held> {
        self.runs.as_ref().map(|runner| &runner.held)
    }
}

impl Shim {
    /// Starts one; one that runs is left alone if it came after the one with the number `after`.
    pub(super) fn open_runner(&mut self, spec: RunnerSpec, after: u64) {
        let asked = Asked { program: self.program(&spec), spec };
        match &self.runners.runs {
            None => self.start_runner(&asked),
            Some(runner) if runner.number > after => self.tell_runner(),
            // It has ended and was not waited for yet, or the agent has no use for it.
            Some(_) => {
                self.kill_runner();
                self.runners.next = Some(asked);
            }
        }
    }

    /// The program that an agent names, which is its own, by its process.
    fn program(&self, spec: &RunnerSpec) -> Result<OwnedFd, String> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = open(&spec.program, flags, Mode::empty())
            .map_err(|error| format!("its program {} cannot be opened: {error}", spec.program))?;
        // While the agent has its connection, no other process can have had its number.
        match &self.agent {
            Some(agent) if !agent.is_left() => Ok(program),
            _ => Err("the agent that asked for it has ended".to_owned()),
        }
    }

    fn start_runner(&mut self, asked: &Asked) {
        self.runners.latest += 1;
        let number = self.runners.latest;
        let started = match &self.pod {
            _ if self.machine.is_shutting_down() => Err("the pod is being ended".to_owned()),
            None => Err("the pod has not been opened".to_owned()),
            Some(pod) => match &asked.program {
                Ok(program) => {
                    start(&asked.spec, program, pod, &self.cgroups).map_err(|error| error.to_string())
                }
                Err(why) => Err(why.clone()),
            }
            .map_err(|why| format!("failed to start the pod's runner: {why}")),
        };
        match started {
            Ok(held) => {
                self.runners.runs = Some(Numbered { number, held });
                self.tell_runner();
            }
            Err(message) => self.runners.untold = Some(Event::RunnerEnded { number, message }),
        }
    }

    /// Has it told that it runs, if it does.
    pub(super) fn tell_runner(&mut self) {
        self.runners.untold = self.runners.runs.as_ref().map(|runner| Event::RunnerOpened {
            number: runner.number,
            pid: runner.held.pid.as_raw_nonzero().get().cast_unsigned(),
        });
    }

    /// It ended.
    pub(super) fn end_runner(&mut self) {
        let Some(how) = self.runners.held().and_then(reap) else { return };
        let Some(Numbered { number, .. }) = self.runners.runs.take() else { return };
        // What it started and did not end: compilers, for instance.
        let cgroup = self.pod.as_ref().and_then(|pod| cgroup(pod).ok());
        self.abandoned.extend(cgroup.iter().flat_map(|cgroup| self.cgroups.kill(cgroup)));
        let message = match how {
            How::Code(code) => format!("the pod's runner ended with exit code {code}"),
            How::Signal(signal) => format!("the pod's runner was ended by signal {signal}"),
        };
        self.runners.untold = Some(Event::RunnerEnded { number, message });
        if let Some(next) = self.runners.next.take() {
            self.start_runner(&next);
        }
    }

    /// The pod ends.
    pub(super) fn kill_runner(&self) {
        if let Some(held) = self.runners.held() {
            // One that has ended already needs no signal.
            let _ = pidfd_send_signal(&held.fd, Signal::KILL);
        }
    }
}

fn start(runner: &RunnerSpec, program: &OwnedFd, pod: &Pod, cgroups: &Cgroups) -> io::Result<Held> {
    let cgroup = cgroup(pod)?;
    cgroups.make(&cgroup)?;
    // It weighs what the whole pod asks for, since its containers are part of that. Their memory has limits inside it; what it needs itself
    // is in nobody's, and must not be missing from theirs.
    let asked = LinuxResources { cpu_request: pod.spec.resources.cpu_request, ..LinuxResources::default() };
    cgroups.limit(&cgroup, &spec::limits(&asked, Swap::NotCounted, &[]))?;
    cgroups.lift_memory_limit(&pod.cgroup)?;
    let (mut doors, inside) = (cgroups.doors(&cgroup)?, pod.namespaces.without_processes()?);
    let log = File::options().create(true).append(true).open(&runner.log)?;
    // Of the new process, which has the descriptor until the program begins.
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0("dunlin").args(&runner.args).arg("--socket").arg(&runner.socket);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own, as the agent gives its own runner one.
    command.process_group(0);
    let child = sys::spawn_after(&mut command, move || {
        doors.iter_mut().try_for_each(|door| door.write_all(b"0"))?;
        inside.iter().try_for_each(|(kind, file)| sys::enter(file.as_fd(), namespaces::flag(*kind)))
    })?;
    Held::new(Pid::from_child(&child))
}

/// The runner's, in the pod's.
fn cgroup(pod: &Pod) -> io::Result<CgroupPath> {
    pod.cgroup.child(RUNNER).map_err(io::Error::other)
}

/// Its name; no container is called so.
const RUNNER: &str = "runner";

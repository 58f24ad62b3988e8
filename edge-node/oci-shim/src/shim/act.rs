//! What the machine has done, and what comes of it.

use std::{io, os::fd::AsFd as _, path::PathBuf, process::Child, time::Instant};

use dunlin_container_log::Stream;
use dunlin_edge_node_core::sandbox::linux::{LinuxSpec, ProcessSharing};
use dunlin_link::ContainerId;
use oci_spec::runtime::LinuxNamespaceType;

use super::{
    Shim,
    dying::is_there,
    operation::{Command, Running, reap},
    wait::What,
};
use crate::{
    container::{Container, Surroundings},
    machine::{Action, Ended},
    runtime::Operation,
    say, sys,
};

impl Shim {
    /// Does what is to be done.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Run(spec) => self.begin_container(spec),
                Action::Signal { id, signal } => self.signal(&id, signal),
                Action::Clean(id) => {
                    if let Err(error) = self.begin(&id, Operation::Delete, Command::Delete(id.clone())) {
                        if error.kind() != io::ErrorKind::NotFound {
                            say(&format!("failed to have the runtime delete {id}: {error}"));
                        }
                        self.end_container(&id);
                    }
                }
            }
        }
    }

    /// Something happened.
    pub(super) fn handle(&mut self, what: &What) {
        match what {
            What::Knock => self.accept(),
            What::Agent => self.serve_agent(),
            What::Operation(number) => self.end_operation(*number),
            What::Init(id) => self.end_init(id),
            What::Output(id) => {
                let chunks = self.containers.get_mut(id).map(|container| container.output.read());
                self.pass_on(id, chunks.unwrap_or_default());
            }
            What::Input(id) => {
                if let Some(container) = self.containers.get_mut(id) {
                    container.input.write();
                }
            }
            What::Caller => self.accept_caller(),
            What::Stream(number) => self.serve_stream(*number),
            What::Abandoned => self.abandoned.retain(is_there),
            What::Console(id) => self.take_terminal(id),
            What::Dying(id) => self.look_at_dying(id),
            What::PodInit => self.end_pod_init(),
            What::Runner => self.end_runner(),
        }
    }

    pub(super) fn give_up_slow_operations(&mut self) {
        let now = Instant::now();
        self.operations.iter_mut().for_each(|running| running.give_up(now));
    }

    pub(super) fn create(&mut self, spec: &LinuxSpec) -> Result<(), String> {
        let pod = self.pod.as_ref().ok_or("the pod has not been opened")?;
        let mut namespaces = pod.namespaces.paths();
        if let Some(target) = &spec.processes_of
            && pod.spec.processes == ProcessSharing::Container
        {
            namespaces.push((LinuxNamespaceType::Pid, self.processes_of(target)?));
        }
        self.write_shared_files(spec)?;
        let containers = self.containers_dir();
        let around = Surroundings {
            runtime: &self.runtime,
            bounds: self.args.log_bounds,
            containers: &containers,
            shared: &self.args.dir,
            mounts: &self.mounts,
            pod: &pod.spec,
            cgroup: &pod.cgroup,
            namespaces,
            available: self.available,
            cgroup_view: self.cgroups.view(&self.runtime),
            swap: self.cgroups.swap(&pod.cgroup),
            short_of_memory: self.cgroups.short_of_memory(&pod.cgroup),
            page_sizes: self.cgroups.page_sizes(&pod.cgroup),
        };
        let (container, child) = Container::create(spec, &around)?;
        let log = container.runtime_log();
        self.containers.insert(spec.id.clone(), container);
        let held = self.hold(Command::Run(spec.id.clone()), &child, log);
        held.map_err(|error| format!("failed to wait for the runtime: {error}"))
    }

    /// A name for the namespace of a container's processes, which holds until this process has buried the first of them.
    fn processes_of(&self, target: &ContainerId) -> Result<PathBuf, String> {
        let container = self.containers.get(target).ok_or(NO_PROCESSES)?;
        let init =
            container.init.as_ref().filter(|init| !init.is_exiting()).ok_or("the target container ends")?;
        Ok(PathBuf::from(format!("/proc/{}/ns/pid", init.pid.as_raw_nonzero())))
    }

    /// Has the runtime begin something with a container that is there.
    fn begin(&mut self, id: &ContainerId, operation: Operation<'_>, what: Command) -> io::Result<()> {
        let container = self.containers.get(id).ok_or(io::ErrorKind::NotFound)?;
        let child = container.command(&self.runtime, operation).spawn()?;
        let log = container.runtime_log();
        self.hold(what, &child, log)
    }

    pub(super) fn hold(&mut self, what: Command, child: &Child, log: PathBuf) -> io::Result<()> {
        self.operations.push(Running::new(what, child, log)?);
        Ok(())
    }

    fn signal(&mut self, id: &ContainerId, signal: i32) {
        let Some(init) = self.containers.get(id).and_then(|container| container.init.as_ref()) else {
            return;
        };
        // A number that no signal has is the image's mistake; what does not end by it is killed later.
        if let Err(error) = sys::signal(init.fd.as_fd(), signal) {
            say(&format!("failed to send the signal {signal} to {id}: {error}"));
        }
        if signal == libc::SIGKILL {
            self.expect_strays();
        }
    }

    fn end_operation(&mut self, number: i32) {
        let Some(index) = self.operations.iter().position(|running| running.number() == number) else {
            return;
        };
        let running = self.operations.swap_remove(index);
        let what = running.what.clone();
        let result = running.result();
        if result.is_err() {
            self.expect_strays();
        }
        let now = self.now();
        match what {
            Command::Run(id) => {
                let started = result.and_then(|()| {
                    let container = self.containers.get_mut(&id).ok_or("it is gone")?;
                    container
                        .hold_init()
                        .map_err(|error| format!("failed to find its first process: {error}"))
                });
                self.machine.handle_started(&id, started, now);
            }
            Command::Delete(id) => {
                if let Err(why) = result {
                    say(&format!("{id}: {why}"));
                }
                self.end_container(&id);
            }
            Command::Exec(number) => self.handle_exec_started(number, result),
        }
    }

    fn end_init(&mut self, id: &ContainerId) {
        let now = self.now();
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(how) = container.init.as_ref().and_then(reap) else { return };
        container.init = None;
        // Before its cgroup goes, and the count with it.
        let out_of_memory = self.cgroups.has_been_short_of_memory(&container.cgroup);
        self.machine.handle_ended(id, Ended { how, out_of_memory }, now);
    }

    fn take_terminal(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(console) = container.console.take() else { return };
        let taken = console.terminal().and_then(|terminal| {
            container.input.set_terminal(terminal.try_clone()?.into());
            container.output.add(Stream::Stdout, terminal)
        });
        if let Err(error) = taken {
            say(&format!("failed to take the terminal of {id}: {error}"));
        }
    }
}

/// A shim has Linux containers alone, and the agent names only such as run.
const NO_PROCESSES: &str = "the target container has no processes: it is a WASM container, or has just ended";

//! What a shim holds of one container: its folder, its first process, its output.

mod confine;

use std::{
    fs,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use dunlin_container_log::LogBounds;
use dunlin_edge_node_core::sandbox::linux::{LinuxPod, LinuxSpec, Stdio as Streams};
use dunlin_link::ContainerId;
use oci_spec::runtime::{LinuxNamespaceType, Process};
use rustix::{
    event::{PollFd, PollFlags, poll},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, pidfd_open},
    time::Timespec,
};

use crate::{
    cgroup::{CgroupPath, ShortOfMemory, Swap, View},
    console::Console,
    devices,
    input::Input,
    output::{Output, set_nonblocking},
    rootfs,
    runtime::{Operation, Runtime, read_pid},
    spec::{self, Available, Place},
    user,
    volume::Mounts,
    volume::of_image,
};

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    /// Its own folder; everything in it goes with it.
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: CgroupPath,
    /// Its process as it was configured, for others like it.
    pub(crate) process: Process,
    pub(crate) output: Output,
    /// Where its input is written to.
    pub(crate) input: Input,
    /// Where its terminal is handed over.
    pub(crate) console: Option<Console>,
    /// Its first process.
    pub(crate) init: Option<Held>,
    last_words: Option<PathBuf>,
}

/// A child that is waited for by descriptor.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) pid: Pid,
    pub(crate) fd: OwnedFd,
}

/// What containers of a pod are made with.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) bounds: LogBounds,
    /// The folder that holds those of containers.
    pub(crate) containers: &'a Path,
    /// The folder with the pod's own files.
    pub(crate) shared: &'a Path,
    pub(crate) mounts: &'a Mounts,
    /// What they share.
    pub(crate) pod: &'a LinuxPod,
    /// The pod's.
    pub(crate) cgroup: &'a CgroupPath,
    pub(crate) namespaces: Vec<(LinuxNamespaceType, PathBuf)>,
    pub(crate) available: Available,
    pub(crate) cgroup_view: View,
    pub(crate) swap: Swap,
    pub(crate) short_of_memory: ShortOfMemory,
    /// Sizes of large pages that are counted.
    pub(crate) page_sizes: Vec<String>,
}

impl Held {
    /// Holds a child of this process that has not been waited for.
    pub(crate) fn new(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, fd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Whether it has ended or is about to. The first process of a namespace is about to until all others there are buried.
    pub(crate) fn is_exiting(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        // After the name, which may hold anything: state, four ids, the terminal's group, flags.
        let flags =
            stat.as_deref().unwrap_or_default().rsplit(") ").next().and_then(|rest| rest.split(' ').nth(6));
        self.has_ended()
            || flags.and_then(|flags| flags.parse::<u32>().ok()).is_some_and(|flags| flags & EXITING != 0)
    }

    /// Whether it has ended, whoever waits for it.
    pub(crate) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

impl Container {
    /// Makes the folder and all that is in it, and has the runtime begin.
    ///
    /// # Errors
    /// In words for the container's status.
    pub(crate) fn create(spec: &LinuxSpec, around: &Surroundings<'_>) -> Result<(Self, Child), String> {
        // Its name is that of its cgroup, its folder, and its record with the runtime.
        let cgroup = around.cgroup.child(spec.id.as_str());
        let cgroup = cgroup.map_err(|_| format!("`{}` is no name of a container", spec.id))?;
        let dir = around.containers.join(spec.id.as_str());
        let made = Self::assemble(spec, around, (&dir, cgroup));
        made.inspect_err(|_| rootfs::remove(&dir))
    }

    fn assemble(
        spec: &LinuxSpec,
        around: &Surroundings<'_>,
        (dir, cgroup): (&Path, CgroupPath),
    ) -> Result<(Self, Child), String> {
        let failed = |what: &'static str| move |error: io::Error| format!("failed to {what}: {error}");
        confine::check(spec)?;
        fs::create_dir_all(dir).map_err(failed("make the container's folder"))?;
        let layers: Vec<PathBuf> = spec.layers.iter().map(PathBuf::from).collect();
        let rootfs = rootfs::mount(&layers, dir).map_err(failed("mount the image"))?;
        let user = user::find(&spec.user, &rootfs).map_err(|error| error.to_string())?;
        let image_volumes = of_image::bring(spec, (&rootfs, dir))?;
        let sources = spec.mounts.iter().enumerate();
        let sources = sources.map(|(number, mount)| around.mounts.bring(mount, dir, number));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let seccomp = confine::localhost_profile(&spec.security.seccomp)?;
        let mut devices = if spec.security.privileged { devices::all() } else { Vec::new() };
        devices.extend(devices::find(&spec.devices)?);
        let place = Place {
            pod: around.pod,
            cgroup: &cgroup,
            rootfs: &rootfs,
            shared: around.shared,
            namespaces: around.namespaces.clone(),
            user,
            sources: &sources,
            image_volumes: &image_volumes,
            available: around.available,
            devices,
            cgroup_view: around.cgroup_view,
            swap: around.swap,
            short_of_memory: around.short_of_memory,
            page_sizes: &around.page_sizes,
            seccomp,
        };
        let config = spec::build(spec, &place);
        let text = serde_json::to_vec(&config).map_err(|error| error.to_string())?;
        fs::write(dir.join("config.json"), text).map_err(failed("write the bundle"))?;
        let mut container = Self {
            id: spec.id.clone(),
            dir: dir.to_owned(),
            cgroup,
            process: config.process().clone().unwrap_or_default(),
            output: Output::open(Path::new(&spec.log), around.bounds).map_err(failed("open the log"))?,
            input: Input::default(),
            console: None,
            init: None,
            last_words: spec.termination_message.as_ref().map(PathBuf::from),
        };
        let child = container.spawn_run(spec.stdio, around.runtime);
        Ok((container, child.map_err(failed("start the runtime"))?))
    }

    fn spawn_run(&mut self, streams: Streams, runtime: &Runtime) -> io::Result<Child> {
        let pid_file = self.pid_file();
        let is_terminal = streams == Streams::Terminal;
        if is_terminal {
            self.console = Some(Console::listen(&self.dir.join("tty"))?);
            self.input = Input::of_terminal();
        }
        let console = self.console.as_ref().map(Console::path);
        let operation = Operation::Run { bundle: &self.dir, pid_file: &pid_file, console };
        let mut command = runtime.command(&self.id, operation, &self.runtime_log());
        command.current_dir(&self.dir).stdin(Stdio::null());
        if is_terminal {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        } else {
            let ends = self.output.add_pipes()?;
            command.stdout(ends.stdout).stderr(ends.stderr);
        }
        if streams == Streams::Input {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            set_nonblocking(&write)?;
            command.stdin(read);
            self.input = Input::of_pipe(write.into());
        }
        command.spawn()
    }

    /// The runtime has let it run: its first process is a child of this one, and may have ended.
    pub(crate) fn hold_init(&mut self) -> io::Result<()> {
        self.init = Some(Held::new(read_pid(&self.pid_file())?)?);
        Ok(())
    }

    /// A command of the runtime for this container, whose own output goes nowhere.
    pub(crate) fn command(&self, runtime: &Runtime, operation: Operation<'_>) -> Command {
        let mut command = runtime.command(&self.id, operation, &self.runtime_log());
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Where the runtime says why it fails. It appends.
    pub(crate) fn runtime_log(&self) -> PathBuf {
        self.dir.join("runtime.log")
    }

    /// What it left in its file for last words: its beginning, as text. Nothing but a file is looked at.
    pub(crate) fn last_words(&self) -> String {
        let Some(path) = &self.last_words else { return String::new() };
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = opened.ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
        let mut bytes = Vec::new();
        // What cannot be read is not there; the end itself counts.
        let read = file.map(|file| file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes));
        if !matches!(read, Some(Ok(_))) {
            return String::new();
        }
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.truncate(text.floor_char_boundary(bytes.len()));
        text
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }
}

/// The kernel's `PF_EXITING`.
const EXITING: u32 = 4;

/// As much of last words as Kubernetes shows.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

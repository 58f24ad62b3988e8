//! Streams into containers: commands, callers who are attached, and the question of what all use.
//!
//! The end of the connection is the end of the caller: a command ends with it, a container goes on.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use dunlin_container_log::Stream as Source;
use dunlin_edge_node_core::sandbox::stream::{AttachStart, ExecStart, UsageStart};
use dunlin_link::{
    Bytes, ContainerId, PodUid,
    exec::{self, AttachRequest, AttachStdin, ExecEnd},
    frame::{Frame, Kind, Message as _},
    message::Unsupported,
    stream::StreamRefusal,
    usage::{self, ContainerThrottle, ContainerUsage},
};
use rustix::{
    event::PollFlags,
    process::{Signal, kill_process},
};

use super::{
    Shim, is_same_user,
    operation::{Command, reap},
};
use crate::{
    container::Held,
    exec::{Exec, frame},
    output::Chunk,
    say,
    stream::Caller,
};

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// `None` once it is gone and only its command is left to be ended.
    caller: Option<Caller>,
    task: Task,
}

/// What a stream is for.
#[derive(Debug)]
enum Task {
    /// It was not said yet, or needs nothing more than to be told.
    None,
    Exec(Box<Exec>, Started),
    Attached(ContainerId, AttachRequest),
}

/// Whether the runtime has a command running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    NotYet,
    Yes,
}

impl Stream {
    /// The process of its command, while it runs.
    pub(super) fn process(&self) -> Option<&Held> {
        match &self.task {
            Task::Exec(exec, _) => exec.process.as_ref(),
            Task::None | Task::Attached(..) => None,
        }
    }
}

impl Shim {
    pub(super) fn accept_caller(&mut self) {
        let accepted = self.callers.accept().and_then(|(stream, _address)| {
            if is_same_user(&stream) {
                Caller::new(stream)
            } else {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        });
        match accepted {
            Ok(mut caller) => {
                if self.streams.len() >= STREAMS_MAX {
                    caller
                        .refuse(StreamRefusal::TooMany, "too many streams into the pod are open".to_owned());
                }
                self.latest_stream += 1;
                self.streams.insert(self.latest_stream, Stream { caller: Some(caller), task: Task::None });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => say(&format!("a stream was refused: {error}")),
        }
    }

    /// What a stream waits for.
    pub(super) fn wanted<'a>(&'a self, stream: &'a Stream) -> Vec<(BorrowedFd<'a>, PollFlags)> {
        let mut wanted = Vec::new();
        let Some(caller) = &stream.caller else { return wanted };
        let mut flags = PollFlags::empty();
        let has_room = match &stream.task {
            Task::Exec(exec, _) => exec.input.has_room(),
            Task::Attached(id, _) => {
                self.containers.get(id).is_none_or(|container| container.input.has_room())
            }
            Task::None => true,
        };
        flags.set(PollFlags::IN, has_room && !caller.is_over());
        flags.set(PollFlags::OUT, caller.has_untold());
        wanted.push((caller.stream().as_fd(), flags));
        if let Task::Exec(exec, _) = &stream.task {
            if caller.has_room() {
                wanted.extend(exec.sources().map(|file| (file.as_fd(), PollFlags::IN)));
            }
            wanted.extend(exec.input.wants().map(|file| (file.as_fd(), PollFlags::OUT)));
            wanted.extend(exec.process.iter().map(|held| (held.fd.as_fd(), PollFlags::IN)));
            wanted.extend(exec.console.iter().map(|console| (console.as_fd(), PollFlags::IN)));
        }
        wanted
    }

    /// Does for a stream what can be done now.
    pub(super) fn serve_stream(&mut self, number: u64) {
        let Some(mut stream) = self.streams.remove(&number) else { return };
        let served = self.serve(&mut stream, number);
        let is_done = stream.caller.as_ref().is_none_or(Caller::is_done);
        if served.is_err() || is_done {
            self.leave(number, stream);
        } else {
            self.streams.insert(number, stream);
        }
    }

    fn serve(&mut self, stream: &mut Stream, number: u64) -> io::Result<()> {
        let Stream { caller: Some(caller), task } = stream else { return Ok(()) };
        if !caller.is_over() {
            for frame in caller.read()? {
                match task {
                    Task::None => *task = self.begin_stream(caller, &frame, number)?,
                    Task::Exec(exec, _) => exec_input(exec, &frame)?,
                    Task::Attached(id, request) => {
                        let container = self.containers.get_mut(id);
                        let Some(container) = container.filter(|_| request.stdin != AttachStdin::None) else {
                            continue;
                        };
                        match exec::Input::decode(&frame).map_err(io::Error::other)? {
                            Some(exec::Input::Stdin(bytes)) => container.input.add(&bytes),
                            Some(exec::Input::StdinEnd) if request.stdin == AttachStdin::Once => {
                                container.input.end()
                            }
                            Some(exec::Input::Resize(size)) => container.input.resize(size),
                            Some(exec::Input::StdinEnd) | None => {}
                        }
                        container.input.write();
                    }
                }
            }
        }
        if let Task::Exec(exec, _) = task {
            pump(exec, caller);
        }
        caller.write()
    }

    /// The first frame says what a stream is for.
    fn begin_stream(&mut self, caller: &mut Caller, head: &Frame, number: u64) -> io::Result<Task> {
        match head.kind {
            ExecStart::KIND => {
                let start: ExecStart = head.decode().map_err(io::Error::other)?;
                self.begin_exec(caller, start, number)
            }
            AttachStart::KIND => {
                let start: AttachStart = head.decode().map_err(io::Error::other)?;
                if self.machine.running(&start.id).is_none() {
                    refuse_ended(caller, &start.request.container);
                    return Ok(Task::None);
                }
                caller.open();
                Ok(Task::Attached(start.id, start.request))
            }
            UsageStart::KIND => {
                caller.open();
                self.usages().iter().for_each(|frame| caller.tell(frame));
                caller.close();
                Ok(Task::None)
            }
            Kind(kind) => {
                caller.last(&Unsupported { kind });
                Ok(Task::None)
            }
        }
    }

    fn begin_exec(&mut self, caller: &mut Caller, start: ExecStart, number: u64) -> io::Result<Task> {
        let container = self.containers.get(&start.id).filter(|_| self.machine.running(&start.id).is_some());
        let Some(container) = container else {
            refuse_ended(caller, &start.request.container);
            return Ok(Task::None);
        };
        let begun =
            Exec::start(container, &start.request, number, &self.runtime).and_then(|(exec, child)| {
                self.hold(Command::Exec(number), &child, exec.log())?;
                Ok(exec)
            });
        match begun {
            Ok(exec) => {
                caller.open();
                Ok(Task::Exec(Box::new(exec), Started::NotYet))
            }
            Err(error) => {
                caller.refuse(StreamRefusal::Failed, format!("failed to start the runtime: {error}"));
                Ok(Task::None)
            }
        }
    }

    /// A command runs in its container, or does not, and why.
    pub(super) fn handle_exec_started(&mut self, number: u64, result: Result<(), String>) {
        let Some(mut stream) = self.streams.remove(&number) else { return };
        if let Task::Exec(exec, started) = &mut stream.task {
            *started = Started::Yes;
            let held = result.and_then(|()| {
                exec.hold().map_err(|error| format!("failed to find the command's process: {error}"))
            });
            if let (Err(why), Some(caller)) = (held, &mut stream.caller) {
                caller.end(ExecEnd::Failed(why));
            }
        }
        self.streams.insert(number, stream);
        self.serve_stream(number);
    }

    /// A caller is gone, or has been told everything.
    fn leave(&mut self, number: u64, mut stream: Stream) {
        stream.caller = None;
        match &mut stream.task {
            // It has no process yet that could be ended.
            Task::Exec(_, Started::NotYet) => {
                self.streams.insert(number, stream);
            }
            Task::Exec(exec, Started::Yes) => {
                if let Some(process) = exec.process.take() {
                    // It may have ended by now.
                    let _ = kill_process(process.pid, Signal::KILL);
                    self.abandoned.push(process);
                }
            }
            Task::Attached(id, request) => {
                if request.stdin == AttachStdin::Once
                    && let Some(container) = self.containers.get_mut(id)
                {
                    container.input.end();
                    container.input.write();
                }
            }
            Task::None => {}
        }
    }

    /// Gives attached callers what a container wrote.
    pub(super) fn pass_on(&mut self, id: &ContainerId, chunks: Vec<Chunk>) {
        for Chunk { stream: source, bytes } in chunks {
            for caller in attached(&mut self.streams, id, source) {
                caller.tell(&frame(source, bytes.clone()));
                // That it is gone is noticed when it is waited for.
                let _ = caller.write();
            }
        }
    }

    /// A container is over.
    pub(super) fn detach(&mut self, id: &ContainerId) {
        for stream in self.streams.values_mut() {
            if let (Some(caller), Task::Attached(other, _)) = (&mut stream.caller, &stream.task)
                && other == id
                && !caller.is_over()
            {
                caller.end(ExecEnd::Detached);
            }
        }
    }

    /// Whether all who are attached to a container can be told more.
    pub(super) fn has_room_for_output(&self, id: &ContainerId) -> bool {
        self.streams.values().all(|stream| match (&stream.caller, &stream.task) {
            (Some(caller), Task::Attached(other, _)) => other != id || caller.is_over() || caller.has_room(),
            _ => true,
        })
    }

    /// When callers are given up for whom a container would wait.
    pub(super) fn stalls(&self) -> impl Iterator<Item = Instant> {
        let callers = self.streams.values().filter(|stream| !matches!(stream.task, Task::Exec(..)));
        callers
            .filter_map(|stream| stream.caller.as_ref())
            .filter(|caller| caller.has_untold())
            .map(|caller| caller.moved_at + STALL_MAX)
    }

    /// Gives up callers that take nothing for long.
    pub(super) fn give_up_stalled(&mut self) {
        let now = Instant::now();
        let is_stalled = |stream: &Stream| {
            let caller = stream.caller.as_ref().filter(|_| !matches!(stream.task, Task::Exec(..)));
            caller.is_some_and(|caller| caller.has_untold() && caller.moved_at + STALL_MAX <= now)
        };
        let stalled: Vec<u64> =
            self.streams.iter().filter(|(_, stream)| is_stalled(stream)).map(|(number, _)| *number).collect();
        for number in stalled {
            if let Some(stream) = self.streams.remove(&number) {
                self.leave(number, stream);
            }
        }
    }

    /// What each container that runs uses, in frames.
    fn usages(&self) -> Vec<Vec<u8>> {
        let running = self.machine.all_running().filter_map(|(id, owner)| {
            let usage = self.cgroups.usage(&self.containers.get(id)?.cgroup)?;
            let (uid, attempt) = (PodUid::new(owner.pod_uid.clone()), owner.attempt);
            let (container, throttled_us) = (owner.container.clone(), usage.throttled_us);
            let throttle =
                ContainerThrottle { uid: uid.clone(), container: container.clone(), attempt, throttled_us };
            let (cpu_us, memory) = (usage.cpu_us, Bytes(usage.memory_bytes));
            Some((ContainerUsage { uid, container, attempt, cpu_us, memory }, throttle))
        });
        let (usages, throttles) = running.unzip();
        usage::frames(usages, throttles)
    }
}

/// Callers who are attached to a container and want what comes from `source`.
fn attached<'a>(
    streams: &'a mut std::collections::BTreeMap<u64, Stream>,
    id: &'a ContainerId,
    source: Source,
) -> impl Iterator<Item = &'a mut Caller> {
    streams.values_mut().filter_map(move |stream| {
        let Task::Attached(other, request) = &stream.task else { return None };
        let is_wanted = match source {
            Source::Stdout => request.stdout,
            Source::Stderr => request.stderr,
        };
        stream.caller.as_mut().filter(|_| other == id && is_wanted)
    })
}

fn exec_input(exec: &mut Exec, frame: &Frame) -> io::Result<()> {
    match exec::Input::decode(frame).map_err(io::Error::other)? {
        Some(exec::Input::Stdin(bytes)) => exec.input.add(&bytes),
        Some(exec::Input::StdinEnd) => exec.input.end(),
        Some(exec::Input::Resize(size)) => exec.resize(size),
        None => {}
    }
    Ok(())
}

/// Moves what can be moved between a command and its caller.
fn pump(exec: &mut Exec, caller: &mut Caller) {
    if let Some(console) = exec.console.take() {
        match console.terminal() {
            Ok(terminal) => {
                if let Err(error) = exec.set_terminal(terminal) {
                    say(&format!("failed to take the terminal of a command: {error}"));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => exec.console = Some(console),
            Err(error) => say(&format!("failed to take the terminal of a command: {error}")),
        }
    }
    exec.input.write();
    if let Some(how) = exec.process.as_ref().and_then(reap) {
        exec.set_ended(how);
    }
    while caller.has_room() {
        let frames = exec.read();
        if frames.is_empty() {
            // What it wrote before its end has been read; what others write who have its output is not waited for.
            if let Some(end) = exec.end().filter(|_| !caller.is_over()) {
                caller.end(end);
            }
            break;
        }
        frames.iter().for_each(|frame| caller.tell(frame));
    }
}

fn refuse_ended(caller: &mut Caller, container: &str) {
    caller.refuse(StreamRefusal::NotRunning, format!("container \"{container}\" is not running"));
}

/// Streams of one pod at once, those included that are refused.
const STREAMS_MAX: usize = 128;

/// How long an attached caller may take nothing while a container waits for it. The same as in the runner.
const STALL_MAX: Duration = Duration::from_secs(60);

//! What a shim knows of its containers and does next: a function of what it hears, without processes or clocks.
//!
//! Feed it with `handle_*`, then carry out what `poll_action` gives until it gives nothing, and call `handle_timeout` at
//! `poll_timeout`. Every container goes one way: it is started, runs, is cleaned up after, and has exited; it is told as
//! exited only when nothing of it is left, so that its next run finds the place free.

use std::collections::{BTreeMap, VecDeque};

use dunlin_edge_node_core::{
    clock::{Mono, Now},
    sandbox::{Exit, ExitCause, Owner, State, linux::LinuxSpec},
};
use dunlin_link::{ContainerId, UnixMillis};

/// The containers of a pod.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    containers: BTreeMap<ContainerId, Container>,
    actions: VecDeque<Action>,
    /// Containers whose state changed since it was last told.
    changed: VecDeque<ContainerId>,
    is_shutting_down: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Put a container together and let it run; answered by `handle_started` or `handle_not_created`.
    Run(Box<LinuxSpec>),
    /// Send its first process a signal; `handle_ended` follows when that ends it.
    Signal {
        /// Which.
        id: ContainerId,
        /// By number.
        signal: i32,
    },
    /// Take away all that is left of it, running or not; answered by `handle_cleaned`.
    Clean(ContainerId),
}

/// How a container's first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) how: How,
    /// Whether the kernel killed something of it because memory was short.
    pub(crate) out_of_memory: bool,
}

/// What the kernel says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Code(i32),
    Signal(i32),
}

#[derive(Debug)]
struct Container {
    owner: Owner,
    stop_signal: i32,
    phase: Phase,
    stop: Option<Stop>,
}

#[derive(Clone, Debug)]
enum Phase {
    Starting,
    Running(UnixMillis),
    Cleaning(Exit),
    Exited(Exit),
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    /// When it is killed.
    at: Mono,
    is_killed: bool,
}

impl Machine {
    /// Creates a container; one of the same id that is there is left alone and told again.
    pub(crate) fn handle_start(&mut self, spec: Box<LinuxSpec>) {
        let id = spec.id.clone();
        if !self.containers.contains_key(&id) {
            if self.is_shutting_down || self.containers.len() >= CONTAINERS_MAX {
                return;
            }
            let owner = spec.owner.clone();
            let container =
                Container { owner, stop_signal: spec.stop_signal, phase: Phase::Starting, stop: None };
            self.containers.insert(id.clone(), container);
            self.actions.push_back(Action::Run(spec));
        }
        self.changed.push_back(id);
    }

    /// Asks a container to end by itself within `grace_ms`; a second time may only shorten that.
    pub(crate) fn handle_stop(&mut self, id: &ContainerId, grace_ms: u64, now: Now) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let at = now.mono.plus_millis(grace_ms);
        match &mut container.stop {
            Some(stop) => stop.at = stop.at.min(at),
            none => {
                *none = Some(Stop { at, is_killed: false });
                if let Phase::Running(_) = container.phase {
                    self.actions.push_back(Action::Signal { id: id.clone(), signal: container.stop_signal });
                }
            }
        }
        self.handle_timeout(now);
    }

    /// Forgets a container that has exited.
    pub(crate) fn handle_remove(&mut self, id: &ContainerId) {
        if self.containers.get(id).is_some_and(Container::is_over) {
            self.containers.remove(id);
            self.changed.retain(|other| other != id);
        }
    }

    /// Ends everything.
    pub(crate) fn handle_shutdown(&mut self, now: Now) {
        self.is_shutting_down = true;
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        ids.iter().for_each(|id| self.handle_stop(id, 0, now));
    }

    /// A container could not be put together, and why: nothing of it has been given to the runtime.
    pub(crate) fn handle_not_created(&mut self, id: &ContainerId, why: String, now: Now) {
        let phase = self.containers.get(id).map(|container| &container.phase);
        if matches!(phase, Some(Phase::Starting)) {
            self.finish(id, exit(ExitCause::NotCreated, why, None, now.wall));
        }
    }

    /// A container runs, or the runtime could not let it run, and why.
    pub(crate) fn handle_started(&mut self, id: &ContainerId, started: Result<(), String>, now: Now) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if !matches!(container.phase, Phase::Starting) {
            return;
        }
        if let Err(why) = started {
            return self.finish(id, exit(ExitCause::HostError, why, None, now.wall));
        }
        container.phase = Phase::Running(now.wall);
        self.changed.push_back(id.clone());
        if container.stop.is_some() {
            self.actions.push_back(Action::Signal { id: id.clone(), signal: container.stop_signal });
        }
        self.handle_timeout(now);
    }

    /// A container's first process ended.
    pub(crate) fn handle_ended(&mut self, id: &ContainerId, ended: Ended, now: Now) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if let Phase::Running(started_at) = container.phase {
            let cause = cause(ended, container.stop);
            self.finish(id, exit(cause, String::new(), Some(started_at), now.wall));
        }
    }

    /// Nothing is left of a container but what it said last.
    pub(crate) fn handle_cleaned(&mut self, id: &ContainerId, last_words: String) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Phase::Cleaning(exit) = &container.phase else { return };
        let mut exit = exit.clone();
        if exit.message.is_empty() {
            exit.message = last_words;
        }
        container.phase = Phase::Exited(exit);
        self.changed.push_back(id.clone());
    }

    /// Kills whose grace is over.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        for (id, container) in &mut self.containers {
            let Phase::Running(_) = container.phase else { continue };
            if let Some(stop) = container.stop.as_mut().filter(|stop| !stop.is_killed && stop.at <= now.mono)
            {
                stop.is_killed = true;
                self.actions.push_back(Action::Signal { id: id.clone(), signal: libc::SIGKILL });
            }
        }
    }

    /// When to call `handle_timeout`.
    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        let running =
            self.containers.values().filter(|container| matches!(container.phase, Phase::Running(_)));
        running
            .filter_map(|container| container.stop.filter(|stop| !stop.is_killed))
            .map(|stop| stop.at)
            .min()
    }

    /// What to do next.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A container whose state is to be told.
    pub(crate) fn poll_changed(&mut self) -> Option<(ContainerId, Owner, State)> {
        let id = self.changed.pop_front()?;
        // What is to be told is how it is now, once.
        self.changed.retain(|other| *other != id);
        let container = self.containers.get(&id)?;
        Some((id, container.owner.clone(), container.state()))
    }

    /// Has all containers told again.
    pub(crate) fn tell_all(&mut self) {
        self.changed = self.containers.keys().cloned().collect();
    }

    /// Whether it was shut down and nothing is left.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_shutting_down && self.containers.values().all(Container::is_over)
    }

    /// Whether it was shut down.
    pub(crate) const fn is_shutting_down(&self) -> bool {
        self.is_shutting_down
    }

    /// The owner of a container that runs.
    pub(crate) fn running(&self, id: &ContainerId) -> Option<&Owner> {
        let container = self.containers.get(id)?;
        matches!(container.phase, Phase::Running(_)).then_some(&container.owner)
    }

    /// All containers that run.
    pub(crate) fn all_running(&self) -> impl Iterator<Item = (&ContainerId, &Owner)> {
        let running =
            self.containers.iter().filter(|(_, container)| matches!(container.phase, Phase::Running(_)));
        running.map(|(id, container)| (id, &container.owner))
    }

    fn finish(&mut self, id: &ContainerId, exit: Exit) {
        if let Some(container) = self.containers.get_mut(id) {
            container.phase = Phase::Cleaning(exit);
            self.actions.push_back(Action::Clean(id.clone()));
        }
    }
}

impl Container {
    fn state(&self) -> State {
        match &self.phase {
            Phase::Starting => State::Starting,
            Phase::Running(started_at) => State::Running { started_at: *started_at },
            // States only move forward, and what is being cleaned up after has not exited.
            Phase::Cleaning(Exit { started_at: Some(started_at), .. }) => {
                State::Running { started_at: *started_at }
            }
            Phase::Cleaning(_) => State::Starting,
            Phase::Exited(exit) => State::Exited(exit.clone()),
        }
    }

    const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Exited(_))
    }
}

const fn exit(
    cause: ExitCause,
    message: String,
    started_at: Option<UnixMillis>,
    finished_at: UnixMillis,
) -> Exit {
    Exit { cause, message, started_at, finished_at }
}

/// What Kubernetes makes of an end: a signal is 128 and its number.
fn cause(ended: Ended, stop: Option<Stop>) -> ExitCause {
    let is_killed = stop.is_some_and(|stop| stop.is_killed);
    match ended.how {
        How::Signal(libc::SIGKILL) if is_killed => ExitCause::Killed,
        // A shell that waited for the one that was killed says so by its own code.
        How::Signal(libc::SIGKILL) | How::Code(KILLED) if ended.out_of_memory => ExitCause::OutOfMemory,
        How::Signal(libc::SIGTERM) if stop.is_some() => ExitCause::Stopped,
        How::Signal(signal) => ExitCause::Code(128 + signal),
        How::Code(code) => ExitCause::Code(code),
    }
}

/// 128 + SIGKILL.
const KILLED: i32 = 128 + libc::SIGKILL;

/// Containers of one pod, ended ones included that the agent has not had forgotten.
const CONTAINERS_MAX: usize = 1024;

#[cfg(test)]
mod tests;

//! One container of a pod: the run that goes on, the one before, and the delays between them.

use dunlin_link::{ContainerId, Digest, UnixMillis, status::Terminated};

use super::asking::Asking;
use crate::{
    backoff::Backoff,
    check::CheckTicket,
    clock::{Mono, Now},
    memory::{ContainerMemory, RunMemory},
};

/// One container over all its runs.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) run: Run,
    /// Number of the run, which is the restart count.
    pub(super) attempt: u32,
    /// The end of the run before.
    pub(super) last: Option<Terminated>,
    /// Digest of the latest run.
    pub(super) digest: Option<Digest>,
    /// Digest of the image of another registry that was pulled last.
    pub(super) pulled: Option<Digest>,
    /// How many of the images that it needs are here: those that are volumes come before its own.
    pub(super) images_here: usize,
    /// Whether the sandbox has named the run since the agent started.
    pub(super) seen: bool,
    /// Whether the run is an earlier agent's, of which the sandbox has not told yet.
    pub(super) inherited: bool,
    /// Whether its latest run was in a sandbox that is gone, and none has begun in the present one.
    pub(super) left_behind: bool,
    /// What is known of the run by asking it.
    pub(super) asking: Asking,
    pub(super) crashes: Backoff,
    pub(super) pulls: Backoff,
    /// How often in a row volumes were not in place.
    mounts_failed: u32,
    /// Whether a first wait for what was to come at any moment has begun.
    waited: bool,
}

/// One run. States only move down this list; a new run is a new value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Run {
    /// Its turn has not come.
    #[default]
    Pending,
    /// The module is being made present.
    Pulling(Pull),
    /// The container is being put together.
    Creating(Create),
    /// The sandbox was told to start it.
    Starting { id: ContainerId },
    /// It runs.
    Running { id: ContainerId, started_at: UnixMillis },
    /// It was told to stop.
    Stopping { id: ContainerId, started_at: Option<UnixMillis>, then: Then, signal: Signal },
    /// It ended.
    Terminated { how: Terminated, next: Next },
}

/// Where a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pull {
    /// Asked for, not answered.
    Asked,
    /// Failed; `retry_at` is `None` when only a changed assignment can help.
    Failed { reason: &'static str, message: String, shown_until: Mono, retry_at: Option<Mono> },
    /// Failed, and its backoff has been told.
    BackOff { message: String, retry_at: Mono },
}

/// Where the creation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Create {
    /// It is not known yet where, or the place is being made.
    Homeless,
    /// Asked for.
    Asked,
    /// Impossible, and why in one word and in more. A changed assignment tries again, and so does `retry_at` where it is the machine that
    /// may change.
    Failed { reason: &'static str, message: String, retry_at: Option<Mono> },
    /// A volume is not in place.
    Unmounted { retry_at: Mono },
}

/// How far the order to stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// The sandbox was told.
    Sent,
    /// It is told when the container's hook has ended, at `wakes` at the latest.
    AfterHook {
        /// The answer that is waited for; none for a sleep.
        ticket: Option<CheckTicket>,
        /// The end of the grace.
        ends: Mono,
        wakes: Mono,
        /// What is left of the grace at least.
        floor_ms: u64,
    },
}

/// What follows the end of a stopped run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// What the restart policy says.
    Policy,
    /// The same, and the end counts as a failure, whatever the exit code: the node gave the run up.
    Restart,
    /// Another run at once: the container's definition changed.
    Replace,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Not decided: the pod decides on its next turn.
    Undecided(Then),
    /// Nothing; the run was the last.
    Nothing,
    /// Another run at `at`; the end itself is shown until `shown_until`, the backoff after that.
    Retry { shown_until: Mono, at: Mono, delay_ms: u64 },
    /// Another run at `at`, and the backoff has been told.
    BackOff { at: Mono, delay_ms: u64 },
}

impl Worker {
    /// The container as an earlier agent remembered it. Whether a live run still lives, the sandbox will tell.
    pub(super) fn restored(memory: &ContainerMemory, now: Now) -> Self {
        let run = match &memory.run {
            RunMemory::Live { id, started_at: Some(at) } => Run::Running { id: id.clone(), started_at: *at },
            RunMemory::Live { id, started_at: None } => Run::Starting { id: id.clone() },
            RunMemory::Ended(how) => {
                Run::Terminated { how: how.clone(), next: Next::Undecided(Then::Policy) }
            }
        };
        let crashes = memory.backoff.map_or_else(Backoff::default, |(delay_ms, updated)| {
            Backoff::restored(delay_ms, now.mono_at(updated))
        });
        let asking = match &memory.run {
            RunMemory::Live { started_at: Some(at), .. } => Asking::inherited(now.mono_at(*at)),
            _ => Asking::default(),
        };
        Self {
            inherited: matches!(memory.run, RunMemory::Live { .. }),
            asking,
            run,
            attempt: memory.attempt,
            last: memory.last.clone(),
            digest: memory.digest,
            crashes,
            ..Self::default()
        }
    }

    /// Moves the run forward; a step back or to the same place is refused, because what it says is stale.
    pub(super) fn advance(&mut self, to: Run) -> bool {
        let forward = to.rank() > self.run.rank();
        if forward {
            if to.has_begun() {
                (self.mounts_failed, self.waited, self.left_behind) = (0, false, false);
            }
            self.run = to;
        }
        forward
    }

    /// Begins the next run after an ended one.
    pub(super) fn begin_next(&mut self) {
        if let Run::Terminated { how, .. } = std::mem::take(&mut self.run) {
            self.last = Some(how);
            self.attempt += 1;
            self.seen = false;
            self.inherited = false;
            self.asking = Asking::default();
        }
    }

    /// The run died with its machine, or with agent and sandbox together, and not by a fault of its own: it is made up for at once, as
    /// kubelet does, whose backoff does not outlive it.
    pub(super) fn forgive(&mut self) {
        self.crashes = Backoff::default();
    }

    /// The configuration may have changed: whatever waits for that is tried again.
    pub(super) fn handle_changed_definition(&mut self) {
        match &self.run {
            Run::Pulling(Pull::Failed { .. } | Pull::BackOff { .. }) => self.run = Run::Pending,
            Run::Creating(Create::Failed { .. } | Create::Unmounted { .. }) => self.run = Run::Pending,
            _ => {}
        }
    }

    /// The image is another one: what is being done with the old one is begun anew.
    pub(super) fn handle_changed_image(&mut self) {
        if matches!(self.run, Run::Pulling(_) | Run::Creating(_)) {
            self.run = Run::Pending;
        }
    }

    /// What was to be put together is begun anew later.
    pub(super) fn handle_not_created(&mut self) {
        if self.run == Run::Creating(Create::Asked) {
            self.run = Run::Pending;
        }
    }

    /// The creation failed.
    pub(super) fn handle_create_failed(
        &mut self,
        reason: &'static str,
        message: String,
        retry_at: Option<Mono>,
    ) {
        if let Run::Creating(create) = &mut self.run {
            *create = Create::Failed { reason, message, retry_at };
        }
    }

    /// The sandbox could not put the container together that it was told to start: the run has not begun after all.
    pub(super) fn handle_uncreated(&mut self) {
        if matches!(self.run, Run::Starting { .. }) {
            self.run = Run::Creating(Create::Asked);
        }
    }

    /// A volume was not in place.
    pub(super) fn handle_not_mounted(&mut self, now: Mono) {
        if let Run::Creating(create) = &mut self.run {
            let delay_ms =
                (MOUNT_RETRY_MS << self.mounts_failed.min(MOUNT_DOUBLINGS_MAX)).min(MOUNT_RETRY_MS_MAX);
            self.mounts_failed += 1;
            *create = Create::Unmounted { retry_at: now.plus_millis(delay_ms) };
        }
    }

    /// A volume is to be in place at any moment.
    pub(super) fn handle_not_mounted_yet(&mut self, now: Mono) {
        self.waited = true;
        if let Run::Creating(create) = &mut self.run {
            *create = Create::Unmounted { retry_at: now.plus_millis(MOUNT_PATIENCE_MS) };
        }
    }

    /// Whether it has waited for that once.
    pub(super) fn has_waited(&self) -> bool {
        self.waited
    }

    /// Volumes may be put in place now.
    pub(super) fn handle_mountable(&mut self) {
        if matches!(self.run, Run::Creating(Create::Unmounted { .. })) {
            self.run = Run::Creating(Create::Homeless);
        }
    }

    /// The container that the sandbox has for this run, if it has one that did not end.
    pub(super) fn live_id(&self) -> Option<&ContainerId> {
        match &self.run {
            Run::Starting { id } | Run::Running { id, .. } | Run::Stopping { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The latest run that began, this or the one before.
    pub(super) fn begun_attempt(&self) -> Option<u32> {
        if self.run.has_begun() { Some(self.attempt) } else { self.attempt.checked_sub(1) }
    }

    /// Whether any run ever began.
    pub(super) fn has_begun(&self) -> bool {
        self.begun_attempt().is_some()
    }

    /// Whether any run ever began in the sandbox that the pod has, or in no other that is known of.
    pub(super) fn has_begun_here(&self) -> bool {
        self.has_begun() && !self.left_behind
    }

    /// When the run's state changes by itself.
    pub(super) fn wakes_at(&self) -> Option<Mono> {
        match &self.run {
            Run::Pulling(Pull::Failed { shown_until, retry_at: Some(_), .. }) => Some(*shown_until),
            Run::Pulling(Pull::BackOff { retry_at, .. }) => Some(*retry_at),
            Run::Creating(Create::Unmounted { retry_at }) => Some(*retry_at),
            Run::Creating(Create::Failed { retry_at, .. }) => *retry_at,
            Run::Terminated { next: Next::Retry { shown_until, at, .. }, .. } => Some(*shown_until.min(at)),
            Run::Terminated { next: Next::BackOff { at, .. }, .. } => Some(*at),
            _ => None,
        }
    }

    /// The end of the latest run, whether it is still shown or a retry already waits.
    pub(super) fn ended(&self) -> Option<&Terminated> {
        match &self.run {
            Run::Terminated { how, .. } => Some(how),
            _ => None,
        }
    }
}

impl Signal {
    /// Whether this answer is waited for.
    pub(super) fn awaits(&self, answer: CheckTicket) -> bool {
        matches!(self, Self::AfterHook { ticket: Some(ticket), .. } if *ticket == answer)
    }
}

impl Run {
    /// Whether the guest runs, on its way to an end or not.
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Stopping { started_at: Some(_), .. })
    }

    /// Whether the sandbox knows of it.
    pub(super) fn has_begun(&self) -> bool {
        self.rank() >= STARTING
    }

    /// The place in a run's life: never falls within a run once the sandbox knows of it.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Pulling(_) => 1,
            Self::Creating(_) => 2,
            Self::Starting { .. } => STARTING,
            Self::Running { .. } => 4,
            Self::Stopping { .. } => 5,
            Self::Terminated { .. } => 6,
        }
    }
}

/// How long after the first failure volumes are tried again; doubles, as the kubelet's does.
const MOUNT_RETRY_MS: u64 = 500;

/// How long nothing is said of what is to come at any moment.
const MOUNT_PATIENCE_MS: u64 = 3000;

/// After so many doublings the delay is beyond its bound.
const MOUNT_DOUBLINGS_MAX: u32 = 8;

/// The longest such delay.
const MOUNT_RETRY_MS_MAX: u64 = 122_000;

/// Rank from which a run has begun.
const STARTING: u8 = 3;

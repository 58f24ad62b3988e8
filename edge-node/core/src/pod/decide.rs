//! What happens next: start, restart, stop, or end. [`Pod::settle`] is the one place that decides; it is run after every input.

use dunlin_link::{
    ContainerId,
    care::ContainerCare,
    pod::{PodAssignment, RestartPolicy},
    status::Terminated,
};

use super::{
    Command, ContainerIndex, Deletion, InPending, Pod, Severity, Stage,
    asking::Asking,
    worker::{Create, Next, Pull, Run, Then, Worker},
};
use crate::{
    clock::{Mono, Now},
    memory::End,
    reasons, sandbox, termination,
};

impl Pod {
    /// Takes every step that is due.
    pub(super) fn settle(&mut self, now: Now) {
        if !self.synced {
            return;
        }
        if self.stage == Stage::Active {
            for index in self.indexes() {
                self.decide_next(index, now);
            }
            self.run_post_starts(now);
            if self.failure.is_some() {
                self.end(End::Finished, self.grace_end(now), now);
            } else if self.deadline.is_some_and(|deadline| deadline <= now.mono) {
                let message = "Pod was active on the node longer than the specified deadline".to_owned();
                self.push(
                    now,
                    String::new(),
                    Severity::Normal,
                    (reasons::DEADLINE_EXCEEDED.to_owned(), message),
                );
                self.end(End::Deadline, self.grace_end(now), now);
            } else if self.is_finished() {
                self.end(End::Finished, self.grace_end(now), now);
            } else {
                self.run_containers(now);
                self.house(now);
            }
        }
        self.signal_due(now);
        if let Stage::Ending { why, until } = self.stage {
            self.stop_containers(until, now);
            if self.workers.iter().all(|worker| worker.live_id().is_none()) {
                self.stage = Stage::Ended(why);
            }
        }
        self.catching_up_until = self.catching_up_until.filter(|until| now.mono < *until);
        self.ask_due(now);
        if self.deletion == Deletion::Void && self.stage == Stage::Ended(End::Deleted) {
            self.deletion = Deletion::No;
            self.stage = Stage::Active;
            // What was asked for before the end was not waited for.
            self.workers.iter_mut().for_each(Worker::handle_changed_image);
            self.settle(now);
        }
    }

    /// Leaves the active stage, or shortens a grace that is running.
    pub(super) fn end(&mut self, why: End, until: Mono, now: Now) {
        match &mut self.stage {
            Stage::Active => self.stage = Stage::Ending { why, until },
            Stage::Ending { why: known, until: planned } => {
                if why == End::Deleted {
                    *known = why;
                }
                if until < *planned {
                    *planned = until;
                    self.shorten_grace(until, now);
                }
            }
            Stage::Ended(_) | Stage::Refused { .. } => {}
        }
    }

    /// Takes over what the sandbox told of a container.
    pub(super) fn container_told(
        &mut self,
        index: ContainerIndex,
        id: &ContainerId,
        attempt: u32,
        state: sandbox::State,
        now: Now,
    ) {
        let worker = &mut self.workers[index.0];
        if worker.live_id() != Some(id) {
            // Adoption beyond memory: the sandbox knows of a later run than this agent's store does.
            let later = attempt > worker.attempt || attempt == worker.attempt && !worker.run.has_begun();
            if self.synced || self.stage != Stage::Active && self.deletion == Deletion::No || !later {
                self.discard(id, &state);
                return;
            }
            if let Run::Terminated { how, .. } = std::mem::take(&mut worker.run) {
                worker.last = Some(how);
            }
            worker.attempt = attempt;
            worker.run = Run::Starting { id: id.clone() };
            worker.left_behind = false;
            worker.asking = Asking::default();
            worker.digest =
                worker.digest.or_else(|| super::container_at(&self.assignment, index).image.digest);
        }
        worker.seen = true;
        worker.inherited = false;
        match state {
            sandbox::State::Starting => {}
            sandbox::State::Running { started_at } => {
                self.note_start(index, started_at, now);
                if self.worker_mut(index).advance(Run::Running { id: id.clone(), started_at }) && self.synced
                {
                    self.announce_start(index, now);
                }
            }
            sandbox::State::Exited(exit) => self.container_exited(index, id, exit, now),
        }
    }

    /// Ends what nobody answers for: a run that is over or superseded.
    pub(super) fn discard(&mut self, id: &ContainerId, state: &sandbox::State) {
        if self.remembered.ended.iter().any(|(ended, _)| ended == id) {
            return;
        }
        self.commands.push_back(match state {
            sandbox::State::Exited(_) => Command::Remove { id: id.clone() },
            _ => Command::Stop { id: id.clone(), grace_ms: 0 },
        });
    }

    /// Counts runs as killed whose sandbox is gone.
    pub(super) fn lose(&mut self, now: Now, which: impl Fn(&Worker) -> bool) {
        for worker in &mut self.workers {
            let (Some(id), true) = (worker.live_id().cloned(), which(worker)) else { continue };
            if worker.inherited {
                worker.forgive();
            }
            let (started_at, then) = match &worker.run {
                Run::Running { started_at, .. } => (Some(*started_at), Then::Policy),
                Run::Stopping { started_at, then, .. } => (*started_at, *then),
                _ => (None, Then::Policy),
            };
            worker.advance(Run::Terminated {
                how: termination::lost(&id, started_at, now.wall),
                next: Next::Undecided(then),
            });
        }
    }

    /// Whether nothing is left to run: all containers are done, or an init container failed for good.
    pub(super) fn is_finished(&self) -> bool {
        let done = |index: ContainerIndex| {
            matches!(self.worker(index).run, Run::Terminated { next: Next::Nothing, .. })
        };
        let failed = |index: ContainerIndex| {
            done(index) && self.worker(index).ended().is_some_and(|end| end.exit_code != 0)
        };
        self.indexes().any(|index| self.is_init(index) && !self.is_sidecar(index) && failed(index))
            || self.mains().all(done)
    }

    /// Starts what may start: what was added, as for a kubelet before all others; init containers in their order, sidecars among them, then
    /// all containers.
    fn run_containers(&mut self, now: Now) {
        self.run_ephemeral(now);
        let initialized = self.is_initialized();
        for index in (0..self.assignment.spec.container_count()).map(ContainerIndex) {
            if self.is_sidecar(index) {
                self.step(index, now);
                // One that fails once the next has begun holds up nothing that has begun.
                if !self.is_passed(index) && !self.is_started(index) {
                    return;
                }
            } else if self.is_init(index) {
                if initialized {
                    continue;
                }
                self.step(index, now);
                if self.worker(index).ended().is_none_or(|end| end.exit_code != 0) {
                    return;
                }
            } else {
                self.step(index, now);
                if self.post_start_goes_on(index) {
                    return;
                }
            }
        }
    }

    /// Moves one container on, as far as time allows.
    pub(super) fn step(&mut self, index: ContainerIndex, now: Now) {
        match self.worker(index).run.clone() {
            Run::Pending => self.pull(index, now),
            Run::Pulling(Pull::Failed { message, shown_until, retry_at: Some(retry_at), .. })
                if shown_until <= now.mono =>
            {
                let image = self.wanted(index).reference;
                let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {message}");
                self.push_event(now, index, (Severity::Normal, reasons::BACK_OFF), message.clone());
                self.push_event(
                    now,
                    index,
                    (Severity::Warning, reasons::FAILED),
                    "Error: ImagePullBackOff".to_owned(),
                );
                self.worker_mut(index).run = Run::Pulling(Pull::BackOff { message, retry_at });
            }
            Run::Pulling(Pull::BackOff { retry_at, .. }) if retry_at <= now.mono => self.pull(index, now),
            Run::Creating(Create::Unmounted { retry_at }) if retry_at <= now.mono => {
                // Its images are here.
                self.worker_mut(index).run = Run::Creating(Create::Homeless);
            }
            Run::Creating(Create::Failed { retry_at: Some(retry_at), .. }) if retry_at <= now.mono => {
                self.worker_mut(index).run = Run::Creating(Create::Homeless);
            }
            Run::Terminated { next: Next::Retry { at, .. } | Next::BackOff { at, .. }, how }
                if at <= now.mono =>
            {
                self.restart(index, &how, now);
            }
            Run::Terminated { next: Next::Retry { shown_until, at, delay_ms }, how }
                if shown_until <= now.mono =>
            {
                let name = self.container(index).name.clone();
                let message = format!("Back-off restarting failed container {name} in pod {}", self.title());
                self.push_event(now, index, (Severity::Warning, reasons::BACK_OFF), message);
                self.worker_mut(index).run = Run::Terminated { how, next: Next::BackOff { at, delay_ms } };
            }
            _ => {}
        }
    }

    /// Decides what follows an end, once.
    pub(super) fn decide_next(&mut self, index: ContainerIndex, now: Now) {
        let Run::Terminated { how, next: Next::Undecided(then) } = &self.worker(index).run else { return };
        let (how, then) = (how.clone(), *then);
        let failed = now.mono_at(how.finished_at);
        let next = if then == Then::Replace {
            Next::Retry { shown_until: now.mono, at: now.mono, delay_ms: 0 }
        } else if !self.restarts(index, &how, then) {
            Next::Nothing
        } else {
            let delay_ms = self.worker(index).crashes.delay_after(failed).unwrap_or(0);
            let at = failed.plus_millis(delay_ms);
            let shown_until = now.mono.plus_millis(SHOWN_MS);
            Next::Retry { shown_until, at, delay_ms }
        };
        self.worker_mut(index).run = Run::Terminated { how, next };
    }

    /// Whether another run follows an end: by the first rule of the container that fits, by its own policy, or by the pod's.
    fn restarts(&self, index: ContainerIndex, how: &Terminated, then: Then) -> bool {
        if self.is_ephemeral(index) {
            return false;
        }
        let fits = |care: &ContainerCare| care.restart_rules.iter().any(|rule| rule.fits(how.exit_code));
        if self.is_sidecar(index) || self.care(index).is_some_and(fits) {
            return true;
        }
        match restart_policy(&self.assignment, index) {
            RestartPolicy::Always if !self.is_init(index) => true,
            RestartPolicy::Always | RestartPolicy::OnFailure => how.exit_code != 0 || then == Then::Restart,
            RestartPolicy::Never => false,
        }
    }

    /// Whether a run that the node gives up is followed by another.
    pub(super) fn restarts_at_all(&self, index: ContainerIndex) -> bool {
        self.is_sidecar(index) || restart_policy(&self.assignment, index) != RestartPolicy::Never
    }

    fn restart(&mut self, index: ContainerIndex, how: &Terminated, now: Now) {
        let failed = now.mono_at(how.finished_at);
        let worker = self.worker_mut(index);
        worker.crashes.grow(failed, now.mono);
        worker.begin_next();
        self.pull(index, now);
    }

    fn announce_start(&mut self, index: ContainerIndex, now: Now) {
        self.announce_created(index, now);
        self.push_event(now, index, (Severity::Normal, reasons::STARTED), "Container started".to_owned());
    }

    fn announce_created(&mut self, index: ContainerIndex, now: Now) {
        self.push_event(now, index, (Severity::Normal, reasons::CREATED), "Container created".to_owned());
    }

    fn container_exited(&mut self, index: ContainerIndex, id: &ContainerId, exit: sandbox::Exit, now: Now) {
        if exit.cause == sandbox::ExitCause::NotCreated
            && matches!(self.worker(index).run, Run::Starting { .. })
        {
            self.commands.push_back(Command::Remove { id: id.clone() });
            self.worker_mut(index).handle_uncreated();
            return self.create_failed(index, reasons::CREATE_CONTAINER_ERROR, exit.message, now);
        }
        let never_ran = exit.started_at.is_none();
        if matches!(self.worker(index).run, Run::Starting { .. }) && self.synced {
            if never_ran {
                self.announce_created(index, now);
                let message = format!("Error: {}", exit.message);
                self.push_event(now, index, (Severity::Warning, reasons::FAILED), message);
            } else {
                self.announce_start(index, now);
            }
        }
        let then = match self.worker(index).run {
            Run::Stopping { then, .. } => then,
            _ => Then::Policy,
        };
        let how = termination::terminated(id, exit);
        self.worker_mut(index).advance(Run::Terminated { how, next: Next::Undecided(then) });
        self.remembered.ended.push((id.clone(), InPending::No));
    }
}

/// The policy that holds for a container: its own, or the pod's.
pub(super) fn restart_policy(pod: &PodAssignment, index: ContainerIndex) -> RestartPolicy {
    let own = pod.care.of(index.0).and_then(|care| care.restart_policy);
    own.unwrap_or(pod.spec.restart_policy)
}

/// How long a failure itself is shown before its backoff is: the time the kubelet takes to come round again.
pub(super) const SHOWN_MS: u64 = 1000;

//! A pod's status, whole, as `kubectl describe` expects it.

use dunlin_link::status::{ContainerState, ContainerStatus, PodPhase, PodStatusReport, Terminated};

use super::{
    ContainerIndex, Deletion, Pod, Stage,
    conditions::Seen,
    phase::{Life, phase},
    worker::{Create, Next, Pull, Run},
};
use crate::{backoff::go_seconds, clock::Now, memory::End, reasons, termination};

impl Pod {
    /// The status now, with sequence 0.
    pub(super) fn report(&mut self, now: Now) -> PodStatusReport {
        let (init, mut containers, ephemeral): (Vec<_>, Vec<_>, Vec<_>) = if self.is_rejected() {
            // The kubelet gives a pod that it rejected neither container statuses nor conditions.
            Default::default()
        } else {
            let mut statuses: Vec<_> = self.indexes().map(|index| self.container_status(index)).collect();
            let ephemeral = statuses.split_off(self.assignment.spec.container_count());
            let containers = statuses.split_off(self.init_count());
            (statuses, containers, ephemeral)
        };
        let phase = match self.stage {
            Stage::Refused { .. } | Stage::Ended(End::Deadline) => PodPhase::Failed,
            Stage::Ended(_) if self.failure.is_some() => PodPhase::Failed,
            Stage::Ended(_) => phase(&self.assignment, &init, &containers, Life::Over),
            Stage::Active | Stage::Ending { .. } => phase(&self.assignment, &init, &containers, Life::Open),
        };
        let refused = self.is_rejected();
        let conditions = if refused {
            Vec::new()
        } else {
            self.conditions(&Seen { phase, init: &init, containers: &containers }, now)
        };
        containers.extend(ephemeral);
        let (reason, message) = self.reason_and_message();
        let host_ip = self.place.host_ip.to_string();
        PodStatusReport {
            uid: self.assignment.uid.clone(),
            namespace: self.assignment.namespace.clone(),
            name: self.assignment.name.clone(),
            sequence: 0,
            observed_generation: self.assignment.generation,
            phase,
            reason,
            message,
            conditions,
            pod_ip: if refused { String::new() } else { self.ip() },
            host_ip,
            start_time: Some(self.place.start_time),
            init_containers: init,
            containers,
            stopped: self.deletion == Deletion::Ordered && self.is_over(),
            local_endpoints: if self.is_over() {
                Vec::new()
            } else {
                self.place.address.endpoints(&self.assignment)
            },
        }
    }

    /// Why a container is not running, in one word; empty when it is.
    pub(super) fn waiting_reason(&self, index: ContainerIndex) -> String {
        match self.state(index).0 {
            ContainerState::Waiting { reason, .. } => reason,
            ContainerState::Running { .. } | ContainerState::Terminated(_) => String::new(),
        }
    }

    fn reason_and_message(&self) -> (String, String) {
        if let (Stage::Ending { .. } | Stage::Ended(_), Some(failure)) = (&self.stage, &self.failure) {
            return (failure.reason.clone(), failure.message.clone());
        }
        match &self.stage {
            Stage::Refused { reason, message } => (reason.clone(), format!("Pod was rejected: {message}")),
            Stage::Ending { why: End::Deadline, .. } | Stage::Ended(End::Deadline) => (
                reasons::DEADLINE_EXCEEDED.to_owned(),
                "Pod was active on the node longer than the specified deadline".to_owned(),
            ),
            _ => Default::default(),
        }
    }

    fn container_status(&self, index: ContainerIndex) -> ContainerStatus {
        let (container, worker) = (self.container(index), self.worker(index));
        let (mut state, mut last_state) = self.state(index);
        if let ContainerState::Terminated(end) = &mut state {
            self.shorten(end);
        }
        last_state.iter_mut().for_each(|end| self.shorten(end));
        let running = matches!(state, ContainerState::Running { .. });
        let completed = matches!(&state, ContainerState::Terminated(end) if end.exit_code == 0);
        let is_plain_init = self.is_init(index) && !self.is_sidecar(index);
        // As the kubelet has it, one that was added is neither ready nor started.
        let is_counted = running && !self.is_ephemeral(index);
        let id = worker.live_id().cloned();
        let id = id.or_else(|| worker.ended().and_then(|end| end.container_id.clone()));
        ContainerStatus {
            name: container.name.clone(),
            image: container.image.reference.clone(),
            image_digest: worker.digest,
            container_id: id.or_else(|| worker.last.as_ref().and_then(|end| end.container_id.clone())),
            ready: if is_plain_init { completed } else { is_counted && self.is_ready(index) },
            started: if is_plain_init { running } else { is_counted && self.is_started(index) },
            // A run counts once it exists, as a container does for the kubelet.
            restart_count: worker.begun_attempt().unwrap_or(0),
            state,
            last_state,
        }
    }

    /// Holds last words to the share of a container, so that those of many do not make a status that is too large.
    fn shorten(&self, end: &mut Terminated) {
        let share = MESSAGES_BYTES_MAX / self.workers.len().max(1);
        end.message.truncate(end.message.floor_char_boundary(share));
    }

    /// State and last state.
    fn state(&self, index: ContainerIndex) -> (ContainerState, Option<Terminated>) {
        let worker = self.worker(index);
        let last = worker.last.clone();
        let waiting =
            |reason: &str, message: String| ContainerState::Waiting { reason: reason.to_owned(), message };
        let over = self.is_over();
        match &worker.run {
            Run::Terminated { how, next: Next::BackOff { delay_ms, .. } } if !over => {
                let (delay, name) = (go_seconds(*delay_ms), &self.container(index).name);
                let message =
                    format!("back-off {delay} restarting failed container={name} pod={}", self.title());
                (waiting(reasons::CRASH_LOOP_BACK_OFF, message), Some(how.clone()))
            }
            Run::Terminated { how, .. } => (ContainerState::Terminated(how.clone()), last),
            Run::Running { started_at, .. } | Run::Stopping { started_at: Some(started_at), .. } => {
                (ContainerState::Running { started_at: *started_at }, last)
            }
            _ if over && let Some(end) = last.clone() => (ContainerState::Terminated(end), None),
            // As the kubelet has it: whatever waited for the initialization still waits when that has failed.
            _ if over && !self.is_init(index) && self.was_initialized() => {
                (ContainerState::Terminated(termination::never_ran()), None)
            }
            Run::Pulling(Pull::Failed { reason, message, .. }) => (waiting(reason, message.clone()), last),
            Run::Pulling(Pull::BackOff { message, .. }) => {
                (waiting(reasons::IMAGE_PULL_BACK_OFF, message.clone()), last)
            }
            Run::Creating(Create::Failed { reason, message, .. }) => (waiting(reason, message.clone()), last),
            // Between an end and the next run's start the end is more telling than "creating".
            Run::Pending | Run::Pulling(Pull::Asked) | Run::Creating(Create::Asked | Create::Homeless)
                if let Some(end) = last.clone() =>
            {
                (ContainerState::Terminated(end), None)
            }
            _ => (waiting(self.default_waiting(), String::new()), last),
        }
    }

    /// Whether the node refused it: when it came, or when it turned out what it is made of, before anything of it ran.
    fn is_rejected(&self) -> bool {
        matches!(self.stage, Stage::Refused { .. })
            || self.failure.as_ref().is_some_and(|failure| failure.reason == reasons::APP_ARMOR)
    }

    /// Whether the init containers came to their good end, so that the others could have run.
    fn was_initialized(&self) -> bool {
        let Some(last) = self.init_count().checked_sub(1).map(ContainerIndex) else { return true };
        let worker = self.worker(last);
        self.mains().any(|index| self.worker(index).has_begun())
            || self.is_sidecar(last) && worker.has_begun()
            || worker.ended().is_some_and(|end| end.exit_code == 0)
    }

    /// What containers wait for by default: with init containers, to be initialized.
    fn default_waiting(&self) -> &'static str {
        if self.init_count() > 0 { reasons::POD_INITIALIZING } else { reasons::CONTAINER_CREATING }
    }
}

/// What the messages of a pod's ended containers may take together; the kubelet's number.
const MESSAGES_BYTES_MAX: usize = 12 << 10;

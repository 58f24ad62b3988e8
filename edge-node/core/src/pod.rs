//! The life of one pod on a node: which container runs when, what is tried again after which delay, and what its status says.
//!
//! Call order: after [`Pod::new`], once the sandbox has told what runs, [`Pod::handle_synced`]. After any `handle_*`, drain
//! [`Pod::poll_command`], take [`Pod::poll_report`], and call [`Pod::handle_timeout`] no later than [`Pod::poll_timeout`] says.
//! Within a run a container's states only move forward, and so do the pod's stages; neither depends on who called.

mod asking;
mod changed;
mod command;
mod conditions;
mod decide;
mod ephemeral;
mod failure;
mod home;
mod hooks;
mod mounting;
mod order;
mod phase;
mod probing;
mod pulls;
mod remember;
mod status;
mod stopping;
mod worker;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use dunlin_link::{
    ContainerId, Digest, PodUid, UnixMillis,
    assignment::{Refusal, Tombstone},
    pod::{Container, PodAssignment},
    status::{EventPod, NodeEvent, PodStatusReport},
};

pub use self::{
    command::{Command, ContainerIndex, Fetch, ImagePull, Pulled, PulledImage, Recording},
    home::Residence,
    order::RestartError,
};
use self::{
    conditions::Conditions,
    home::Home,
    worker::{Create, Next, Run, Then, Worker},
};
use crate::{
    address::{ForwardPlace, PodAddress},
    clock::{Mono, Now},
    memory::{End, Facts, Failure, PodMemory},
    reasons, sandbox, termination,
};

/// One pod's machine.
#[derive(Debug)]
pub struct Pod {
    assignment: Arc<PodAssignment>,
    place: Place,
    stage: Stage,
    deletion: Deletion,
    /// Whether the sandbox has told what it runs; until then nothing is started or given up.
    synced: bool,
    /// Whether it has ever told anything since this agent began.
    heard: bool,
    /// Init containers, then containers, each in the order of the spec, then those that were added, in the order in which they came.
    workers: Vec<Worker>,
    home: Home,
    /// How often in a row its own sandbox could not be made.
    homes_failed: u32,
    /// Digests of the images that are volumes, by volume, as they were pulled last.
    image_volumes: BTreeMap<String, Digest>,
    deadline: Option<Mono>,
    /// Why the node ends the pod before its time, if it does.
    failure: Option<Failure>,
    /// How many looks at containers were asked for.
    checks: u64,
    /// Until then what an earlier agent knew of runs may be missing.
    catching_up_until: Option<Mono>,
    conditions: Conditions,
    commands: VecDeque<Command>,
    sequence: u64,
    reported: Option<Digest>,
    remembered: RememberedAs,
}

/// Where and since when a pod is on its node.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node's own address.
    pub host_ip: Arc<str>,
    /// The pod's address.
    pub address: PodAddress,
    /// When the node accepted the pod.
    pub start_time: UnixMillis,
    /// Makes container ids of this agent unlike those of any earlier one.
    pub incarnation: u64,
}

/// Whether the pod is to stop for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    /// Nobody said so.
    No,
    /// A tombstone says so: nothing of the pod starts again.
    Ordered,
    /// A tombstone said so, and a restore of the cluster took it back. What is being stopped ends first.
    Void,
}

/// Where in its life the pod as a whole is; only moves down this list, but for a deletion that became void.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Containers are started and kept.
    Active,
    /// Containers are being stopped, all of them by `until`.
    Ending { why: End, until: Mono },
    /// Nothing runs or will run.
    Ended(End),
    /// The node did not take the pod.
    Refused { reason: String, message: String },
}

/// What was remembered of the pod last; digests, because thousands of pods would keep it twice.
#[derive(Debug)]
struct RememberedAs {
    durable: Facts,
    /// Taken and not yet confirmed.
    pending: Option<Facts>,
    /// Ended containers whose end is in `pending`, or in neither.
    ended: Vec<(ContainerId, InPending)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InPending {
    Yes,
    No,
}

impl Pod {
    /// The machine of an accepted pod, with what earlier agents remembered of it. `sequence` is the last one used.
    pub fn new(
        assignment: Arc<PodAssignment>,
        place: Place,
        memory: PodMemory,
        sequence: u64,
        now: Now,
    ) -> Self {
        let seconds = assignment.spec.active_deadline_seconds;
        let deadline =
            seconds.map(|seconds| now.mono_at(place.start_time).plus_millis(u64::from(seconds) * 1000));
        let workers = assignment
            .containers()
            .map(|container| {
                let known = memory.containers.iter().find(|known| known.name == container.name);
                known.map_or_else(Worker::default, |known| Worker::restored(known, now))
            })
            .collect();
        let mut pod = Self {
            stage: memory.end.map_or(Stage::Active, Stage::Ended),
            deletion: if memory.end == Some(End::Deleted) { Deletion::Ordered } else { Deletion::No },
            synced: false,
            heard: false,
            workers,
            home: Home::default(),
            homes_failed: 0,
            image_volumes: BTreeMap::new(),
            deadline,
            failure: memory.failure.clone(),
            checks: 0,
            catching_up_until: None,
            conditions: Conditions::default(),
            commands: VecDeque::new(),
            sequence,
            reported: None,
            remembered: RememberedAs { durable: memory.facts(), pending: None, ended: Vec::new() },
            assignment,
            place,
        };
        pod.recall_changed_sandbox();
        pod
    }

    /// The machine of a pod that the node refuses; it reports that and does nothing else.
    pub fn refused(
        assignment: Arc<PodAssignment>,
        place: Place,
        refusal: &Refusal,
        sequence: u64,
        now: Now,
    ) -> Self {
        let mut pod = Self::new(assignment, place, PodMemory::default(), sequence, now);
        let Refusal { reason, message, .. } = refusal.clone();
        pod.push_pod_event(now, reason.clone(), message.clone());
        pod.stage = Stage::Refused { reason, message };
        pod.synced = true;
        pod
    }

    /// The assignment changed: configuration, image or metadata, or containers were added.
    pub fn handle_assignment(&mut self, assignment: Arc<PodAssignment>, now: Now) {
        if self.assignment.spec.container_count() != assignment.spec.container_count() {
            // Kubernetes lets no one add or remove others; a set that does so anyway is not acted on.
            return;
        }
        let assignment = ephemeral::keep_places(assignment, &self.assignment);
        let before = std::mem::replace(&mut self.assignment, assignment);
        let is_volume_moved = before.volume_images != self.assignment.volume_images;
        for index in self.indexes() {
            let (old, new) = (&container_at(&before, index).image, &self.container(index).image);
            let (changed, moved) = (old.reference != new.reference, old.digest != new.digest);
            self.worker_mut(index).handle_changed_definition();
            if changed || moved || is_volume_moved {
                // What is being made present or put together is the old image: the run begins with the new one.
                self.worker_mut(index).handle_changed_image();
            }
            if changed && self.stage == Stage::Active && !self.is_ephemeral(index) {
                self.replace(index, now);
            }
        }
        self.employ();
        self.settle(now);
    }

    /// The pod is to stop for good. A later tombstone may only shorten the grace.
    pub fn handle_tombstone(&mut self, tombstone: &Tombstone, now: Now) {
        self.deletion = Deletion::Ordered;
        let until = now.mono.plus_millis(u64::from(tombstone.grace_seconds) * 1000);
        self.end(End::Deleted, until, now);
        self.settle(now);
    }

    /// The tombstone is void: the restored cluster does not know of the deletion. What was stopped or is being stopped counts as an
    /// end like any other, after which the restart policy decides.
    pub fn handle_raised(&mut self, now: Now) {
        self.deletion = Deletion::Void;
        self.settle(now);
    }

    /// A pull was answered.
    pub fn handle_pull(&mut self, index: ContainerIndex, outcome: Pulled, now: Now) {
        self.pull_answered(index, outcome, now);
        self.settle(now);
    }

    /// The pull of an image was answered; an answer for another image than the container's is stale.
    pub fn handle_image(&mut self, index: ContainerIndex, reference: &str, answer: PulledImage, now: Now) {
        if self.has_container(index) && self.wanted(index).reference == reference {
            self.image_answered(index, answer, now);
            self.settle(now);
        }
    }

    /// The sandbox was told to start the container that a [`Command::Create`] asked for.
    pub fn handle_created(&mut self, index: ContainerIndex, id: ContainerId) {
        let digest = self.module(index);
        if self.worker_mut(index).advance(Run::Starting { id }) {
            self.worker_mut(index).digest = digest;
        }
    }

    /// The container that a [`Command::Create`] asked for has run already, as this or a later attempt, and nobody remembered it: agent
    /// and sandbox died within a moment of its start. It counts as killed then.
    pub fn handle_begun(&mut self, index: ContainerIndex, attempt: u32, now: Now) {
        let id = self.container_id(index, attempt);
        let digest = self.module(index);
        let worker = self.worker_mut(index);
        let how = termination::lost(&id, None, now.wall);
        if worker.advance(Run::Terminated { how, next: Next::Undecided(Then::Policy) }) {
            worker.attempt = worker.attempt.max(attempt);
            worker.digest = digest;
            worker.forgive();
        }
        self.settle(now);
    }

    /// The container that a [`Command::Create`] asked for cannot be configured.
    pub fn handle_config_error(&mut self, index: ContainerIndex, message: String, now: Now) {
        self.create_failed(index, reasons::CREATE_CONTAINER_CONFIG_ERROR, message, now);
        self.settle(now);
    }

    /// The container that a [`Command::Create`] asked for cannot be put together.
    pub fn handle_create_error(&mut self, index: ContainerIndex, message: String, now: Now) {
        self.create_failed(index, reasons::CREATE_CONTAINER_ERROR, message, now);
        self.settle(now);
    }

    /// The container that a [`Command::Create`] asked for has no compiled code: its image is not all here, and is asked for again later.
    pub fn handle_no_code(&mut self, index: ContainerIndex, message: String, now: Now) {
        self.code_missing(index, message, now);
        self.settle(now);
    }

    /// The container that a [`Command::Create`] asked for cannot run: its module is none. That is an end like that of a program that
    /// cannot be started.
    pub fn handle_cannot_run(&mut self, index: ContainerIndex, message: String, now: Now) {
        self.push_event(now, index, (Severity::Warning, reasons::FAILED), format!("Error: {message}"));
        let id = self.container_id(index, self.worker(index).attempt);
        let (digest, at) = (self.module(index), now.wall);
        let exit = sandbox::Exit {
            cause: sandbox::ExitCause::CannotRun,
            message,
            started_at: None,
            finished_at: at,
        };
        let how = termination::terminated(&id, exit);
        let worker = self.worker_mut(index);
        if worker.advance(Run::Terminated { how, next: Next::Undecided(Then::Policy) }) {
            worker.digest = digest;
        }
        self.settle(now);
    }

    /// The code of the container's module is still being made elsewhere.
    pub fn handle_compiling(&mut self, index: ContainerIndex, target: &str, now: Now) {
        let image = &self.container(index).image.reference;
        let message =
            format!("Waiting for the coordinator to compile the module of image \"{image}\" for {target}");
        self.push_event(now, index, (Severity::Normal, reasons::COMPILING), message);
    }

    /// The sandbox told a container's state: during its first account, or when it changed.
    pub fn handle_container(
        &mut self,
        id: &ContainerId,
        owner: &sandbox::Owner,
        state: sandbox::State,
        now: Now,
    ) {
        match self.indexes().find(|index| self.container(*index).name == owner.container) {
            Some(index) => {
                self.note_shared();
                self.container_told(index, id, owner.attempt, state, now);
            }
            None => self.discard(id, &state),
        }
        self.settle(now);
    }

    /// The sandbox has told everything that it runs; what it did not name does not run.
    pub fn handle_synced(&mut self, now: Now) {
        // Synced already: the account is that of a new sandbox, which was started for what this pod has asked for since.
        if !self.synced {
            let is_first = self.become_synced();
            let is_gone = |worker: &Worker| worker.inherited && worker.live_id().is_some() && !worker.seen;
            let is_another = is_first && !self.has_own_sandbox() && self.workers.iter().any(is_gone);
            self.lose(now, |worker| !worker.seen);
            if is_another {
                self.change_sandbox(now);
            }
            self.begin_catching_up(now);
        }
        self.settle(now);
    }

    /// The sandbox process ended, and all its containers with it. The next one is empty.
    pub fn handle_sandbox_lost(&mut self, now: Now) {
        let is_first = self.become_synced();
        self.lose_home();
        self.lose(now, |_| true);
        // A runner that ends alone leaves the pod's volumes and address as they are.
        if is_first || self.has_own_sandbox() {
            self.change_sandbox(now);
        }
        self.settle(now);
    }

    /// The sandbox does not answer: what runs is unknown until [`Pod::handle_synced`] or [`Pod::handle_sandbox_lost`].
    pub fn handle_sandbox_unsure(&mut self) {
        if !matches!(self.stage, Stage::Refused { .. }) {
            self.synced = false;
            for worker in &mut self.workers {
                worker.seen = false;
            }
        }
    }

    /// The time that [`Pod::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// The memory last taken by [`Pod::take_memory`] is durable.
    pub fn handle_remembered(&mut self) {
        self.confirm_memory();
    }

    /// The memory last taken could not be made durable: it is to be taken again.
    pub fn handle_not_remembered(&mut self) {
        self.remembered.pending = None;
        for (_, state) in &mut self.remembered.ended {
            *state = InPending::No;
        }
    }

    /// What to do next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The pod's status, if it differs from the last one taken. An end that must not be taken back waits until it is durable.
    pub fn poll_report(&mut self, now: Now) -> Option<PodStatusReport> {
        if !self.synced || self.is_end_volatile() || self.is_catching_up(now) {
            return None;
        }
        let mut report = self.report(now);
        let digest = Digest::of(&dunlin_link::codec::encode(&report));
        if self.reported.replace(digest) == Some(digest) {
            return None;
        }
        self.sequence += 1;
        report.sequence = self.sequence;
        Some(report)
    }

    /// Lets [`Pod::poll_report`] answer the status once more, though it did not change.
    pub fn report_again(&mut self) {
        self.reported = None;
    }

    /// When to call [`Pod::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if !self.synced || self.is_over() {
            return None;
        }
        let looks = self.asks_at().into_iter().chain(self.hooks_end_at()).chain(self.catching_up_until);
        let waits = self.indexes().filter(|index| !self.waits_for_init(*index));
        let waits = waits.filter_map(|index| self.worker(index).wakes_at());
        let waits = waits.chain(self.home_due()).chain(self.deadline).filter(|_| self.stage == Stage::Active);
        looks.chain(waits).min()
    }

    /// What the pod runs.
    pub fn assignment(&self) -> &Arc<PodAssignment> {
        &self.assignment
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The pod's uid.
    pub fn uid(&self) -> &PodUid {
        &self.assignment.uid
    }

    /// Whether nothing of the pod runs or will run: its resources are free.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended(_) | Stage::Refused { .. })
    }

    /// The containers that the sandbox may still hold: those that run, and ended ones that it was not told to forget.
    pub fn sandboxed(&self) -> Vec<Sandboxed> {
        let live = self.workers.iter().filter_map(Worker::live_id).map(|id| Sandboxed::Live(id.clone()));
        live.chain(self.remembered.ended.iter().map(|(id, _)| Sandboxed::Ended(id.clone()))).collect()
    }

    /// The container that the sandbox has at a place, if it has one that did not end.
    pub fn live_container(&self, index: ContainerIndex) -> Option<&ContainerId> {
        self.workers.get(index.0).and_then(Worker::live_id)
    }

    /// The container at a place.
    pub fn container(&self, index: ContainerIndex) -> &Container {
        container_at(&self.assignment, index)
    }

    /// Whether the pod has a container at that place.
    pub fn has_container(&self, index: ContainerIndex) -> bool {
        index.0 < self.workers.len()
    }

    /// Whether a [`Command::Create`] is still wanted: its run has not been overtaken by the pod's end, a change of its image, or news of
    /// the sandbox.
    pub fn awaits(&self, index: ContainerIndex, id: &ContainerId, module: Option<Digest>) -> bool {
        self.stage == Stage::Active
            && self.synced
            && self.workers.get(index.0).is_some_and(|worker| {
                worker.run == Run::Creating(Create::Asked) && self.container_id(index, worker.attempt) == *id
            })
            && self.module(index) == module
    }

    /// Where on the node's machine a declared TCP port of the pod is.
    pub fn endpoint(&self, port: u16) -> Option<SocketAddr> {
        self.place.address.endpoint(&self.assignment, port)
    }

    /// Where a forward to a port leads; `None` for one that cannot be there.
    pub fn forward_place(&self, port: u16) -> Option<ForwardPlace> {
        self.place.address.forward_place(&self.assignment, port)
    }

    /// What is known of a container's latest run; `None` for a container that the pod does not have.
    pub fn latest_run(&self, container: &str) -> Option<LatestRun> {
        let index = self.indexes().find(|index| self.container(*index).name == container)?;
        let worker = self.worker(index);
        Some(LatestRun {
            attempt: worker.begun_attempt(),
            live: worker.live_id().cloned(),
            waiting: self.waiting_reason(index),
        })
    }
}

/// A container that the sandbox may still hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandboxed {
    /// It may run.
    Live(ContainerId),
    /// It has ended.
    Ended(ContainerId),
}

/// What is known of a container's latest run, for reading its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestRun {
    /// Its number; `None` when none ever began.
    pub attempt: Option<u32>,
    /// The container, while it lives.
    pub live: Option<ContainerId>,
    /// Why nothing runs now, in the words of status.
    pub waiting: String,
}

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Normal,
    Warning,
}

impl Pod {
    /// The places of its containers.
    pub fn indexes(&self) -> impl Iterator<Item = ContainerIndex> + use<> {
        (0..self.workers.len()).map(ContainerIndex)
    }

    /// Answers whether this is the first that this agent hears of the sandbox.
    fn become_synced(&mut self) -> bool {
        if !std::mem::replace(&mut self.synced, true) {
            // What was prepared meanwhile was not awaited: the sandbox might have had the run already.
            self.workers.iter_mut().for_each(Worker::handle_not_created);
        }
        !std::mem::replace(&mut self.heard, true)
    }

    /// What another configuration can help alone is not tried again with the same one.
    fn create_failed(&mut self, index: ContainerIndex, reason: &'static str, message: String, now: Now) {
        self.push_event(now, index, (Severity::Warning, reasons::FAILED), format!("Error: {message}"));
        let retries = reason == reasons::CREATE_CONTAINER_ERROR;
        let retry_at = retries.then(|| now.mono.plus_millis(CREATE_RETRY_MS));
        self.worker_mut(index).handle_create_failed(reason, message, retry_at);
    }

    fn init_count(&self) -> usize {
        self.assignment.spec.init_containers.len()
    }

    fn worker(&self, index: ContainerIndex) -> &Worker {
        &self.workers[index.0]
    }

    fn worker_mut(&mut self, index: ContainerIndex) -> &mut Worker {
        &mut self.workers[index.0]
    }

    fn is_init(&self, index: ContainerIndex) -> bool {
        index.0 < self.init_count()
    }

    fn is_sidecar(&self, index: ContainerIndex) -> bool {
        self.is_init(index) && self.container(index).sidecar
    }

    /// Its address, as others know it.
    fn ip(&self) -> String {
        self.place.address.ip().map_or_else(|| self.place.host_ip.to_string(), |ip| ip.to_string())
    }

    /// `name_namespace(uid)`, as the kubelet writes pods.
    fn title(&self) -> String {
        let PodAssignment { name, namespace, uid, .. } = &*self.assignment;
        format!("{name}_{namespace}({uid})")
    }

    fn push_event(
        &mut self,
        now: Now,
        index: ContainerIndex,
        (severity, reason): (Severity, &str),
        message: String,
    ) {
        let container = self.container(index).name.clone();
        self.push(now, container, severity, (reason.to_owned(), message));
    }

    fn push_pod_event(&mut self, now: Now, reason: String, message: String) {
        self.push(now, String::new(), Severity::Warning, (reason, message));
    }

    fn push(&mut self, now: Now, container: String, severity: Severity, (reason, message): (String, String)) {
        let PodAssignment { name, namespace, uid, .. } = &*self.assignment;
        let pod = EventPod { uid: uid.clone(), namespace: namespace.clone(), name: name.clone(), container };
        self.commands.push_back(Command::Event(NodeEvent {
            pod: Some(pod),
            warning: severity == Severity::Warning,
            reason,
            message,
            at: now.wall,
        }));
    }
}

pub(crate) fn container_at(assignment: &PodAssignment, index: ContainerIndex) -> &Container {
    assignment.container(index.0)
}

/// How long a container waits that could not be put together: the time after which the kubelet comes round again.
const CREATE_RETRY_MS: u64 = 10_000;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

//! A pod on a test bench: a clock that the test turns, a sandbox and a module cache that the test plays.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use dunlin_link::{
    ContainerId, PodUid, UnixMillis,
    assignment::Tombstone,
    pod::PodAssignment,
    status::{ContainerState, PodConditionKind, PodStatusReport},
};

use crate::{
    address::{AddressPool, BlockRange, Loopback, PodAddress},
    check::{Check, CheckTicket, Outcome, What},
    clock::{Mono, Now},
    memory::PodMemory,
    pod::{Command, ContainerIndex, ImagePull, Place, Pod, Pulled, Recording, Residence},
    sandbox::{Exit, ExitCause, Owner, State},
};

/// See the module.
pub(super) struct Bench {
    pub(super) pod: Pod,
    pub(super) now_ms: i64,
    /// Everything that happened, one word or two each.
    pub(super) log: Vec<String>,
    /// What the sandbox has: id by container name, the newest.
    pub(super) ids: BTreeMap<String, (ContainerId, u32)>,
    pub(super) report: Option<PodStatusReport>,
    pub(super) memory: PodMemory,
    /// Answers to `Create`: the message of a configuration error, by container.
    pub(super) config_errors: BTreeMap<String, String>,
    /// By container, why there is no code.
    pub(super) no_code: BTreeMap<String, String>,
    /// Containers whose modules are none, with what is said of them.
    pub(super) cannot_run: BTreeMap<String, String>,
    /// Answers to `Pull`; present by default.
    pub(super) pulls: BTreeMap<String, Pulled>,
    /// Pulls from other registries that were asked for; answered by the test.
    pub(super) images: Vec<ImagePull>,
    /// Looks that nobody has answered yet, oldest first.
    pub(super) checks: VecDeque<(ContainerIndex, CheckTicket, Check)>,
    /// What the pod's images are.
    pub(super) residence: Residence,
}

impl Bench {
    pub(super) fn new(assignment: PodAssignment) -> Self {
        let mut bench = Self::unsynced(assignment, PodMemory::default(), 0);
        bench.pod.handle_synced(bench.now());
        bench.turn();
        bench
    }

    /// A new agent at `now_ms` with what an earlier one remembered.
    pub(super) fn unsynced(assignment: PodAssignment, memory: PodMemory, now_ms: i64) -> Self {
        let slot = AddressPool::new(BlockRange::new(0, 1).unwrap(), []).take();
        let place = Place {
            host_ip: "192.0.2.1".into(),
            address: PodAddress { slot, loopback: Loopback { octet: 42, first_port: 1024 }, own: None },
            start_time: UnixMillis(EPOCH_MS),
            incarnation: u64::try_from(now_ms).unwrap(),
        };
        let now = Now { wall: UnixMillis(EPOCH_MS + now_ms), mono: Mono(now_ms) };
        Self {
            pod: Pod::new(Arc::new(assignment), place, memory.clone(), 0, now),
            now_ms,
            log: Vec::new(),
            ids: BTreeMap::new(),
            report: None,
            memory,
            no_code: Default::default(),
            cannot_run: BTreeMap::new(),
            config_errors: BTreeMap::new(),
            pulls: BTreeMap::new(),
            images: Vec::new(),
            checks: VecDeque::new(),
            residence: Residence::Shared,
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: UnixMillis(EPOCH_MS + self.now_ms), mono: Mono(self.now_ms) }
    }

    /// Does what the pod asks for until it asks for nothing.
    pub(super) fn turn(&mut self) {
        let now = self.now();
        loop {
            while let Some(command) = self.pod.poll_command() {
                self.obey(command, now);
            }
            if self.pod.recording(now) == Recording::Clean {
                break;
            }
            self.memory = self.pod.take_memory(now);
            self.pod.handle_remembered();
        }
        if let Some(report) = self.pod.poll_report(now) {
            self.report = Some(report);
        }
    }

    fn obey(&mut self, command: Command, now: Now) {
        match command {
            Command::Pull { container, .. } => {
                let name = self.pod.container(container).name.clone();
                let outcome = self.pulls.get(&name).cloned().unwrap_or(Pulled::Present);
                self.pod.handle_pull(container, outcome, now);
            }
            Command::PullImage { pull, .. } => self.images.push(pull),
            Command::Survey => self.pod.handle_surveyed(self.residence, now),
            Command::Open => self.log.push("open".to_owned()),
            Command::Create { container, id, attempt } => {
                let name = self.pod.container(container).name.clone();
                if let Some(message) = self.config_errors.get(&name) {
                    self.pod.handle_config_error(container, message.clone(), now);
                    return;
                }
                if let Some(message) = self.cannot_run.get(&name) {
                    self.pod.handle_cannot_run(container, message.clone(), now);
                    return;
                }
                if let Some(message) = self.no_code.get(&name) {
                    self.pod.handle_no_code(container, message.clone(), now);
                    return;
                }
                self.log.push(format!("start {name}"));
                self.ids.insert(name, (id.clone(), attempt));
                self.pod.handle_created(container, id);
            }
            Command::Stop { id, grace_ms } => {
                let name = self.name_of(&id);
                self.log.push(format!("stop {name} {grace_ms}"));
            }
            Command::Check { container, ticket, check, .. } => {
                let name = self.pod.container(container).name.clone();
                self.log.push(format!("check {name} {}", in_short(&check)));
                self.checks.push_back((container, ticket, check));
            }
            Command::Remove { id } => {
                let name = self.name_of(&id);
                self.log.push(format!("remove {name}"));
            }
            Command::Event(event) => {
                let kind = if event.warning { "Warning" } else { "Normal" };
                self.log.push(format!("{kind} {}: {}", event.reason, event.message));
            }
        }
    }

    fn name_of(&self, id: &ContainerId) -> String {
        let known = self.ids.iter().find(|(_, (known, _))| known == id);
        known.map_or_else(|| "old".to_owned(), |(name, _)| name.clone())
    }

    /// The sandbox tells that a container runs.
    pub(super) fn running(&mut self, name: &str) {
        self.tell(name, State::Running { started_at: self.now().wall });
    }

    /// The sandbox tells that a container ended after having run.
    pub(super) fn exited(&mut self, name: &str, cause: ExitCause) {
        let at = self.now().wall;
        self.tell(
            name,
            State::Exited(Exit { cause, message: String::new(), started_at: Some(at), finished_at: at }),
        );
    }

    pub(super) fn tell(&mut self, name: &str, state: State) {
        let (id, attempt) = self.ids[name].clone();
        self.tell_as(name, id, attempt, state);
        self.turn();
    }

    pub(super) fn tell_as(&mut self, name: &str, id: ContainerId, attempt: u32, state: State) {
        let owner = Owner {
            pod_uid: "u1".to_owned(),
            namespace: "ns".to_owned(),
            pod: "p".to_owned(),
            container: name.to_owned(),
            attempt,
        };
        self.pod.handle_container(&id, &owner, state, self.now());
    }

    /// Lets time pass, waking the pod whenever it asked to be.
    pub(super) fn pass(&mut self, millis: i64) {
        let end = self.now_ms + millis;
        while let Some(at) = self.pod.poll_timeout().filter(|at| at.0 <= end) {
            self.now_ms = self.now_ms.max(at.0);
            self.pod.handle_timeout(self.now());
            self.turn();
        }
        self.now_ms = end;
    }

    /// The oldest look that waits ends.
    pub(super) fn answer(&mut self, outcome: Outcome) {
        let (container, ticket, _) = self.checks.pop_front().expect("somebody looks");
        self.pod.handle_checked(container, ticket, outcome, self.now());
        self.turn();
    }

    /// Lets time pass second by second, with every look answered like this.
    pub(super) fn pass_answering(&mut self, seconds: i64, outcome: &Outcome) {
        for _ in 0..seconds {
            self.pass(1_000);
            while !self.checks.is_empty() {
                self.answer(outcome.clone());
            }
        }
    }

    pub(super) fn delete(&mut self, grace_seconds: u32) {
        let tombstone = Tombstone {
            uid: PodUid::new("u1"),
            namespace: "ns".to_owned(),
            name: "p".to_owned(),
            grace_seconds,
            requested_at: self.now().wall,
        };
        self.pod.handle_tombstone(&tombstone, self.now());
        self.turn();
    }

    /// Phase, then every container's state in short.
    pub(super) fn status(&self) -> String {
        let report = self.report.as_ref().expect("a report was made");
        let mut text = format!("{:?}", report.phase);
        for status in report.init_containers.iter().chain(&report.containers) {
            let state = match &status.state {
                ContainerState::Waiting { reason, .. } => reason.clone(),
                ContainerState::Running { .. } => "Running".to_owned(),
                ContainerState::Terminated(end) => format!("{}({})", end.reason, end.exit_code),
            };
            let ready = if status.ready { "+" } else { "-" };
            text += &format!(" {}{ready}{state}/{}", status.name, status.restart_count);
        }
        if report.stopped {
            text += " stopped";
        }
        text
    }

    /// The conditions that are false, with reason and message.
    pub(super) fn false_conditions(&self) -> Vec<String> {
        let report = self.report.as_ref().expect("a report was made");
        let conditions = report.conditions.iter().filter(|condition| !condition.status);
        conditions.map(|found| format!("{:?} {}: {}", found.kind, found.reason, found.message)).collect()
    }

    pub(super) fn condition(&self, kind: PodConditionKind) -> (bool, String) {
        let report = self.report.as_ref().expect("a report was made");
        let found = report.conditions.iter().find(|condition| condition.kind == kind).unwrap();
        (found.status, found.reason.clone())
    }

    /// What happened since the last call, events left out.
    pub(super) fn acts(&mut self) -> Vec<String> {
        let log = std::mem::take(&mut self.log);
        log.into_iter().filter(|line| line.starts_with(|first: char| first.is_lowercase())).collect()
    }

    /// The events since the last call.
    pub(super) fn events(&mut self) -> Vec<String> {
        let log = std::mem::take(&mut self.log);
        log.into_iter().filter(|line| line.starts_with(|first: char| first.is_uppercase())).collect()
    }
}

fn in_short(check: &Check) -> String {
    let what = match &check.what {
        What::Http(http) => format!("{:?} {}{} {:?}", http.scheme, http.target.shown, http.path, http.accept),
        What::Tcp(target) => format!("tcp {}", target.shown),
        What::Grpc { target, service } => format!("grpc {} {service}", target.shown),
        What::Exec { command, .. } => format!("exec {}", command.join(" ")),
    };
    format!("{what} {}", check.timeout_ms)
}

const EPOCH_MS: i64 = 1_800_000_000_000;

//! A disk, a sandbox and a log folder as values, and the loop that carries between them and the core.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use dunlin_link::{
    ContainerId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignmentChange, Refusal, Tombstone},
    held::HeldSet,
    node_state::NodeState,
    pod::{PodAssignment, RestartPolicy},
    sealed::{Content, SealingKey, SealingPlace},
    statics::StaticPodName,
    status::{NodeEvent, NodeFacts, NodeResources, PodStatusReport},
};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    super::{
        Batch, ChangeError, ChangeTicket, Loaded, NodeCore, NodeOptions, Output, Preparation, Prepared,
        Presence, Projecting, SandboxOrder, SurveyOrder, TokenOrder, Told, WriteTicket, static_pod,
    },
    is_write,
};
use crate::{
    address::{BlockRange, Loopback},
    clock::{Mono, Now},
    content::Seal,
    launch::{GuestFiles, ImageDefaults, LinuxMaterial, Material},
    pod::{Residence, fixture},
    pressure::Thresholds,
    sandbox::{Exit, ExitCause, Owner, Request, State},
};

pub(super) struct Node {
    pub(super) core: NodeCore,
    pub(super) now: Now,
    pub(super) disk: Loaded,
    /// What the coordinator means the node to hold.
    pub(super) wanted: HeldSet,
    pub(super) sandbox: BTreeMap<ContainerId, (Owner, State)>,
    /// Batches that are not durable yet.
    pending: VecDeque<(WriteTicket, Batch)>,
    answers: VecDeque<Result<Vec<Refusal>, ChangeError>>,
    reports: BTreeMap<PodUid, PodStatusReport>,
    /// Static pods that the coordinator would be told of.
    pub(super) stated: Vec<StaticPodName>,
    /// Latest attempt that has a log, by container.
    logs: BTreeMap<(PodUid, String), u32>,
    starts: BTreeMap<PodUid, usize>,
    pub(super) writes: usize,
    /// The write to crash at, and whether it became durable.
    pub(super) crash_at: Option<(usize, bool)>,
    pub(super) hold_preparations: bool,
    pub(super) held_preparations: Vec<Preparation>,
    pub(super) trace: Vec<String>,
    pub(super) state: Option<NodeState>,
    /// As told last, unless as at the start.
    pub(super) facts: Option<NodeFacts>,
    pub(super) events: Vec<NodeEvent>,
    /// Tokens that are asked for; the test answers.
    pub(super) asked_tokens: Vec<TokenOrder>,
    /// Volumes that were to be written anew.
    pub(super) projected: Vec<Projecting>,
    /// Pods whose volumes went.
    pub(super) unmounted: Vec<String>,
    /// Pods whose logs went for want of disk.
    pub(super) dropped_logs: Vec<String>,
    /// Sandboxes of pods alone that are to be made; the test answers.
    pub(super) opening: Vec<SandboxOrder>,
    /// What was asked of such, in short.
    pub(super) asked_own: Vec<String>,
    /// What is in them.
    pub(super) own: BTreeMap<PodUid, BTreeMap<ContainerId, (Owner, State)>>,
    /// What has to be fetched; everything else is here.
    pub(super) absent: BTreeSet<Digest>,
    /// What was to be fetched, and by which name; the test answers.
    pub(super) fetches: Vec<(Digest, String)>,
}

impl Node {
    pub(super) fn new() -> Self {
        let now = Now { wall: UnixMillis(1_000_000), mono: Mono(0) };
        let disk = Loaded { starts: 1, ..Loaded::default() };
        let mut node = Self {
            core: NodeCore::boot(options(), disk.clone(), now),
            now,
            disk,
            wanted: HeldSet::default(),
            sandbox: BTreeMap::new(),
            pending: VecDeque::new(),
            answers: VecDeque::new(),
            reports: BTreeMap::new(),
            stated: Vec::new(),
            logs: BTreeMap::new(),
            starts: BTreeMap::new(),
            writes: 0,
            crash_at: None,
            hold_preparations: false,
            held_preparations: Vec::new(),
            trace: Vec::new(),
            state: None,
            facts: None,
            events: Vec::new(),
            asked_tokens: Vec::new(),
            projected: Vec::new(),
            unmounted: Vec::new(),
            dropped_logs: Vec::new(),
            opening: Vec::new(),
            asked_own: Vec::new(),
            own: BTreeMap::new(),
            absent: BTreeSet::new(),
            fetches: Vec::new(),
        };
        node.account();
        node
    }

    /// The change that leads from what the node is meant to hold to what `fill` adds.
    pub(super) fn change(&mut self, fill: impl FnOnce(Draft) -> Draft) -> AssignmentChange {
        let revision = Revision(self.wanted.revision.0 + 1);
        let draft = fill(Draft(AssignmentChange {
            restore_generation: self.core.applied().restore_generation,
            protocol: 5,
            base: Some(self.wanted.revision),
            revision,
            upserts: Vec::new(),
            tombstones: Vec::new(),
            forget: Vec::new(),
            objects: Vec::new(),
            state_digest: Digest::of(b""),
        }));
        let mut change = draft.0;
        let mut wanted = self.wanted.clone();
        wanted.apply(&change);
        change.state_digest = wanted.digest();
        change
    }

    pub(super) fn offer(&mut self, change: AssignmentChange) {
        self.core.handle_change(ChangeTicket(change.revision.0), change, self.now);
        self.carry();
    }

    /// Makes a change, offering it again after a crash that lost it, as a coordinator does.
    pub(super) fn make(&mut self, fill: impl FnOnce(Draft) -> Draft) {
        let change = self.change(fill);
        self.offer(change.clone());
        self.write_all();
        if self.core.applied().revision < change.revision {
            self.offer(change.clone());
            self.write_all();
        }
        self.answers.clear();
        self.wanted.apply(&change);
        assert_eq!(self.core.applied().state_digest, self.wanted.digest());
    }

    /// Carries everything out but writes, which wait.
    pub(super) fn carry(&mut self) {
        while let Some(output) = self.core.poll_output(self.now) {
            if !is_write(&output) {
                self.trace.push(format!("{output:?}"));
            }
            self.obey(output);
        }
    }

    pub(super) fn write_one(&mut self) {
        let Some((ticket, batch)) = self.pending.pop_front() else { return };
        let at = self.writes;
        self.writes += 1;
        match self.crash_at.filter(|(crash, _)| *crash == at) {
            None => {
                self.disk.apply(batch);
                self.core.handle_written(ticket, Ok(()), self.now);
                self.carry();
            }
            Some((_, kept)) => {
                if kept {
                    self.disk.apply(batch);
                }
                self.crash();
            }
        }
    }

    pub(super) fn write_all(&mut self) {
        while !self.pending.is_empty() {
            self.write_one();
        }
    }

    pub(super) fn fail_one(&mut self, why: &str) {
        let (ticket, _) = self.pending.pop_front().unwrap();
        self.core.handle_written(ticket, Err(why.to_owned()), self.now);
        self.carry();
    }

    /// The agent dies; the next one comes up from what was durable. The sandbox lives on.
    pub(super) fn crash(&mut self) {
        self.crash_then(|_, _| ());
    }

    /// A crash, and what the next agent does before it hears of its sandbox.
    pub(super) fn crash_then(&mut self, before: impl FnOnce(&mut NodeCore, Now)) {
        self.pending.clear();
        self.answers.clear();
        self.reports.clear();
        self.asked_tokens.clear();
        self.disk.starts += 1;
        let own_sandboxes = self.own.keys().cloned().collect();
        let options = NodeOptions { own_sandboxes, ..options() };
        self.core = NodeCore::boot(options, self.disk.clone(), self.now);
        before(&mut self.core, self.now);
        self.account();
    }

    /// Lets time pass, with all writes done.
    pub(super) fn settle_for(&mut self, millis: u64) {
        let end = self.now.mono.plus_millis(millis);
        self.write_all();
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.advance_to(at.max(self.now.mono));
            self.core.handle_timeout(self.now);
            self.carry();
            self.write_all();
        }
        self.advance_to(end);
    }

    /// Tells which manifests there are: name, and text that stands for their content.
    pub(super) fn manifests(&mut self, pods: &[(&str, &str)]) {
        let pods = pods.iter().map(|(name, content)| {
            let mut pod = assignment(name);
            pod.spec.labels.push(("content".to_owned(), (*content).to_owned()));
            static_pod(pod, &format!("{name}.yaml"), "n1")
        });
        self.core.handle_statics(pods.collect(), self.now);
        self.carry();
        self.write_all();
    }

    pub(super) fn exit(&mut self, pod: &str, cause: ExitCause) {
        let found = self.sandbox.iter().find(|(_, (owner, _))| owner.pod == pod);
        let id = found.map(|(id, _)| id.clone()).unwrap();
        self.end(&id, cause);
    }

    pub(super) fn committed(&mut self) -> Option<Result<Vec<Refusal>, ChangeError>> {
        self.answers.pop_front()
    }

    /// Names of pods with a container that runs.
    pub(super) fn running(&self) -> Vec<&str> {
        let live = self.sandbox.values().filter(|(_, state)| !matches!(state, State::Exited(_)));
        let mut names: Vec<_> = live.map(|(owner, _)| owner.pod.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The id of a container that runs.
    pub(super) fn container_id(&self, pod: &str, container: &str) -> String {
        let mut all = self.sandbox.iter();
        let found = all.find(|(_, (owner, _))| owner.pod == pod && owner.container == container);
        found.map(|(id, _)| id.as_str().to_owned()).expect("it runs")
    }

    pub(super) fn report(&self, pod: &str) -> Option<&PodStatusReport> {
        self.reports.get(&uid(pod))
    }

    /// Names of pods that have reported.
    pub(super) fn reported(&self) -> Vec<&str> {
        self.reports.values().map(|report| report.name.as_str()).collect()
    }

    pub(super) fn report_of(&self, uid: &PodUid) -> Option<&PodStatusReport> {
        self.reports.get(uid)
    }

    pub(super) fn all_starts(&self) -> usize {
        self.starts.values().sum()
    }

    pub(super) fn starts_of(&self, pod: &str) -> usize {
        self.starts.get(&uid(pod)).copied().unwrap_or_default()
    }

    fn advance_to(&mut self, mono: Mono) {
        self.now = Now { wall: self.now.wall_at(mono), mono };
    }

    fn account(&mut self) {
        for (id, (owner, state)) in self.sandbox.clone() {
            self.core.handle_told(Told::Container { id, owner, state }, self.now);
        }
        let told =
            if self.sandbox.is_empty() { Told::Gone } else { Told::Synced { runtime: "test".to_owned() } };
        self.core.handle_told(told, self.now);
        for (uid, inside) in self.own.clone() {
            self.core.handle_told_by(&uid, Told::Opened { given: None }, self.now);
            for (id, (owner, state)) in inside {
                self.core.handle_told_by(&uid, Told::Container { id, owner, state }, self.now);
            }
            self.core.handle_told_by(&uid, Told::Synced { runtime: "crun".to_owned() }, self.now);
        }
        self.carry();
    }

    fn obey(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::Write { ticket, batch } => self.pending.push_back((ticket, *batch)),
            Output::Committed { result, .. } => self.answers.push_back(result),
            Output::Ask(request) => self.ask(request),
            Output::AskPod(uid, request) => self.ask_pod(uid, request),
            Output::Survey(order) => self.survey(&order),
            Output::OpenSandbox(order) => self.opening.push(*order),
            Output::CloseSandbox(uid) => self.close_sandbox(&uid),
            Output::Locate(digest) => {
                let is_absent = self.absent.contains(&digest);
                let presence = if is_absent { Presence::Missing } else { Presence::Here };
                self.core.handle_module(digest, presence, now);
            }
            Output::Fetch { digest, reference } => self.fetches.push((digest, reference)),
            Output::Prepare(preparation) if self.hold_preparations => {
                self.held_preparations.push(preparation);
            }
            Output::Prepare(preparation) => {
                let key = (preparation.run.uid.clone(), preparation.container.clone());
                let prepared = match self.logs.get(&key) {
                    Some(attempt) if *attempt >= preparation.run.attempt => {
                        Prepared::Begun { attempt: *attempt }
                    }
                    _ => Prepared::Ready { log: "l".to_owned(), material: Self::material(&preparation) },
                };
                self.core.handle_prepared(preparation.run, prepared, now);
            }
            Output::Report(report) => {
                let before = self.reports.insert(report.uid.clone(), *report.clone());
                assert!(before.is_none_or(|before| before.sequence < report.sequence));
            }
            Output::Forgotten { uid, .. } => {
                self.reports.remove(&uid);
                self.logs.retain(|(pod, _), _| *pod != uid);
            }
            Output::Pull(_) => panic!("every image is the coordinator's"),
            Output::AskToken(order) => self.asked_tokens.push(*order),
            Output::StaticPods(pods) => self.stated = pods,
            Output::Unmount(pod) => self.unmounted.push(pod.name.clone()),
            Output::Project(projecting) => self.projected.push(projecting),
            Output::DropLogs(pod) => self.dropped_logs.push(pod.name.clone()),
            Output::State(state) => self.state = Some(*state),
            Output::Facts(facts) => self.facts = Some(*facts),
            Output::Event(event) => self.events.push(event),
            Output::StartOver
            | Output::Check(_)
            | Output::Sweep(_)
            | Output::Reclaim(_)
            | Output::Pods(_)
            | Output::Notice(_) => {}
        }
    }

    /// Pods whose names begin with `linux` are of Linux images, but for containers that are called `wasm`; so are containers of such names.
    fn material(preparation: &Preparation) -> Material {
        let mut names = [preparation.pod.name.as_str(), preparation.container.as_str()].into_iter();
        if names.any(|name| name.starts_with("linux")) && preparation.container != "wasm" {
            let image = ImageDefaults { entrypoint: vec!["/run".to_owned()], ..ImageDefaults::default() };
            return Material::Linux(Box::new(LinuxMaterial { image, ..LinuxMaterial::default() }));
        }
        guest()
    }

    fn survey(&mut self, order: &SurveyOrder) {
        let is_linux = order.uid.as_str().starts_with("u-linux");
        let residence = if is_linux { Residence::Own } else { Residence::Shared };
        self.core.handle_surveyed(&order.uid, residence, self.now);
    }

    /// A sandbox that was asked for is there.
    pub(super) fn open_sandbox(&mut self) {
        let order = self.opening.pop().expect("a sandbox is wanted");
        self.own.insert(order.pod.uid.clone(), BTreeMap::new());
        self.tell_own(&order.pod.uid, Told::Opened { given: None });
    }

    /// A pod's own sandbox tells something.
    pub(super) fn tell_own(&mut self, uid: &PodUid, told: Told) {
        self.core.handle_told_by(uid, told, self.now);
        self.carry();
    }

    fn ask_pod(&mut self, uid: PodUid, request: Request) {
        let (word, id, owner) = match request {
            Request::StartLinux(spec) => {
                let word = if spec.processes_of.is_some() { "start among others" } else { "start" };
                (word, spec.id, Some(spec.owner))
            }
            Request::Start(spec) => ("guest", spec.id, Some(spec.owner)),
            Request::Stop { id, .. } => ("stop", id, None),
            Request::Remove { id } => ("remove", id, None),
            other => panic!("{other:?} is no affair of the core's"),
        };
        let inside = self.own.get_mut(&uid).expect("the sandbox is open");
        let owner = owner.or_else(|| inside.get(&id).map(|(owner, _)| owner.clone()));
        let owner = owner.expect("what is stopped was started");
        self.asked_own.push(format!("{word} {} {}", owner.container, owner.attempt));
        let at = self.now.wall;
        let state = match word {
            "remove" => {
                inside.remove(&id);
                return;
            }
            "stop" => State::Exited(Exit {
                cause: ExitCause::Stopped,
                message: String::new(),
                started_at: Some(at),
                finished_at: at,
            }),
            _ => State::Running { started_at: at },
        };
        inside.insert(id.clone(), (owner.clone(), state.clone()));
        self.core.handle_told_by(&uid, Told::Container { id, owner, state }, self.now);
    }

    fn close_sandbox(&mut self, uid: &PodUid) {
        self.asked_own.push(format!("close {uid}"));
        self.own.remove(uid);
    }

    fn ask(&mut self, request: Request) {
        match request {
            Request::Start(spec) => {
                let uid = PodUid::new(&*spec.owner.pod_uid);
                *self.starts.entry(uid.clone()).or_default() += 1;
                self.logs.insert((uid, spec.owner.container.clone()), spec.owner.attempt);
                let state = State::Running { started_at: self.now.wall };
                self.sandbox.insert(spec.id.clone(), (spec.owner.clone(), state.clone()));
                let told = Told::Container { id: spec.id, owner: spec.owner, state };
                self.core.handle_told(told, self.now);
            }
            Request::Stop { id, .. } => self.end(&id, ExitCause::Stopped),
            Request::Remove { id } => {
                self.sandbox.remove(&id);
            }
            _ => {}
        }
    }

    fn end(&mut self, id: &ContainerId, cause: ExitCause) {
        let Some((owner, state)) = self.sandbox.get_mut(id) else { return };
        *state = State::Exited(Exit {
            cause,
            message: String::new(),
            started_at: Some(self.now.wall),
            finished_at: self.now.wall,
        });
        let told = Told::Container { id: id.clone(), owner: owner.clone(), state: state.clone() };
        self.core.handle_told(told, self.now);
    }
}

/// A change in the making.
pub(super) struct Draft(AssignmentChange);

impl Draft {
    pub(super) fn assign(mut self, name: &str) -> Self {
        self.0.upserts.push((self.0.revision, assignment(name)));
        self
    }

    pub(super) fn assign_pod(mut self, pod: PodAssignment) -> Self {
        self.0.upserts.push((self.0.revision, pod));
        self
    }

    /// Content that pods name.
    pub(super) fn bring(mut self, objects: Vec<(Digest, Content)>) -> Self {
        self.0.objects.extend(objects);
        self
    }

    /// A pod that runs once.
    pub(super) fn assign_once(mut self, name: &str) -> Self {
        let mut pod = assignment(name);
        pod.spec.restart_policy = RestartPolicy::Never;
        self.0.upserts.push((self.0.revision, pod));
        self
    }

    pub(super) fn bury(mut self, name: &str) -> Self {
        self.0.tombstones.push(Tombstone {
            uid: uid(name),
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            grace_seconds: 0,
            requested_at: UnixMillis(0),
        });
        self
    }

    pub(super) fn forget(mut self, name: &str) -> Self {
        self.0.forget.push(uid(name));
        self
    }

    /// A snapshot of a cluster that was restored.
    pub(super) fn restored(mut self) -> Self {
        self.0.restore_generation += 1;
        self.snapshot()
    }

    pub(super) fn snapshot(mut self) -> Self {
        self.0.base = None;
        self
    }
}

pub(super) fn uid(name: &str) -> PodUid {
    PodUid::new(format!("u-{name}"))
}

pub(super) fn assignment(name: &str) -> PodAssignment {
    let mut pod = fixture::pod(vec![fixture::container("c")]);
    pod.uid = uid(name);
    name.clone_into(&mut pod.name);
    pod
}

/// What a guest's run is made of.
pub(super) fn guest() -> Material {
    Material::Module { module: "m".to_owned(), files: GuestFiles::default() }
}

fn options() -> NodeOptions {
    let allocatable = NodeResources {
        cpu: dunlin_link::MilliCpu(4000),
        memory: dunlin_link::Bytes(1 << 30),
        pods: 10,
        ..NodeResources::default()
    };
    NodeOptions {
        name: "n1".to_owned(),
        facts: NodeFacts { allocatable, ..NodeFacts::default() },
        blocks: BlockRange::new(0, 1).unwrap(),
        loopback: Loopback { octet: 42, first_port: 1024 },
        seal: Arc::new(Seal {
            key: SealingKey::generate(&mut StdRng::seed_from_u64(1)),
            place: SealingPlace { cluster_id: "c".to_owned(), node: NodeName::new("n1") },
        }),
        thresholds: Thresholds::default(),
        own_sandboxes: BTreeSet::new(),
        api: None,
        sysctls: Default::default(),
        se_linux: false,
        app_armor: Default::default(),
    }
}

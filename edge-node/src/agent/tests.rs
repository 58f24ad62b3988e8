//! The agent with a real store, a real runner process and real modules, and no coordinator anywhere.

use std::{collections::BTreeMap, fs, process::ExitCode, sync::Arc, time::Duration};

use dunlin_edge_node_core::{
    address::{BlockRange, Loopback},
    content::Seal,
    pressure::Thresholds,
};
use dunlin_link::{
    Bytes, ContainerId, Digest, MilliCpu, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignmentChange, Tombstone},
    care::PodCare,
    held::HeldSet,
    logs::{LogRequest, LogStreams},
    pod::{
        ConfigKind, ConfigObject, ConfigRef, Container, EnvValue, EnvVar, Image, PodAssignment, PodSpec,
        PullPolicy, Resources, RestartPolicy,
    },
    sealed::{Content, SealingPlace},
    status::{ContainerState, NodeResources, PodPhase, PodStatusReport},
    volumes::PodVolumes,
};
use dunlin_registry::{Client, RegistriesConfig};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::UnixStream, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{AgentHost, AgentOptions, AgentParts, Codes, RunnerTarget};
use crate::{
    compiled::CompileMode,
    console::{self, Console, Desk, Keeper},
    facts::{self, Declared},
    health::{RunnerPid, Watcher, Writers},
    images::{Containers, ImageBounds, Images, ModuleFiles},
    local::{Local, OpenError},
    logs::LogKeeper,
    modules::Modules,
    runner::{self, Compiler, LogBounds, OwnCode, RunnerArgs},
    sandbox::{Doors, RunnerProcess, Sandbox},
    session::{SessionHandle, SessionHost, sealing_key},
    volumes::Volumes,
};

mod images;
mod streams;

/// The runner of these tests is this test program, told to run this test alone; the agent adds its words.
#[test]
fn runner_process() {
    let words: Vec<String> = std::env::args().collect();
    let [.., option, socket] = &words[..] else { return };
    if option != "--socket" {
        return;
    }
    let own = OwnCode::Compiled(Compiler::new(this_test("runner::tests::compiling_process")));
    let log_bounds = LogBounds::DEFAULT;
    let args = RunnerArgs { socket: socket.into(), log_bounds, own, keyvalue_quota_bytes: None };
    assert_eq!(runner::main(args), ExitCode::SUCCESS);
}

fn this_test(name: &str) -> Vec<std::ffi::OsString> {
    let this = std::env::current_exe().unwrap();
    [this.into()].into_iter().chain([name, "--nocapture", "--exact"].map(Into::into)).collect()
}

/// A node whose agent can be restarted.
struct Node {
    folder: TempDir,
    /// What the coordinator would hold.
    held: HeldSet,
    mode: CompileMode,
    agent: Option<Running>,
}

struct Running {
    host: AgentHost,
    images: Images,
    modules: ModuleFiles,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    async fn start() -> Self {
        Self::of(CompileMode::Auto).await
    }

    async fn of(mode: CompileMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Self { folder, held: HeldSet::default(), mode, agent: None };
        node.boot().await;
        node
    }

    async fn boot(&mut self) {
        let dir = self.folder.path();
        let seal = self.seal();
        let opened = within(async {
            loop {
                // The store of an agent that ended a moment ago may still be closing.
                match Local::open(dir, (&seal, &Arc::default())) {
                    Err(OpenError::InUse { .. }) => tokio::time::sleep(STEP).await,
                    opened => return opened.unwrap(),
                }
            }
        })
        .await;
        let mut facts = facts::read(dir, &Declared::default(), 100).unwrap();
        facts.allocatable =
            NodeResources { cpu: MilliCpu(4000), memory: Bytes(1 << 30), pods: 10, ..facts.capacity };
        let session = SessionHandle::detached(facts.clone());
        let mut command = this_test("agent::tests::runner_process");
        // What follows is no option to the test program.
        command.push("--".into());
        let sandbox = Sandbox::Process(RunnerProcess {
            command,
            socket: dir.join("runner.sock"),
            log: dir.join("runner.log"),
            pid: RunnerPid::default(),
        });
        let options = AgentOptions {
            node_name: "n1",
            state_dir: dir,
            facts,
            api: None,
            sysctls: Default::default(),
            blocks: BlockRange::new(0, 1).unwrap(),
            loopback: Loopback { octet: 42, first_port: 1024 },
            seal,
            volumes: Volumes::new(dir),
            thresholds: Thresholds::none(),
            image_bounds: ImageBounds::default(),
            codes: Codes {
                session: session.clone(),
                mode: self.mode,
                target: RunnerTarget::new(runner::target()),
            },
            doors: Doors::new(sandbox.door()),
            containers: Err("none here".to_owned()),
        };
        let client = Client::new(&RegistriesConfig::default()).unwrap();
        let images = Images::open(client, dir, Containers::Refused("none here".into())).unwrap();
        let modules = Modules::open(dir.join("modules")).unwrap();
        let files = modules.files();
        let (parts, host) = AgentParts::new(options, opened, (modules, images.clone()));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(parts.run(session, sandbox, None, shutdown.clone()));
        self.agent = Some(Running { host, images, modules: files, shutdown, task });
    }

    /// Ends the agent as `kill -9` would: nothing is finished.
    async fn kill_agent(&mut self) {
        let Running { task, .. } = self.agent.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    async fn stop_agent(&mut self) {
        let Running { shutdown, task, .. } = self.agent.take().unwrap();
        shutdown.cancel();
        within(task).await.unwrap();
    }

    async fn kill_runner(&self) {
        let stream = UnixStream::connect(self.folder.path().join("runner.sock")).await.unwrap();
        let pid = stream.peer_cred().unwrap().pid().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// The node's key, the same at each start.
    fn seal(&self) -> Arc<Seal> {
        fs::create_dir_all(self.folder.path().join("identity")).unwrap();
        let place = SealingPlace { cluster_id: "c".to_owned(), node: NodeName::new("n1") };
        Arc::new(Seal { key: sealing_key(self.folder.path()).unwrap(), place })
    }

    fn host(&self) -> &AgentHost {
        &self.agent.as_ref().unwrap().host
    }

    async fn change(&mut self, fill: impl FnOnce(&mut AssignmentChange)) {
        let mut change = AssignmentChange {
            restore_generation: 0,
            protocol: 6,
            base: Some(self.held.revision),
            revision: Revision(self.held.revision.0 + 1),
            upserts: Vec::new(),
            tombstones: Vec::new(),
            forget: Vec::new(),
            objects: Vec::new(),
            state_digest: Digest::of(b""),
        };
        fill(&mut change);
        self.held.apply(&change);
        change.state_digest = self.held.digest();
        let refusals = within(self.host().commit(change)).await.unwrap();
        assert_eq!(refusals, []);
    }

    /// Assigns pods of one container each, whose module is the text.
    async fn assign(&mut self, pods: &[(&str, RestartPolicy, &str)]) {
        let dir = self.folder.path().join("modules");
        let assignments: Vec<_> = pods
            .iter()
            .map(|(name, policy, text)| {
                let module = wat::parse_str(text).unwrap();
                let digest = Digest::of(&module);
                fs::write(dir.join(format!("{}.wasm", digest.hex())), module).unwrap();
                assignment(name, *policy, digest)
            })
            .collect();
        // The modules appeared behind the agent's back: it looks at its folder when it starts.
        self.stop_agent().await;
        self.boot().await;
        self.change(|change| {
            change.upserts = assignments.into_iter().map(|pod| (change.revision, pod)).collect();
        })
        .await;
    }

    async fn bury(&mut self, name: &str) {
        let tombstone = Tombstone {
            uid: uid(name),
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            grace_seconds: 0,
            requested_at: UnixMillis(0),
        };
        self.change(|change| change.tombstones = vec![tombstone]).await;
    }

    /// Waits for a report of the pod that satisfies `wanted`.
    async fn until(&self, name: &str, wanted: impl Fn(&PodStatusReport) -> bool) -> PodStatusReport {
        let host = self.host();
        let find = async {
            loop {
                let reports: BTreeMap<_, _> =
                    host.unacked().into_iter().map(|report| (report.uid.clone(), report)).collect();
                match reports.get(&uid(name)) {
                    Some(report) if wanted(report) => return report.clone(),
                    _ => tokio::time::sleep(STEP).await,
                }
            }
        };
        match timeout(PATIENCE, find).await {
            Ok(report) => report,
            Err(_) => panic!("{name}: {:#?}", host.unacked()),
        }
    }

    async fn log(&self, name: &str) -> String {
        let request = LogRequest {
            uid: uid(name),
            container: "c".to_owned(),
            follow: false,
            previous: false,
            since: None,
            tail_lines: None,
            timestamps: false,
            limit_bytes: None,
        };
        let mut text = String::new();
        let mut reader = self.host().open_log(request, LogStreams::All).await.unwrap();
        reader.read_to_string(&mut text).await.unwrap();
        text
    }
}

impl Node {
    /// The node's own socket, until the token is cancelled.
    async fn serve_console(&self) -> (Console, CancellationToken, JoinHandle<()>) {
        let dir = self.folder.path().to_owned();
        let facts = facts::read(&dir, &Declared::default(), 100).unwrap();
        let session = SessionHandle::detached(facts.clone());
        let writers = Writers::Own(RunnerPid::default());
        let watcher = Watcher { state_dir: dir.clone(), session, writers };
        let running = self.agent.as_ref().unwrap();
        let desk = Desk {
            host: running.host.clone(),
            images: running.images.clone(),
            modules: running.modules.clone(),
            watcher,
            logs: LogKeeper::new(dir.join("logs"), Bytes(1 << 20)),
            name: "n1".to_owned(),
            facts,
            started_at: UnixMillis(1),
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(console::serve(desk, shutdown.clone()));
        let socket = dir.join(console::SOCKET);
        within(async {
            while !socket.exists() {
                tokio::time::sleep(STEP).await;
            }
        })
        .await;
        (Console::of(&dir), shutdown, serving)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_own_socket_answers_without_a_coordinator() {
    let mut node = Node::start().await;
    node.assign(&[("sleeper", RestartPolicy::Never, SLEEPER), ("hello", RestartPolicy::Never, HELLO)]).await;
    let first = node.until("sleeper", is_running).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    let (console, shutdown, serving) = node.serve_console().await;
    let pods = within(console.pods()).await.unwrap();
    let seen: Vec<_> =
        pods.iter().map(|pod| (pod.assignment.name.as_str(), pod.synced, pod.reported)).collect();
    assert_eq!(seen, [("hello", true, false), ("sleeper", true, false)]);
    assert_eq!(pods[1].report.containers, first.containers);
    assert_eq!(pods[1].keeper, Keeper::Assigned(1));
    let view = within(console.node()).await.unwrap();
    assert_eq!((view.applied_revision, view.connected_since, view.health.outbox.reports), (1, None, 2));
    assert_eq!(view.unreported, ["ns/hello", "ns/sleeper"]);
    let request = LogRequest {
        uid: uid("hello"),
        container: "c".to_owned(),
        follow: false,
        previous: false,
        since: None,
        tail_lines: None,
        timestamps: false,
        limit_bytes: None,
    };
    let mut log = within(console.log(request)).await.unwrap();
    assert_eq!(within(log.chunk()).await.unwrap(), b"hello\n");
    assert_eq!(within(log.chunk()).await.unwrap(), b"");

    assert_eq!(within(console.restart(uid("sleeper"), None)).await.unwrap(), ["c"]);
    let counted = |report: &PodStatusReport| is_running(report) && report.containers[0].restart_count == 1;
    node.until("sleeper", counted).await;
    let refused = within(console.restart(uid("hello"), None)).await.unwrap_err().to_string();
    assert!(refused.contains("over or ending"), "{refused}");
    let refused = within(console.restart(uid("nobody"), None)).await.unwrap_err().to_string();
    assert_eq!(refused, "pod not found on this node");
    shutdown.cancel();
    within(serving).await.unwrap();
    assert!(within(console.pods()).await.unwrap_err().to_string().contains("no agent answers"));
    node.stop_agent().await;
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_compiles_says_what_it_waits_for() {
    let mut node = Node::of(CompileMode::Never).await;
    node.assign(&[("sleeper", RestartPolicy::Always, SLEEPER)]).await;
    let is_waiting = |report: &PodStatusReport| matches!(&report.containers[0].state, ContainerState::Waiting { reason, .. } if reason == "ErrImagePull");
    let report = node.until("sleeper", is_waiting).await;
    let ContainerState::Waiting { message, .. } = &report.containers[0].state else { panic!("{report:?}") };
    for words in ["no compiled code", "--compile never", "cannot be reached"] {
        assert!(message.contains(words), "{message}");
    }
    // The same pod once the machine may compile.
    node.mode = CompileMode::Auto;
    node.stop_agent().await;
    node.boot().await;
    node.until("sleeper", is_running).await;
    node.stop_agent().await;
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_survive_the_agent_and_come_back_after_the_runner() {
    let mut node = Node::start().await;
    node.assign(&[
        ("sleeper", RestartPolicy::Always, SLEEPER),
        ("hello", RestartPolicy::Never, HELLO),
        ("crasher", RestartPolicy::Never, CRASHER),
    ])
    .await;
    let first = node.until("sleeper", is_running).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    let crashed = node.until("crasher", |report| report.phase == PodPhase::Failed).await;
    let ContainerState::Terminated(end) = &crashed.containers[0].state else { panic!("{crashed:?}") };
    assert_eq!((end.exit_code, end.reason.as_str()), (134, "Error"));
    assert_eq!(node.log("hello").await, "hello\n");

    node.kill_agent().await;
    node.boot().await;
    let adopted = node.until("sleeper", is_running).await;
    assert_eq!(adopted.containers[0].container_id, first.containers[0].container_id);
    assert!(adopted.sequence > first.sequence);
    assert_eq!(adopted.pod_ip, first.pod_ip);
    let hello = node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    assert_eq!(hello.containers[0].restart_count, 0);

    node.kill_runner().await;
    node.until("sleeper", |report| is_running(report) && report.containers[0].restart_count == 1).await;

    node.kill_runner().await;
    node.kill_agent().await;
    node.boot().await;
    // Both died within a second of the last restart: if that was not written, the run's log tells of it.
    node.until("sleeper", |report| is_running(report) && report.containers[0].restart_count == 2).await;
    node.until("hello", |report| report.phase == PodPhase::Succeeded).await;
    assert_eq!(node.host().applied().state_digest, node.held.digest());

    node.bury("sleeper").await;
    node.until("sleeper", |report| report.stopped).await;
    node.stop_agent().await;
    node.boot().await;
    node.until("sleeper", |report| report.stopped).await;
    node.change(|change| change.forget = vec![uid("sleeper")]).await;
    assert!(!node.host().unacked().iter().any(|report| report.uid == uid("sleeper")));
    let logs = node.folder.path().join("logs/ns_sleeper_u-sleeper");
    within(async {
        while logs.exists() {
            tokio::time::sleep(STEP).await;
        }
    })
    .await;
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_do_not_fit_leave_the_state_as_it_was() {
    let mut node = Node::start().await;
    node.change(|_| {}).await;
    let applied = node.host().applied();
    let change = |base, revision, state_digest| AssignmentChange {
        restore_generation: 0,
        protocol: 6,
        base,
        revision: Revision(revision),
        upserts: Vec::new(),
        tombstones: Vec::new(),
        forget: Vec::new(),
        objects: Vec::new(),
        state_digest,
    };
    let good = node.held.digest();
    for bad in [change(Some(Revision(7)), 8, good), change(None, 0, good)] {
        assert!(node.host().commit(bad).await.is_err());
        assert_eq!(node.host().applied(), applied);
    }
    // A restored cluster may go back, and its generation is kept with the set.
    let restored = AssignmentChange { restore_generation: 1, ..change(None, 0, good) };
    assert_eq!(node.host().commit(restored).await.unwrap(), []);
    let now = node.host().applied();
    assert_eq!((now.revision, now.restore_generation), (Revision(0), 1));
    let onward = AssignmentChange { restore_generation: 1, ..change(Some(Revision(0)), 1, good) };
    assert_eq!(node.host().commit(onward).await.unwrap(), []);
    let applied = node.host().applied();
    // This one does not end the session: the coordinator is asked for a snapshot.
    let other = change(Some(Revision(1)), 2, Digest::of(b"another set"));
    let other = AssignmentChange { restore_generation: 1, ..other };
    assert_eq!(node.host().commit(other).await.unwrap(), []);
    assert_eq!(node.host().applied(), applied);
    node.change(|change| change.restore_generation = 1).await;
    assert_eq!(node.host().applied().revision, Revision(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_reaches_its_pod_and_never_the_disk() {
    let mut node = Node::start().await;
    let (first, rotated, clear) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
    node.assign_teller(first, node.sealed(first, "hunter-one")).await;
    let report = node.until("teller", is_running).await;
    node.until_log("teller", "PASSWORD=hunter-one").await;
    assert!(!node.folder_says("hunter-one"), "also not after the runner was told");

    // Without a coordinator, the agent and all that it started gone: a reboot.
    node.kill_runner().await;
    node.kill_agent().await;
    node.boot().await;
    node.until("teller", |now| is_running(now) && container_id(now) != container_id(&report)).await;
    node.until_log("teller", "PASSWORD=hunter-one").await;
    assert!(!node.folder_says("hunter-one"));

    // A rotated one, and one from a coordinator of version 1, which sends it in clear.
    let in_clear = secret("hunter-three").into();
    for (id, content, value) in
        [(rotated, node.sealed(rotated, "hunter-two"), "hunter-two"), (clear, in_clear, "hunter-three")]
    {
        let before = node.until("teller", is_running).await;
        node.assign_teller(id, content).await;
        node.kill_runner().await;
        node.until("teller", |now| is_running(now) && container_id(now) != container_id(&before)).await;
        node.until_log("teller", &format!("PASSWORD={value}")).await;
        assert!(!node.folder_says(value));
    }
    node.kill_runner().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_secret_cannot_be_opened_says_so_and_waits_for_it() {
    let mut node = Node::start().await;
    let id = Digest::of(b"1");
    node.assign_teller(id, node.sealed(id, "hunter-one")).await;
    node.until("teller", is_running).await;
    node.kill_runner().await;
    node.kill_agent().await;
    fs::remove_file(node.folder.path().join("identity/sealing.key")).unwrap();
    node.boot().await;
    let report = node
        .until("teller", |report| report.containers[0].container_id.is_none() || !is_running(report))
        .await;
    let waits = |report: &PodStatusReport| match &report.containers[0].state {
        ContainerState::Waiting { reason, message } => {
            reason == "CreateContainerConfigError" && message.contains("secret \"s\" cannot be opened")
        }
        _ => false,
    };
    assert!(report.phase != PodPhase::Failed);
    node.until("teller", waits).await;

    // What another pod needs of it does not come by a delta: everything is to be sent again.
    let applied = node.host().applied();
    let mut delta = node.teller_change(id, node.sealed(id, "hunter-one"));
    delta.objects.clear();
    assert_eq!(node.host().commit(delta).await.unwrap(), []);
    assert_eq!(node.host().applied(), applied);
    let content = node.sealed(id, "hunter-one");
    let mut snapshot = node.teller_change(id, content);
    snapshot.base = None;
    assert_eq!(node.host().commit(snapshot).await.unwrap(), []);
    node.until("teller", is_running).await;
    node.until_log("teller", "PASSWORD=hunter-one").await;
    assert!(!node.folder_says("hunter-one"));
    node.kill_runner().await;
}

impl Node {
    /// Content sealed to the node's key of now.
    fn sealed(&self, id: Digest, value: &str) -> Content {
        let seal = self.seal();
        let sealed = seal.key.public().seal(&secret(value), &id, &seal.place, &mut rand::rng());
        Content::Sealed(sealed.unwrap().into())
    }

    /// A change that assigns a pod which tells what is in the secret of this id.
    fn teller_change(&self, id: Digest, content: Content) -> AssignmentChange {
        let module = wat::parse_str(TELLER).unwrap();
        let mut pod = assignment("teller", RestartPolicy::Always, Digest::of(&module));
        pod.config = vec![ConfigRef { kind: ConfigKind::Secret, name: "s".to_owned(), digest: Some(id) }];
        let value = EnvValue::Key {
            kind: ConfigKind::Secret,
            name: "s".to_owned(),
            key: "password".to_owned(),
            optional: false,
        };
        pod.spec.containers[0].env = vec![EnvVar { name: "PASSWORD".to_owned(), value }];
        let revision = Revision(self.held.revision.0 + 1);
        let mut change = AssignmentChange {
            restore_generation: 0,
            protocol: 6,
            base: Some(self.held.revision),
            revision,
            upserts: vec![(revision, pod)],
            tombstones: Vec::new(),
            forget: Vec::new(),
            objects: vec![(id, content)],
            state_digest: Digest::of(b""),
        };
        let mut held = self.held.clone();
        held.apply(&change);
        change.state_digest = held.digest();
        change
    }

    async fn assign_teller(&mut self, id: Digest, content: Content) {
        let module = wat::parse_str(TELLER).unwrap();
        let file = self.folder.path().join("modules").join(format!("{}.wasm", Digest::of(&module).hex()));
        if !file.exists() {
            fs::write(file, module).unwrap();
            self.stop_agent().await;
            self.boot().await;
        }
        let change = self.teller_change(id, content);
        self.held.apply(&change);
        assert_eq!(within(self.host().commit(change)).await.unwrap(), []);
    }

    async fn until_log(&self, name: &str, wanted: &str) {
        within(async {
            while !self.log(name).await.contains(wanted) {
                tokio::time::sleep(STEP).await;
            }
        })
        .await;
    }

    /// Whether a file of the node holds this text, but for what guests print themselves.
    fn folder_says(&self, text: &str) -> bool {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() && !path.ends_with("logs") {
                    folders.push(path);
                } else if kind.is_file()
                    && fs::read(path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
                {
                    return true;
                }
            }
        }
        false
    }
}

fn secret(value: &str) -> ConfigObject {
    ConfigObject { kind: ConfigKind::Secret, data: vec![("password".to_owned(), value.into())] }
}

fn container_id(report: &PodStatusReport) -> Option<ContainerId> {
    report.containers[0].container_id.clone()
}

fn is_running(report: &PodStatusReport) -> bool {
    report.phase == PodPhase::Running && matches!(report.containers[0].state, ContainerState::Running { .. })
}

fn uid(name: &str) -> PodUid {
    PodUid::new(format!("u-{name}"))
}

fn assignment(name: &str, restart_policy: RestartPolicy, digest: Digest) -> PodAssignment {
    let container = Container {
        name: "c".to_owned(),
        image: Image {
            reference: format!("dunlin.local/{name}:v1"),
            pull_policy: PullPolicy::IfNotPresent,
            digest: Some(digest),
            unresolved: String::new(),
        },
        command: Vec::new(),
        args: Vec::new(),
        working_dir: None,
        env_from: Vec::new(),
        env: Vec::new(),
        ports: Vec::new(),
        resources: Resources::default(),
        sidecar: false,
        termination_message_from_logs: false,
        refused_fields: Vec::new(),
    };
    PodAssignment {
        uid: uid(name),
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        generation: 1,
        spec: PodSpec {
            labels: Vec::new(),
            annotations: Vec::new(),
            restart_policy,
            termination_grace_seconds: 1,
            active_deadline_seconds: None,
            init_containers: Vec::new(),
            containers: vec![container],
            host_network: false,
            hostname: name.to_owned(),
            service_account_name: "default".to_owned(),
        },
        config: Vec::new(),
        care: PodCare::default(),
        volumes: PodVolumes::default(),
        linux: None,
        tokens: Default::default(),
        volume_images: Default::default(),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(2);

/// Waits for an hour on the monotonic clock.
const SLEEPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 3600000000000))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;

/// Prints its environment, then waits for an hour.
const TELLER: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $environ (i32.const 1024) (i32.const 8192)))
        (i32.store8 (i32.add (i32.const 8192) (i32.load (i32.const 4))) (i32.const 10))
        (i32.store (i32.const 8) (i32.const 8192))
        (i32.store (i32.const 12) (i32.add (i32.const 1) (i32.load (i32.const 4))))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
        (i32.store (i32.const 272) (i32.const 1))
        (i64.store (i32.const 280) (i64.const 3600000000000))
        (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 640)))))"#;

/// Prints a line.
const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "hello\n")
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 6))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Traps.
const CRASHER: &str = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;

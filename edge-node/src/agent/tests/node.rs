//! A node of these tests: its agent, its runner, and what the coordinator would hold.

use super::*;

/// A node whose agent can be restarted.
pub(super) struct Node {
    pub(super) folder: TempDir,
    /// What the coordinator would hold.
    pub(super) held: HeldSet,
    pub(super) mode: CompileMode,
    pub(super) agent: Option<Running>,
}

pub(super) struct Running {
    pub(super) host: AgentHost,
    pub(super) images: Images,
    pub(super) modules: ModuleFiles,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Node {
    pub(super) async fn start() -> Self {
        Self::of(CompileMode::Auto).await
    }

    pub(super) async fn of(mode: CompileMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Self { folder, held: HeldSet::default(), mode, agent: None };
        node.boot().await;
        node
    }

    pub(super) async fn boot(&mut self) {
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
    pub(super) async fn kill_agent(&mut self) {
        let Running { task, .. } = self.agent.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub(super) async fn stop_agent(&mut self) {
        let Running { shutdown, task, .. } = self.agent.take().unwrap();
        shutdown.cancel();
        within(task).await.unwrap();
    }

    pub(super) async fn kill_runner(&self) {
        let stream = UnixStream::connect(self.folder.path().join("runner.sock")).await.unwrap();
        let pid = stream.peer_cred().unwrap().pid().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// The node's key, the same at each start.
    pub(super) fn seal(&self) -> Arc<Seal> {
        fs::create_dir_all(self.folder.path().join("identity")).unwrap();
        let place = SealingPlace { cluster_id: "c".to_owned(), node: NodeName::new("n1") };
        Arc::new(Seal { key: sealing_key(self.folder.path()).unwrap(), place })
    }

    pub(super) fn host(&self) -> &AgentHost {
        &self.agent.as_ref().unwrap().host
    }

    pub(super) async fn change(&mut self, fill: impl FnOnce(&mut AssignmentChange)) {
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
    pub(super) async fn assign(&mut self, pods: &[(&str, RestartPolicy, &str)]) {
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

    pub(super) async fn bury(&mut self, name: &str) {
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
    pub(super) async fn until(
        &self,
        name: &str,
        wanted: impl Fn(&PodStatusReport) -> bool,
    ) -> PodStatusReport {
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

    pub(super) async fn log(&self, name: &str) -> String {
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
    pub(super) async fn serve_console(&self) -> (Console, CancellationToken, JoinHandle<()>) {
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

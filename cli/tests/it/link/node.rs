//! A node's session, with an agent behind it that keeps its state in memory.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use dunlin_edge_node::session::{
    Applied, Identity, JoinError, JoinOptions, Session, SessionHandle, SessionHost, SessionOptions,
    StreamRefused, Transport, join, sealing_key,
};
use dunlin_link::{
    BootId, Bytes, Digest, MilliCpu, NodeName, PodUid,
    assignment::{AssignmentChange, Refusal},
    care::PodCare,
    held::HeldSet,
    join::JoinToken,
    logs::{LogRequest, LogStreams},
    pod::{Container, Image, PodAssignment, PodSpec, PullPolicy, Resources, RestartPolicy},
    status::{NodeFacts, NodeResources, PodPhase, PodStatusReport},
    volumes::PodVolumes,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::cluster::PATIENCE;

/// What there is of a log or dump before its disk breaks.
pub(crate) const TORN_BYTES: usize = 100_000;

/// The played agent: starts what it is assigned at once and stops what is buried at once.
pub(crate) struct Agent {
    state: Mutex<State>,
    handle: SessionHandle,
    pub(crate) held: watch::Sender<HeldSet>,
    /// Breaks the disk that a torn log is on.
    pub(crate) tear: CancellationToken,
}

#[derive(Default)]
struct State {
    held: HeldSet,
    unacked: BTreeMap<PodUid, PodStatusReport>,
    names: BTreeMap<PodUid, String>,
    sequence: u64,
}

impl Agent {
    fn torn(&self) -> Box<dyn AsyncRead + Send + Unpin> {
        Box::new(Torn(TORN_BYTES, Box::pin(self.tear.clone().cancelled_owned())))
    }

    fn report(&self, state: &mut State, uid: &PodUid) {
        state.sequence += 1;
        let mut report = report(uid, state.sequence);
        report.name = state.names.get(uid).cloned().unwrap_or_default();
        report.stopped = state.held.tombstones.contains_key(uid);
        state.unacked.insert(uid.clone(), report.clone());
        self.handle.report(report);
    }
}

impl SessionHost for Agent {
    fn applied(&self) -> Applied {
        let state = self.state.lock().unwrap();
        Applied {
            revision: state.held.revision,
            restore_generation: 0,
            protocol: 5,
            state_digest: state.held.digest(),
        }
    }

    async fn commit(&self, change: AssignmentChange) -> io::Result<Vec<Refusal>> {
        let mut state = self.state.lock().unwrap();
        let mut after = state.held.clone();
        let _orphans = after.apply(&change);
        if after.digest() != change.state_digest {
            return Ok(Vec::new());
        }
        state.held = after;
        change.forget.iter().for_each(|uid| drop(state.unacked.remove(uid)));
        let named = change.upserts.iter().map(|(_, pod)| (pod.uid.clone(), pod.name.clone()));
        state.names.extend(named);
        let started = change.upserts.iter().map(|(_, pod)| pod.uid.clone());
        let stopped = change.tombstones.iter().map(|tombstone| tombstone.uid.clone());
        for uid in started.chain(stopped).collect::<Vec<_>>() {
            self.report(&mut state, &uid);
        }
        self.held.send_replace(state.held.clone());
        let refused = change.upserts.iter().filter(|(_, pod)| pod.name == "refuse-me");
        Ok(refused
            .map(|(_, pod)| Refusal {
                uid: pod.uid.clone(),
                reason: "OutOfpods".into(),
                message: String::new(),
            })
            .collect())
    }

    fn acked(&self, reports: Vec<(PodUid, u64)>) {
        let mut state = self.state.lock().unwrap();
        for (uid, sequence) in reports {
            if state.unacked.get(&uid).is_some_and(|report| report.sequence <= sequence) {
                state.unacked.remove(&uid);
            }
        }
    }

    fn unacked(&self) -> Vec<PodStatusReport> {
        self.state.lock().unwrap().unacked.values().cloned().collect()
    }

    async fn open_log(
        &self,
        request: LogRequest,
        _streams: LogStreams,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, String> {
        if request.container == "none" {
            return Err("container \"none\" has no log".into());
        }
        match request.container.as_str() {
            "torn" => Ok(self.torn()),
            _ => Ok(Box::new(io::Cursor::new(vec![b'x'; 300_000]))),
        }
    }

    async fn open_core_dump(
        &self,
        _uid: PodUid,
        _container: String,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, StreamRefused> {
        Ok(self.torn())
    }
}

/// What a disk gives that breaks when it is told, after so many bytes.
struct Torn(usize, Pin<Box<WaitForCancellationFutureOwned>>);

impl AsyncRead for Torn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return self.1.as_mut().poll(context).map(|()| Err(io::Error::other("the disk is broken")));
        }
        let part = buffer.remaining().min(self.0);
        buffer.initialize_unfilled_to(part).fill(b'x');
        buffer.advance(part);
        self.0 -= part;
        Poll::Ready(Ok(()))
    }
}

/// A node with a session that runs until it is stopped.
pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) agent: Arc<Agent>,
    pub(crate) handle: SessionHandle,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    /// Joins with a token and starts a session.
    pub(crate) async fn join(token: JoinToken, name: &str) -> Self {
        Self::join_by(token, name, Transport::Auto).await
    }

    /// The same by a given way.
    pub(crate) async fn join_by(token: JoinToken, name: &str, transport: Transport) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = try_join_by(token, name, folder.path().into(), transport).await.unwrap();
        Self::start_by(identity, folder, transport)
    }

    /// Starts a session with an identity.
    pub(crate) fn start(identity: Identity, folder: tempfile::TempDir) -> Self {
        Self::start_by(identity, folder, Transport::Auto)
    }

    pub(crate) fn start_by(identity: Identity, folder: tempfile::TempDir, transport: Transport) -> Self {
        // A second agent has the first one's identity, and a folder of its own.
        std::fs::create_dir_all(folder.path().join("identity")).unwrap();
        let options = SessionOptions {
            addresses: Vec::new(),
            facts: facts(),
            boot_id: BootId([1; 16]),
            transport,
            sealing_key: sealing_key(folder.path()).unwrap().public(),
            server_time: Arc::default(),
        };
        let session = Session::new(identity, options);
        let handle = session.handle();
        let agent = Arc::new(Agent {
            state: Mutex::default(),
            handle: handle.clone(),
            held: watch::Sender::new(HeldSet::default()),
            tear: CancellationToken::new(),
        });
        let stop = CancellationToken::new();
        let running = tokio::spawn(session.run(Arc::clone(&agent), stop.clone()));
        Self { folder, agent, handle, stop, running }
    }

    /// Stops the session; its folder stays.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.running.await.unwrap();
        self.folder
    }

    /// Waits until what the agent holds is as wanted.
    pub(crate) async fn holds(&self, what: &str, is_so: impl Fn(&HeldSet) -> bool) {
        let mut held = self.agent.held.subscribe();
        let waited = tokio::time::timeout(PATIENCE, held.wait_for(|held| is_so(held))).await;
        assert!(waited.is_ok(), "never so: {what}; holds {:?}", self.agent.held.borrow());
    }
}

pub(crate) async fn try_join(
    token: JoinToken,
    name: &str,
    state_dir: PathBuf,
) -> Result<Identity, JoinError> {
    try_join_by(token, name, state_dir, Transport::Auto).await
}

pub(crate) async fn try_join_by(
    token: JoinToken,
    name: &str,
    state_dir: PathBuf,
    transport: Transport,
) -> Result<Identity, JoinError> {
    let (addresses, node) = (Vec::new(), NodeName::new(name));
    join(JoinOptions { token, addresses, node, state_dir, transport }).await
}

pub(crate) fn pod(uid: &str, digest: Digest) -> PodAssignment {
    let image = Image {
        reference: "hello".into(),
        pull_policy: PullPolicy::IfNotPresent,
        digest: Some(digest),
        unresolved: String::new(),
    };
    let container = Container {
        name: "main".into(),
        image,
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
        uid: PodUid::new(uid),
        namespace: "default".into(),
        name: uid.into(),
        generation: 1,
        spec: PodSpec {
            labels: Vec::new(),
            annotations: Vec::new(),
            restart_policy: RestartPolicy::Always,
            termination_grace_seconds: 1,
            active_deadline_seconds: None,
            init_containers: Vec::new(),
            containers: vec![container],
            host_network: false,
            hostname: uid.into(),
            service_account_name: "default".into(),
        },
        config: Vec::new(),
        care: PodCare::default(),
        volumes: PodVolumes::default(),
        linux: None,
        tokens: Default::default(),
        volume_images: Default::default(),
        ephemeral: Default::default(),
        resources: Default::default(),
    }
}

pub(crate) fn report(uid: &PodUid, sequence: u64) -> PodStatusReport {
    PodStatusReport {
        uid: uid.clone(),
        namespace: "default".into(),
        name: "p".into(),
        sequence,
        observed_generation: 1,
        phase: PodPhase::Running,
        reason: String::new(),
        message: String::new(),
        conditions: Vec::new(),
        host_ip: String::new(),
        pod_ip: String::new(),
        start_time: None,
        init_containers: Vec::new(),
        containers: Vec::new(),
        stopped: false,
        local_endpoints: Vec::new(),
    }
}

pub(crate) fn facts() -> NodeFacts {
    let capacity = NodeResources {
        cpu: MilliCpu(1000),
        memory: Bytes(1 << 30),
        ephemeral_storage: Bytes(1 << 30),
        pods: 10,
    };
    NodeFacts {
        architecture: "amd64".into(),
        operating_system: "linux".into(),
        kernel_version: String::new(),
        os_image: String::new(),
        machine_id: String::new(),
        boot_id: String::new(),
        version: String::new(),
        runtime_version: String::new(),
        hostname: "h".into(),
        addresses: Vec::new(),
        capacity,
        allocatable: capacity,
        labels: Vec::new(),
        taints: Vec::new(),
        containers: None,
        huge_pages: Vec::new(),
    }
}

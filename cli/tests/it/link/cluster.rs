//! A coordinator's endpoint on a free port, with a cluster behind it that does what a test says.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use async_trait::async_trait;
use dunlin_coordinator::{
    artifacts::{Artifacts, OpenModule},
    authn::Authenticator,
    members::Members,
    mirrors::Tended,
    pki::{Pki, ServingCertificate},
    quic::{QuicServer, Services},
    service::{ApiService, Clock},
    sessions::{Cluster, SessionOptions, Sessions},
    store::{Store, StoreOptions},
    tokens::{NewToken, Tokens},
};
use dunlin_link::{
    Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignedPod, Desired, Refusal, Tombstone},
    join::JoinToken,
    message::Tunables,
    node_network::NodeNetwork,
    node_state::NodeState,
    pod::PodAssignment,
    session::{coordinator::Recorded, registry::CloneNews},
    statics::{StaticPod, StaticPodName},
    status::{NodeEvent, NodeFacts, PodStatusReport},
};
use tokio::{fs::File, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// What the played cluster wants and has heard.
#[derive(Debug)]
pub(crate) struct Played {
    desired: watch::Sender<Revision>,
    set: Mutex<Desired>,
    artifacts: Artifacts,
    pub(crate) heard: watch::Sender<Heard>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) log: Vec<String>,
    pub(crate) reports: Vec<PodStatusReport>,
}

impl Played {
    pub(crate) fn assign(&self, pod: PodAssignment) {
        self.change(|desired, revision| {
            let assigned = AssignedPod { revision, assignment: Arc::new(pod) };
            Arc::make_mut(&mut desired.pods).insert(assigned.assignment.uid.clone(), assigned);
        });
    }

    pub(crate) fn bury(&self, uid: &PodUid) {
        self.change(|desired, _| {
            let tombstone = Tombstone {
                uid: uid.clone(),
                namespace: "default".into(),
                name: "p".into(),
                grace_seconds: 1,
                requested_at: UnixMillis(0),
            };
            Arc::make_mut(&mut desired.tombstones).insert(uid.clone(), tombstone);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Desired, Revision)) {
        let mut set = self.set.lock().unwrap();
        let revision = Revision(set.revision.0 + 1);
        set.revision = revision;
        change(&mut set, revision);
        drop(set);
        self.desired.send_replace(revision);
    }

    fn say(&self, line: String) {
        self.heard.send_modify(|heard| heard.log.push(line));
    }

    /// Waits until the cluster has heard `line`, so often.
    pub(crate) async fn hears(&self, line: &str, times: usize) {
        self.hears_that(line, |heard| heard.log.iter().filter(|known| *known == line).count() >= times).await;
    }

    /// Waits until what the cluster has heard is as wanted.
    pub(crate) async fn hears_that(&self, what: &str, is_so: impl Fn(&Heard) -> bool) {
        let mut heard = self.heard.subscribe();
        let waited = tokio::time::timeout(PATIENCE, heard.wait_for(|heard| is_so(heard))).await;
        assert!(waited.is_ok(), "never heard: {what}; heard: {:?}", self.heard.borrow().log);
    }
}

#[async_trait]
impl Cluster for Played {
    fn subscribe(&self, _node: &NodeName) -> watch::Receiver<Revision> {
        self.desired.subscribe()
    }

    fn desired(&self, _node: &NodeName) -> Desired {
        self.set.lock().unwrap().clone()
    }

    async fn connected(&self, node: &NodeName, _facts: NodeFacts) {
        self.say(format!("connected {node}"));
    }

    async fn state(&self, _node: &NodeName, _state: NodeState) {}

    async fn network(&self, _node: &NodeName, _network: NodeNetwork) {}

    async fn no_network(&self, node: &NodeName) {
        self.say(format!("no network of {node}"));
    }

    async fn disconnected(&self, node: &NodeName) {
        self.say(format!("disconnected {node}"));
    }

    async fn cloned(&self, node: &NodeName, news: CloneNews) {
        self.say(format!("{news:?} {node}"));
    }

    async fn is_cloned(&self, _node: &NodeName) -> bool {
        false
    }

    async fn pod_statuses(
        &self,
        _node: &NodeName,
        reports: Vec<PodStatusReport>,
        _clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)> {
        let results = reports.iter().map(|report| (report.uid.clone(), Recorded::Done)).collect();
        self.heard.send_modify(|heard| heard.reports.extend(reports));
        results
    }

    fn subscribe_mirrors(&self, _node: &NodeName) -> watch::Receiver<()> {
        watch::Sender::new(()).subscribe()
    }

    async fn static_pods(&self, _node: &NodeName, _pods: Vec<StaticPodName>) {}

    async fn static_pod(&self, _node: &NodeName, _pod: StaticPod) {}

    async fn tend_mirrors(&self, _node: &NodeName) -> Tended {
        Tended::default()
    }

    async fn events(&self, _node: &NodeName, events: Vec<NodeEvent>, _clock_offset_ms: i64) {
        events.iter().for_each(|event| self.say(format!("event {}", event.reason)));
    }

    async fn refused(&self, _node: &NodeName, refusals: Vec<Refusal>) {
        refusals.iter().for_each(|refusal| self.say(format!("refused {}", refusal.uid)));
    }

    async fn buried(&self, _node: &NodeName, uids: Vec<PodUid>) {
        self.change(|desired, _| {
            for uid in &uids {
                Arc::make_mut(&mut desired.pods).remove(uid);
                Arc::make_mut(&mut desired.tombstones).remove(uid);
            }
        });
        uids.iter().for_each(|uid| self.say(format!("buried {uid}")));
    }

    async fn open_module(&self, digest: Digest, offset: u64) -> io::Result<Option<OpenModule<File>>> {
        self.artifacts.open_module(digest, offset).await
    }
}

/// A running endpoint.
pub(crate) struct Coordinator {
    folder: tempfile::TempDir,
    pub(crate) played: Arc<Played>,
    pub(crate) tokens: Tokens,
    pub(crate) sessions: Sessions,
    pub(crate) api: ApiService,
    pub(crate) artifacts: Artifacts,
    pub(crate) address: SocketAddr,
    store: Store,
    pki: Pki,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Coordinator {
    pub(crate) async fn start() -> Self {
        capture_logs();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let artifacts = Artifacts::open(folder.path(), store.clone()).unwrap();
        let played = Arc::new(Played {
            desired: watch::Sender::new(Revision(0)),
            set: Mutex::default(),
            artifacts: artifacts.clone(),
            heard: watch::Sender::new(Heard::default()),
        });
        Self::run(folder, store, pki, artifacts, played, ([127, 0, 0, 1], 0).into()).await
    }

    async fn run(
        folder: tempfile::TempDir,
        store: Store,
        pki: Pki,
        artifacts: Artifacts,
        played: Arc<Played>,
        address: SocketAddr,
    ) -> Self {
        let tunables = Tunables { keep_alive_ms: 1_000, idle_timeout_ms: 4_000, reconnect_ms_max: 100 };
        let tokens = Tokens::new(store.clone(), pki.digest());
        let options = SessionOptions {
            cluster_id: pki.cluster_id().to_owned(),
            restore: None,
            term: store.next_term().await.unwrap(),
            tunables,
            node_bandwidth: None,
            sessions_max: 2,
            clock: Clock::system(),
        };
        let sessions = Sessions::new(Arc::clone(&played) as Arc<dyn Cluster>, options);
        let api = ApiService::new(store.clone(), Clock::system());
        api.attach_sessions(Arc::new(sessions.clone()));
        let members = Members::new(pki.clone(), tokens.clone(), Clock::system(), Duration::from_secs(3600));
        let certificate = ServingCertificate::new(&pki, &[]).unwrap();
        let authenticator = Authenticator::new(members.clone(), tokens.clone(), api.clone());
        let services = Services::new(certificate, members, sessions.clone(), api.clone(), authenticator);
        let server = QuicServer::bind(address, tunables, services).unwrap();
        let address = server.local_addr().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        Self { folder, played, tokens, sessions, api, artifacts, address, store, pki, stop, running }
    }

    /// Stops the endpoint and starts another on the same port and store, in a later term.
    pub(crate) async fn restart(self) -> Self {
        self.stop.cancel();
        self.running.await.unwrap();
        Self::run(self.folder, self.store, self.pki, self.artifacts, self.played, self.address).await
    }

    /// A token for one node, good for a minute.
    pub(crate) async fn token(&self) -> JoinToken {
        self.token_with(Some(Duration::from_secs(60)), Some(1)).await
    }

    pub(crate) async fn token_with(&self, lifetime: Option<Duration>, uses: Option<u32>) -> JoinToken {
        let addresses = vec![self.address.to_string()];
        let new = NewToken { description: String::new(), lifetime, uses, addresses, replaces: None };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = UnixMillis(i64::try_from(now.as_millis()).unwrap());
        self.tokens.create(new, now).await.unwrap()
    }
}

/// All that both sides log, in one text.
static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGS.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_ansi(false).with_writer(|| LogWriter).init();
    });
}

/// Waits for a log line that holds all of `parts`.
pub(crate) async fn logged(parts: &[&str]) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = String::from_utf8_lossy(&LOGS.lock().unwrap()).into_owned();
        if text.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "never logged {parts:?} in:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

//! The one module of the node that names quinn: joining a cluster, and the session that is kept up with the coordinator.
//!
//! [`join`] makes a machine a node, once. [`Session::run`] keeps one connection open for as long as the agent lives and runs the
//! link's machine over it; [`SessionHandle`] is how the agent speaks, connected or not.
//!
//! Nothing here knows the agent but by [`SessionHost`], so a process can run the sessions of many nodes, each with a host of its
//! own, as the fleet of hollow nodes does; [`SharedSocket`] then keeps the number of its sockets small.

mod byte_stream;
mod compiled;
mod connect;
mod contact;
mod content;
mod dial;
mod drive;
mod fetch;
mod identity;
mod join;
mod namespaces;
mod network;
mod path;
mod renew;
mod restore;
mod sealing;
mod stream;
mod streams;
mod tls;
mod tokens;
mod way;

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_link::{
    BootId, Digest, PodUid, UnixMillis,
    assignment::{AssignmentChange, Refusal},
    bandwidth::Budget,
    exec::{AttachRequest, ExecRequest},
    health::{Health, OutboxState},
    logs::{LogRequest, LogStreams},
    message::Epoch,
    moment::Moment,
    namespaces::NamespacesAnswer,
    node_network::NodeNetwork,
    node_state::NodeState,
    sealed::SealingPublicKey,
    session::node::{NodeConfig, NodeOutput, NodeSession},
    statics::{StaticPod, StaticPodName},
    status::{NodeEvent, NodeFacts, PodStatusReport},
    stream::{ContentOpen, StreamRefusal},
    tokens::{IssuedToken, TokenOpen},
    usage::MachineUsage,
};
use quinn::Connection;
use tokio::{
    io::AsyncRead,
    sync::{Notify, Semaphore, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use dunlin_link::session::node::Applied;

pub use self::{
    byte_stream::{ByteStream, StreamRefused},
    compiled::NoCode,
    connect::{ConnectError, SharedSocket, Traffic},
    contact::Contact,
    identity::{Identity, IdentityError},
    join::{JoinError, JoinOptions, join},
    sealing::sealing_key,
    way::Transport,
};

use self::{
    connect::Connected,
    drive::SessionEnd,
    network::{Changes, Network},
    way::{Plan, Probes, Ways},
};

pub(crate) use self::{
    content::{Content, Incoming, NoContent, Role},
    identity::authority_file,
    tls::RELEASED_AT,
};

use self::renew::Credentials;
use crate::{
    compiled::{CompileMode, CompiledFiles},
    server_time::ServerTime,
};

/// What the session asks of the agent. Implemented once by the agent; tests of the session use a pipe-backed one.
pub trait SessionHost: Send + Sync + 'static {
    /// What the node's local state holds, for `Hello`.
    fn applied(&self) -> Applied;

    /// Commits a change durably in one transaction, after which it may be acked; starts acting on it.
    /// A change that leads to another digest than it names is not committed either: it leaves the state as it was, and the session,
    /// which compares digests, asks for a snapshot. An error also leaves the state as it was, and ends the session.
    fn commit(&self, change: AssignmentChange) -> impl Future<Output = io::Result<Vec<Refusal>>> + Send;

    /// The coordinator has recorded these reports: they need not be sent again.
    fn acked(&self, reports: Vec<(PodUid, u64)>);

    /// Reports to send when a session opens: those not acked yet. A report with `stopped` is never acked; the order to forget the pod
    /// takes the ack's place.
    fn unacked(&self) -> Vec<PodStatusReport>;

    /// The coordinator asks what these static pods are: each is answered by [`SessionHandle::static_pod`], and then reported anew. A node
    /// that states none is not asked.
    fn static_pods_wanted(&self, _uids: Vec<PodUid>) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Begins a command in a container; frames of `dunlin_link::exec` travel both ways.
    fn open_exec(
        &self,
        _request: ExecRequest,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Attaches to a container; frames of `dunlin_link::exec` travel both ways.
    fn open_attach(
        &self,
        _request: AttachRequest,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Connects to a port of a pod, at its address.
    fn connect(
        &self,
        _uid: PodUid,
        _port: u16,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Connects to a port of a pod, on its localhost.
    fn forward(
        &self,
        _uid: PodUid,
        _port: u16,
    ) -> impl Future<Output = Result<ByteStream, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// What the machine uses, and what its containers do: frames of `ContainerUsages` and `ContainerThrottles` until each stream ends.
    fn open_usage(
        &self,
    ) -> impl Future<Output = Result<(MachineUsage, Vec<ByteStream>), StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Opens the core dump that a container left, at most [`dunlin_link::limits::CORE_DUMP_BYTES_MAX`].
    fn open_core_dump(
        &self,
        _uid: PodUid,
        _container: String,
    ) -> impl Future<Output = Result<Box<dyn AsyncRead + Send + Unpin>, StreamRefused>> + Send {
        async { Err(opens_none()) }
    }

    /// Opens a container's log; the reader ends when the log does, or never if it is followed.
    fn open_log(
        &self,
        request: LogRequest,
        streams: LogStreams,
    ) -> impl Future<Output = Result<Box<dyn AsyncRead + Send + Unpin>, String>> + Send;
}

fn opens_none() -> StreamRefused {
    let message = "this node opens no streams into pods".to_owned();
    StreamRefused { reason: StreamRefusal::Impossible, message }
}

/// What a session needs besides an identity.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// `host:port` addresses to use instead of those of the identity; empty for none.
    pub addresses: Vec<String>,
    /// What the node is and has, to begin with.
    pub facts: NodeFacts,
    /// The boot of its machine.
    pub boot_id: BootId,
    /// How the coordinator may be reached.
    pub transport: Transport,
    /// What Secrets for the node are sealed to.
    pub sealing_key: SealingPublicKey,
    /// What is known of the coordinator's clock.
    pub server_time: Arc<ServerTime>,
}

/// The session of one node, not running yet.
#[derive(Debug)]
pub struct Session {
    addresses: Vec<String>,
    transport: Transport,
    socket: Option<SharedSocket>,
    /// Tried once when the coordinator refuses the node.
    join: Mutex<Option<JoinOptions>>,
    shared: Arc<Shared>,
}

/// What the agent asks of the session; cheap to clone. Works while disconnected: it queues within its bounds.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    shared: Arc<Shared>,
}

/// What handle and running session share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    /// One lock, never held across an await: commands from any thread and the session's loops meet here.
    machine: Mutex<NodeSession>,
    bells: Bells,
    contacts: contact::Contacts,
    credentials: Arc<Credentials>,
    server_time: Arc<ServerTime>,
    /// The open session's connection.
    connection: watch::Sender<Option<Connection>>,
    /// Held while a change is committed, so that a new session never starts beside a commit of an old one.
    committing: Arc<tokio::sync::Mutex<()>>,
    /// One fetch per content at a time.
    fetches: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    fetch_slots: Semaphore,
    /// As many for code.
    code_slots: Semaphore,
    /// One for tokens of pods.
    token_slot: Semaphore,
    network: Network,
    /// What may be sent, while the coordinator caps it.
    budget: Mutex<Option<Budget>>,
    /// Streams that the coordinator has open, logs for instance.
    reverse_streams: AtomicUsize,
}

/// By which the loops of a connection wake each other.
#[derive(Debug, Default)]
struct Bells {
    write: Notify,
    act: Notify,
    time: Notify,
}

impl Shared {
    fn new(machine: NodeSession, identity: Identity, server_time: Arc<ServerTime>) -> Self {
        // The coordinator's clock said so when it was issued.
        server_time.learn(identity.life().unwrap_or_default().start);
        Self {
            started: Instant::now(),
            machine: Mutex::new(machine),
            bells: Bells::default(),
            contacts: contact::Contacts::new(),
            credentials: Arc::new(Credentials::new(identity)),
            server_time,
            connection: watch::Sender::new(None),
            committing: Arc::default(),
            fetches: Mutex::default(),
            fetch_slots: Semaphore::new(FETCHES_MAX),
            code_slots: Semaphore::new(FETCHES_MAX),
            token_slot: Semaphore::new(1),
            network: Network::default(),
            budget: Mutex::default(),
            reverse_streams: AtomicUsize::new(0),
        }
    }
}

impl Session {
    /// A session that starts when it is run.
    pub fn new(identity: Identity, options: SessionOptions) -> Self {
        let config = NodeConfig {
            node: identity.node().clone(),
            boot_id: options.boot_id,
            agent: rand::random(),
            cluster_id: identity.cluster_id().to_owned(),
            sealing_key: Some(options.sealing_key),
        };
        let addresses =
            if options.addresses.is_empty() { identity.addresses().to_vec() } else { options.addresses };
        let mut machine = NodeSession::new(config, options.facts, Moment::default());
        if let Some(key) = restore::PinnedKey::of(identity.authority()) {
            machine = machine.trusting(Arc::new(key));
        }
        let shared = Shared::new(machine, identity, options.server_time);
        let (transport, join) = (options.transport, Mutex::default());
        Self { addresses, transport, socket: None, join, shared: Arc::new(shared) }
    }

    /// The same session with what this machine may join again with, when the coordinator refuses it: its key was revoked, or the node
    /// removed.
    #[must_use]
    pub(crate) fn joining_again(self, join: Option<JoinOptions>) -> Self {
        Self { join: Mutex::new(join), ..self }
    }

    /// The same session over a UDP socket that others use too, and over nothing else: for processes with more nodes than file
    /// descriptors. It does not follow changes of the network.
    #[must_use]
    pub fn over(self, socket: SharedSocket) -> Self {
        Self { socket: Some(socket), transport: Transport::Quic, ..self }
    }

    /// The agent's side.
    pub fn handle(&self) -> SessionHandle {
        SessionHandle { shared: Arc::clone(&self.shared) }
    }

    /// Keeps a session up until `stop`. Whatever goes wrong with a connection is logged, and another is tried later.
    pub async fn run<H: SessionHost>(self, host: Arc<H>, stop: CancellationToken) {
        tokio::select! {
            () = self.keep_up(&host, &stop) => {}
            () = self.shared.network.watch(), if self.socket.is_none() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn keep_up<H: SessionHost>(&self, host: &Arc<H>, stop: &CancellationToken) {
        let mut first = 0;
        let mut ways = Ways::new(self.transport);
        let mut failure = Failure::default();
        let mut network = self.shared.network.subscribe();
        let mut better = None;
        loop {
            self.wait_to_connect(&mut network).await;
            if network.has_changed().unwrap_or(false) {
                network.mark_unchanged();
                ways.forget();
            }
            let connected = match better.take() {
                Some(connected) => Ok(connected),
                None => self.connect(ways.plan(), first).await,
            };
            match connected {
                Ok(connected) => {
                    failure.clear();
                    ways.reached(connected.way());
                    let end = tokio::select! {
                        end = self.hold(host, &connected, ways) => end,
                        () = stop.cancelled() => HoldEnd::Stopped,
                    };
                    self.shared.connection.send_replace(None);
                    let tunables = self.shared.machine().tunables();
                    self.shared.contacts.ended(connected.silent(tunables));
                    match end {
                        HoldEnd::Stopped => return connected.say_goodbye().await,
                        HoldEnd::Better(next) => {
                            info!("UDP passes again; the session goes there");
                            connected.retire();
                            better = Some(next);
                            self.shared.machine().handle_replaced(self.shared.now());
                            continue;
                        }
                        HoldEnd::Session(end) => {
                            connected.close(&end);
                            log_end(&end);
                            if matches!(end, SessionEnd::Commit(_)) {
                                self.shared.machine().not_committed();
                            }
                            if end.is_refusal() && self.join_again().await {
                                self.shared.machine().handle_replaced(self.shared.now());
                                continue;
                            }
                            if end.is_worth_another() {
                                self.shared.machine().handle_replaced(self.shared.now());
                                continue;
                            }
                        }
                    }
                }
                Err(error) => {
                    // The next attempt starts with the next address, and knows nothing of the ways there.
                    first += 1;
                    ways.forget();
                    failure.log(&error);
                }
            }
            let now = self.shared.now();
            self.shared.machine().handle_disconnected(now, &mut rand::rng());
        }
    }

    /// Tries the token that the node was given, once it is refused; whether that made it a node again. A token that is refused is not
    /// tried again, one that nobody answered is.
    async fn join_again(&self) -> bool {
        let options = self.join.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(options) = options else { return false };
        info!(token = %options.token.id, "trying the join token that this node was given");
        match join(options.clone()).await {
            Ok(identity) => {
                self.shared.credentials.replace(identity);
                info!("this machine has joined its cluster again");
                return true;
            }
            Err(error @ (JoinError::Connect(_) | JoinError::Broken(_))) => {
                warn!(error = &error as &dyn std::error::Error, "failed to join again");
                *self.join.lock().unwrap_or_else(PoisonError::into_inner) = Some(options);
            }
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "the join token that this node was given does not help"
            ),
        }
        false
    }

    async fn connect(&self, plan: Plan, first: usize) -> Result<Connected, ConnectError> {
        let tunables = self.shared.machine().tunables();
        let dial = connect::session_dial(self.shared.credentials(), self.socket.clone(), tunables, plan)?;
        connect::dial_any(&dial, &self.addresses, first).await
    }

    /// Runs a session until it ends or a better connection is there.
    async fn hold<H: SessionHost>(&self, host: &Arc<H>, connected: &Connected, ways: Ways) -> HoldEnd {
        tokio::select! {
            end = drive::drive(&self.shared, host, connected) => HoldEnd::Session(end),
            better = self.look_for_better(connected, ways) => HoldEnd::Better(better),
        }
    }

    /// Looks for a connection by UDP for as long as the session has none; never ends when it has.
    async fn look_for_better(&self, connected: &Connected, ways: Ways) -> Connected {
        let mut probes = Probes::new();
        while ways.is_makeshift(connected.way()) {
            let delay = probes.next_delay(&mut rand::rng());
            tokio::time::sleep(delay).await;
            // A log that someone reads would break off, and nothing is urgent here.
            if self.shared.reverse_streams.load(Ordering::Relaxed) > 0 {
                probes = Probes::new();
                continue;
            }
            let tunables = self.shared.machine().tunables();
            let dial = connect::session_dial(self.shared.credentials(), None, tunables, ways.plan());
            let Ok(dial) = dial else { continue };
            if let Some(better) = dial.probe(&connected.address, connected.remote).await {
                return better;
            }
        }
        std::future::pending().await
    }

    /// Waits until the machine wants a connection.
    async fn wait_to_connect(&self, network: &mut watch::Receiver<Changes>) {
        loop {
            let timeout = {
                let mut machine = self.shared.machine();
                // Cannot fail: there is no connection that it could end.
                let _ = machine.handle_timeout(self.shared.now());
                if machine.poll_output() == Some(NodeOutput::Connect) {
                    return;
                }
                machine.poll_timeout()
            };
            let expired = async {
                match timeout {
                    Some(at) => tokio::time::sleep(at.since(self.shared.now())).await,
                    None => self.shared.bells.time.notified().await,
                }
            };
            let mut changes = network.clone();
            tokio::select! {
                () = expired => {}
                changed = changes.changed() => {
                    *network = changes;
                    if changed.is_ok() {
                        // What failed may work now, and nobody should wait a minute for it.
                        self.shared.machine().hasten(self.shared.now(), &mut rand::rng());
                    }
                }
            }
        }
    }
}

/// What ended a connection's time.
enum HoldEnd {
    /// Its session.
    Session(SessionEnd),
    /// This one, which is better.
    Better(Connected),
    /// The agent.
    Stopped,
}

fn log_end(end: &SessionEnd) {
    match end {
        SessionEnd::TooSilent => debug!("{end}"),
        SessionEnd::NetworkChanged(_) | SessionEnd::Renewed | SessionEnd::Expired => info!("{end}"),
        end => warn!(error = end as &dyn std::error::Error, "session ended"),
    }
}

/// Logs failures to connect once for each change of what is wrong: a node may be away for days.
#[derive(Debug, Default)]
struct Failure(String);

impl Failure {
    fn log(&mut self, error: &ConnectError) {
        let why = error.to_string();
        if self.0 == why {
            debug!(error = why, "failed to connect to the coordinator again");
        } else {
            warn!(error = error as &dyn std::error::Error, "failed to connect to the coordinator");
            self.0 = why;
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl SessionHandle {
    /// A handle whose session never runs: that of a machine which is no node of a cluster.
    pub(crate) fn detached(facts: NodeFacts) -> Self {
        let identity = Identity::nobody();
        let config = NodeConfig {
            node: identity.node().clone(),
            boot_id: BootId([0; 16]),
            agent: 0,
            cluster_id: identity.cluster_id().to_owned(),
            sealing_key: None,
        };
        let machine = NodeSession::new(config, facts, Moment::default());
        Self { shared: Arc::new(Shared::new(machine, identity, Arc::default())) }
    }
}

impl SessionHandle {
    /// Sends a pod's status; a later report of the same pod replaces one that is still waiting.
    pub fn report(&self, report: PodStatusReport) {
        self.shared.machine().report(report);
        self.shared.bells.write.notify_one();
    }

    /// Sends an event; the oldest are dropped, and counted, when too many wait.
    pub fn event(&self, event: NodeEvent) {
        self.shared.machine().event(event);
        self.shared.bells.write.notify_one();
    }

    /// Sends changed facts about the node.
    pub fn facts(&self, facts: NodeFacts) {
        self.shared.machine().facts(facts);
        self.shared.bells.write.notify_one();
    }

    /// States all static pods of the node.
    pub fn static_pods(&self, pods: Vec<StaticPodName>) {
        self.shared.machine().static_pods(pods);
        self.shared.bells.write.notify_one();
    }

    /// Answers what a static pod is.
    pub fn static_pod(&self, pod: StaticPod) {
        self.shared.machine().static_pod(pod);
        self.shared.bells.write.notify_one();
    }

    /// The node's state as a whole; sent when a session opens, and when it changed.
    pub(crate) fn state(&self, state: NodeState) {
        self.shared.machine().state(state);
        self.shared.bells.write.notify_one();
    }

    /// The network that the node makes for pods; sent when a session opens, and when it changed.
    pub(crate) fn network(&self, network: NodeNetwork) {
        self.shared.machine().network(network);
        self.shared.bells.write.notify_one();
    }

    /// How the node fares; sent when a session opens, and when it differs enough from what was sent last.
    pub(crate) fn health(&self, health: Health) {
        self.shared.machine().health(health);
        self.shared.bells.write.notify_one();
    }

    /// What waits to be sent, and what was dropped before it could be.
    pub(crate) fn outbox(&self) -> OutboxState {
        self.shared.machine().outbox()
    }

    /// When a coordinator was heard; changes when a session opens or ends.
    pub(crate) fn contact(&self) -> watch::Receiver<Contact> {
        self.shared.contacts.subscribe()
    }

    /// Has everything sent again that the node should hold, because it cannot open some of what it holds.
    pub fn start_over(&self) {
        self.shared.machine().start_over();
        self.shared.bells.ring();
    }

    /// Fetches a module into `file` (resuming `file.part`), verifies its digest, syncs and renames it into place.
    /// Waits for a connection if there is none.
    ///
    /// # Errors
    /// When the coordinator does not have it, refuses it, or what arrives is not what was asked for; says which.
    pub async fn fetch_module(&self, digest: Digest, file: &Path) -> Result<(), String> {
        fetch::fetch(&self.shared, digest, file).await
    }

    /// Asks for content of a repository in the coordinator's own registry, from `offset` on. Waits for a session as long as `patience` says,
    /// for ever without one.
    ///
    /// # Errors
    /// When there is none, or the coordinator refuses it.
    pub(crate) async fn open_content(
        &self,
        (repository, digest, role): (&str, Digest, Role),
        offset: u64,
        patience: Option<Duration>,
    ) -> Result<Content, NoContent> {
        let open = ContentOpen { repository: repository.to_owned(), digest, offset };
        content::open(&self.shared, (&open, role), patience).await
    }

    /// Fetches the code of a module for a target: waits for a session, though not for long, and as long as the coordinator is at it.
    ///
    /// # Errors
    /// When there is none to be had, or what came is not trusted; says why.
    pub(crate) async fn fetch_compiled(
        &self,
        module: Digest,
        target: &str,
        files: (&CompiledFiles, CompileMode),
    ) -> Result<(), NoCode> {
        compiled::fetch(&self.shared, module, target, files).await
    }

    /// Asks for a token of a pod. Waits for a connection if there is none.
    ///
    /// # Errors
    /// When the coordinator gives none; says why.
    pub async fn token(&self, open: &TokenOpen) -> Result<IssuedToken, String> {
        tokens::ask(&self.shared, open).await
    }

    /// Which of these namespaces there are, at most [`dunlin_link::limits::NAMESPACES_ASKED_MAX`].
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) async fn namespaces(&self, names: Vec<String>) -> io::Result<NamespacesAnswer> {
        namespaces::ask(&self.shared, names).await
    }

    /// Waits for a session on another connection than this one; answers which.
    pub(crate) async fn other_connection(&self, than: Option<usize>) -> usize {
        self.shared.other_connection(than).await
    }

    /// Whether a session is up now.
    pub fn is_connected(&self) -> bool {
        self.shared.machine().is_open()
    }

    /// The epoch of the session that is up now.
    pub fn epoch(&self) -> Option<Epoch> {
        let machine = self.shared.machine();
        if machine.is_open() { machine.newest_epoch() } else { None }
    }

    /// What the connection of the open session has carried so far.
    pub fn traffic(&self) -> Option<Traffic> {
        self.shared.connection.borrow().as_ref().map(connect::traffic)
    }
}

impl Shared {
    /// What to connect with, and a time that has passed by the coordinator's clock.
    fn credentials(&self) -> (Identity, Duration) {
        (self.credentials.identity(), self.server_time.since_1970())
    }

    fn machine(&self) -> MutexGuard<'_, NodeSession> {
        // The machine is consistent between its calls, and none of them can panic half-way.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }

    /// Makes those who fetch the same content do so one after another.
    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is done leaves an entry that nobody else holds.
        fetches.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(fetches.entry(digest).or_default())
    }

    fn budget(&self) -> MutexGuard<'_, Option<Budget>> {
        // A budget is consistent after each of its calls.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sent did not wait, but counts.
    fn spend(&self, bytes: usize) {
        let now = self.now();
        self.budget().iter_mut().for_each(|budget| budget.spend(bytes, now));
    }

    /// Waits until so much bulk may be sent.
    async fn pass(&self, bytes: usize) {
        let now = self.now();
        let wait = self.budget().as_mut().map(|budget| budget.reserve(bytes, now)).unwrap_or_default();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How much bulk to send at a time; `whole` without a cap.
    fn piece_bytes(&self, whole: usize) -> usize {
        self.budget().as_ref().map_or(whole, |budget| budget.piece_bytes().min(whole))
    }
}

impl Bells {
    fn ring(&self) {
        self.write.notify_one();
        self.act.notify_one();
        self.time.notify_one();
    }
}

/// The machine's clock. A clock before 1970 reads as 1970.
pub(crate) fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Modules fetched at a time: enough to fill a link, few enough that each makes progress.
const FETCHES_MAX: usize = 4;

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
mod handle;
mod host;
mod identity;
mod join;
mod namespaces;
mod network;
mod path;
mod renew;
mod restore;
mod sealing;
mod shared;
mod stream;
mod streams;
mod tls;
mod tokens;
mod way;

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dunlin_link::{
    BootId, UnixMillis,
    moment::Moment,
    sealed::SealingPublicKey,
    session::node::{NodeConfig, NodeOutput, NodeSession},
    status::NodeFacts,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use dunlin_link::session::node::Applied;

pub use self::{
    byte_stream::{ByteStream, StreamRefused},
    compiled::NoCode,
    connect::{ConnectError, SharedSocket, Traffic},
    contact::Contact,
    handle::SessionHandle,
    host::SessionHost,
    identity::{Identity, IdentityError},
    join::{JoinError, JoinOptions, join},
    sealing::sealing_key,
    way::Transport,
};

pub(crate) use self::{
    content::{Content, Incoming, NoContent, Role},
    identity::authority_file,
    tls::RELEASED_AT,
};

use self::{
    connect::Connected,
    drive::SessionEnd,
    network::Changes,
    shared::Shared,
    way::{Plan, Probes, Ways},
};
use crate::server_time::ServerTime;

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

/// The machine's clock. A clock before 1970 reads as 1970.
pub(crate) fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

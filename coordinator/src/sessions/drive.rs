//! Runs one session's machine over one control stream: reads, writes, acts, and keeps time, all in one task.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Poll, ready},
};

use dunlin_link::{
    NodeName, Revision, UnixMillis,
    assignment::Desired,
    compiled::CompiledOpen,
    container_support::ContainerSupport,
    frame::Message as _,
    labels::TARGET_LABEL,
    message::Epoch,
    node_network::NodeNetwork,
    session::{
        CloseCode, SessionError,
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession},
        registry::Caller,
    },
    status::NodeFacts,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::{Notify, mpsc, oneshot, watch},
};
use tracing::{debug, info, warn};

use super::{Cluster, Sessions, Wire, Wish, links::OpenLink, modules, pulse::Pulse, tending::Tending};
use crate::members::{Issued, Member, RenewError};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The machine could not go on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The connection broke.
    #[error("the connection is gone")]
    Connection(#[source] io::Error),
    /// The node closed its side.
    #[error("the node closed the session")]
    Finished,
    /// A newer connection of the node took its place, or the node was removed.
    #[error("a newer session of the node took the place of this one, or the node was removed")]
    Superseded,
}

impl SessionEnd {
    /// What to close the connection with.
    pub(crate) fn close(&self) -> (CloseCode, String) {
        match self {
            Self::Session(error) => (error.close_code(), error.reason()),
            Self::Superseded => (CloseCode::Superseded, self.to_string()),
            _ => (CloseCode::GoingAway, self.to_string()),
        }
    }
}

/// Runs a node's session until it ends. `wishes` is where wishes for streams go while the session is open; `member` says whether the
/// node is still one, and is asked when the session can be found to be disconnected. With an expired certificate there is no session,
/// but a new certificate.
pub(crate) async fn drive(
    sessions: &Sessions,
    member: &Member,
    (input, output): (impl AsyncRead + Send + Unpin, impl AsyncWrite + Send + Unpin),
    wishes: mpsc::Sender<Box<Wish>>,
    wire: Wire,
) -> SessionEnd {
    let node = member.node();
    let options = &sessions.inner.options;
    let config = CoordinatorConfig {
        node: node.clone(),
        cluster_id: options.cluster_id.clone(),
        restore_generation: options.restore.as_ref().map_or(0, |restore| restore.record.generation),
        tunables: options.tunables,
        sealing_seed: rand::random(),
    };
    let mut machine = if member.is_expired() {
        CoordinatorSession::for_renewal(config, sessions.now())
    } else {
        CoordinatorSession::new(config, sessions.now())
    };
    if let Some(restore) = &options.restore {
        machine = machine.restored(restore.clone());
    }
    if let Some(bandwidth) = options.node_bandwidth {
        machine = machine.capped(bandwidth);
    }
    let run = Run {
        sessions,
        node,
        member,
        pulse: Arc::default(),
        machine: Mutex::new(machine),
        write: Notify::new(),
        act: Notify::new(),
        time: Notify::new(),
        room: Notify::new(),
        link: OnceLock::new(),
        target: OnceLock::new(),
    };
    let (opened, is_open) = oneshot::channel();
    let ended = tokio::try_join!(
        run.read(input),
        run.write(output),
        run.act(opened, wishes, wire),
        run.follow_desired(is_open),
        run.keep_time(),
        run.show_life(),
    );
    match ended {
        Err(end) => end,
        Ok((never, ..)) => match never {},
    }
}

/// A machine and the bells by which its loops wake each other.
struct Run<'a> {
    sessions: &'a Sessions,
    node: &'a NodeName,
    member: &'a Member,
    pulse: Arc<Pulse>,
    machine: Mutex<CoordinatorSession>,
    write: Notify,
    act: Notify,
    time: Notify,
    room: Notify,
    /// Set when the session opens.
    link: OnceLock<OpenLink>,
    /// The kind of machine for which the node asks for code; set when the session opens, of one that can.
    target: OnceLock<String>,
}

/// The loops end only by an error.
enum Never {}

/// What a connection begins with.
enum First {
    Greeting(Box<NodeFacts>, Caller),
    Renewal(Vec<u8>),
}

impl Run<'_> {
    async fn read(&self, mut input: impl AsyncRead + Unpin) -> Result<Never, SessionEnd> {
        loop {
            // The buffer lives on the stack of one poll: a node that is silent costs none.
            poll_fn(|context| {
                let mut buffer = [0; READ_BYTES];
                let mut buffer = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut input).poll_read(context, &mut buffer))
                    .map_err(SessionEnd::Connection)?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Err(SessionEnd::Finished));
                }
                let taken =
                    self.machine().handle_bytes(self.sessions.now(), self.sessions.wall(), buffer.filled());
                Poll::Ready(taken.map_err(SessionEnd::from))
            })
            .await?;
            self.note(OpenLink::heard);
            self.pulse.heard();
            self.ring();
            while self.machine().is_congested() {
                self.room.notified().await;
            }
        }
    }

    async fn write(&self, mut output: impl AsyncWrite + Unpin) -> Result<Never, SessionEnd> {
        loop {
            while let Some(bytes) = self.next_transmit() {
                output.write_all(&bytes).await.map_err(SessionEnd::Connection)?;
            }
            output.flush().await.map_err(SessionEnd::Connection)?;
            self.write.notified().await;
        }
    }

    /// Acts on what the node says, one thing after another.
    async fn act(
        &self,
        opened: oneshot::Sender<watch::Receiver<Revision>>,
        wishes: mpsc::Sender<Box<Wish>>,
        wire: Wire,
    ) -> Result<Never, SessionEnd> {
        let (facts, caller) = match self.first().await {
            First::Greeting(facts, caller) => (facts, caller),
            First::Renewal(request) => return self.renew_only(&request).await,
        };
        let admitted = self.sessions.admit(self.node, caller, wishes, Arc::clone(&self.pulse)).await;
        let mut seat = match admitted {
            Ok(seat) => seat,
            Err(turned) => return Err(self.machine().refuse(turned.to_string()).into()),
        };
        seat.wait().await;
        let epoch = seat.epoch;
        // A removal before this would have found no session to end; one after it ends this one.
        if let Err(error) = self.member.check().await {
            return Err(self.machine().refuse(error.to_string()).into());
        }
        let cluster = &self.sessions.inner.cluster;
        let revisions = cluster.subscribe(self.node);
        self.machine().welcome(
            epoch,
            cluster.desired(self.node),
            self.sessions.now(),
            self.sessions.wall(),
        )?;
        let protocol = self.machine().protocol().number();
        self.link.get_or_init(|| self.sessions.inner.links.open(self.node, epoch, protocol, wire));
        self.note(OpenLink::note);
        self.ring();
        self.learn_target(&facts);
        self.want_code(&cluster.desired(self.node));
        let (protocol, seals) = {
            let machine = self.machine();
            (machine.protocol().number(), machine.sealing_key().is_some())
        };
        info!(node = %self.node, term = epoch.term, counter = epoch.counter, protocol, seals, "session opened");
        // The receiver is gone only when the session is ending anyway.
        let _ = opened.send(revisions);
        tokio::select! {
            never = self.act_while_open(*facts, epoch) => never,
            () = seat.superseded.cancelled() => Err(SessionEnd::Superseded),
        }
    }

    async fn first(&self) -> First {
        loop {
            match self.next_output() {
                Some(CoordinatorOutput::Greeted { facts, boot_id, attempt }) => {
                    return First::Greeting(Box::new(facts), Caller { boot_id, attempt });
                }
                Some(CoordinatorOutput::Renew(request)) => return First::Renewal(request),
                Some(_) => {}
                None => self.act.notified().await,
            }
        }
    }

    /// Gives a node that asks for nothing else a certificate; it closes the connection when it has it, or time is up.
    async fn renew_only(&self, request: &[u8]) -> Result<Never, SessionEnd> {
        match self.member.renew(request).await {
            Ok(Issued { chain, end }) => {
                info!(node = %self.node, ends = %shown(end), "renewed the node's certificate before a session");
                self.machine().renewed(chain);
                self.ring();
                std::future::pending().await
            }
            Err(error) => Err(self.machine().refuse(error.to_string()).into()),
        }
    }

    /// Gives a node with a session its next certificate. One that gets none asks again later, and keeps its session.
    async fn renew(&self, request: &[u8]) {
        match self.member.renew(request).await {
            Ok(Issued { chain, end }) => {
                info!(node = %self.node, ends = %shown(end), "renewed the node's certificate");
                self.machine().renewed(chain);
                if let Some(link) = self.link.get() {
                    link.renewed(end);
                }
            }
            Err(error @ RenewError::TooOften) => debug!(node = %self.node, %error, "refused a renewal"),
            Err(error) => {
                warn!(node = %self.node, error = &error as &dyn std::error::Error, "refused a renewal");
            }
        }
    }

    async fn act_while_open(&self, facts: NodeFacts, epoch: Epoch) -> Result<Never, SessionEnd> {
        let cluster = &self.sessions.inner.cluster;
        let tells = self.tells_network(&facts);
        cluster.connected(self.node, facts).await;
        if !tells {
            cluster.no_network(self.node).await;
        }
        let mut tending = Tending::default();
        loop {
            while let Some(output) = self.next_output() {
                if !self.sessions.is_current(self.node, epoch) {
                    return Err(SessionEnd::Superseded);
                }
                tending.note(cluster.as_ref(), self.node, &output);
                // In a box of its own for as long as it takes: thousands of idle sessions do not hold room for it.
                Box::pin(self.act_on(cluster.as_ref(), output)).await?;
                self.room.notify_one();
                self.ring();
            }
            if tending.take_due() {
                let asked = tending.tend(cluster.as_ref(), self.node).await;
                self.machine().ask_static_pods(asked);
                self.ring();
            }
            tokio::select! {
                () = self.act.notified() => {}
                () = tending.wait() => {}
            }
        }
    }

    async fn act_on(&self, cluster: &dyn Cluster, output: CoordinatorOutput) -> Result<(), SessionEnd> {
        let node = self.node;
        let offset = self.machine().clock_offset_ms();
        match output {
            CoordinatorOutput::Statuses(reports) => {
                let recorded = cluster.pod_statuses(node, reports, offset).await;
                self.machine().recorded(&recorded, self.sessions.now())?;
            }
            CoordinatorOutput::Events { events, dropped } => {
                if dropped > 0 {
                    warn!(%node, dropped, "the node dropped events for want of room");
                }
                cluster.events(node, events, offset).await;
            }
            CoordinatorOutput::Facts(facts) => cluster.connected(node, facts).await,
            CoordinatorOutput::Health(health) => {
                if let Some(link) = self.link.get() {
                    link.health(health);
                }
            }
            CoordinatorOutput::State(state) => cluster.state(node, state).await,
            CoordinatorOutput::Network(network) => cluster.network(node, network).await,
            CoordinatorOutput::StaticPods(pods) => cluster.static_pods(node, pods).await,
            CoordinatorOutput::StaticPod(pod) => cluster.static_pod(node, pod).await,
            CoordinatorOutput::Refused(refusals) => cluster.refused(node, refusals).await,
            CoordinatorOutput::Buried(uids) => cluster.buried(node, uids).await,
            CoordinatorOutput::Renew(request) => self.renew(&request).await,
            CoordinatorOutput::Resynced(reason) => info!(%node, reason, "the node asked for a snapshot"),
            CoordinatorOutput::Greeted { .. } => {}
        }
        Ok(())
    }

    /// Hands every change of the desired set to the machine.
    async fn follow_desired(
        &self,
        opened: oneshot::Receiver<watch::Receiver<Revision>>,
    ) -> Result<Never, SessionEnd> {
        let Ok(mut revisions) = opened.await else { return std::future::pending().await };
        while revisions.changed().await.is_ok() {
            let desired = self.sessions.inner.cluster.desired(self.node);
            self.want_code(&desired);
            self.machine().set_desired(desired, self.sessions.now())?;
            self.note(OpenLink::note);
            self.ring();
        }
        // The set is not kept any more: the coordinator is stopping.
        std::future::pending().await
    }

    fn learn_target(&self, facts: &NodeFacts) {
        let asks = self.machine().protocol().sends(CompiledOpen::KIND);
        let target =
            facts.labels.iter().find(|(key, _)| key == TARGET_LABEL).map(|(_, target)| target.clone());
        if let Some(target) = target.filter(|_| asks) {
            self.target.get_or_init(|| target);
        }
    }

    /// Whether the node will tell of the network that it makes for pods.
    fn tells_network(&self, facts: &NodeFacts) -> bool {
        let runs_containers = matches!(facts.containers.as_deref(), Some(ContainerSupport::Runs { .. }));
        runs_containers && self.machine().protocol().sends(NodeNetwork::KIND)
    }

    /// Has code made that the node will ask for soon.
    fn want_code(&self, desired: &Desired) {
        if let Some(target) = self.target.get() {
            let cluster = &self.sessions.inner.cluster;
            modules(desired).for_each(|module| cluster.want_compiled(module, target));
            cluster.want_foreign(desired, target);
        }
    }

    async fn keep_time(&self) -> Result<Never, SessionEnd> {
        loop {
            let timeout = self.machine().poll_timeout();
            let expired = async {
                match timeout {
                    Some(at) => tokio::time::sleep(at.since(self.sessions.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expired => {
                    self.machine().handle_timeout(self.sessions.now())?;
                    self.ring();
                }
                () = self.time.notified() => {}
            }
        }
    }

    /// Takes what the machine knows now into what is known of the link.
    fn note(&self, how: impl FnOnce(&OpenLink, &CoordinatorSession, Revision)) {
        if let Some(link) = self.link.get() {
            let wanted = *self.sessions.inner.cluster.subscribe(self.node).borrow();
            how(link, &self.machine(), wanted);
        }
    }

    /// Asks the node for a sign of life whenever somebody wants one.
    async fn show_life(&self) -> Result<Never, SessionEnd> {
        loop {
            self.pulse.asked().await;
            self.machine().probe();
            self.ring();
        }
    }

    /// Wakes every loop that may have something to do now.
    fn ring(&self) {
        self.write.notify_one();
        self.act.notify_one();
        self.time.notify_one();
    }

    fn next_transmit(&self) -> Option<Vec<u8>> {
        let next = self.machine().poll_transmit();
        self.room.notify_one();
        next
    }

    fn next_output(&self) -> Option<CoordinatorOutput> {
        self.machine().poll_output()
    }

    fn machine(&self) -> MutexGuard<'_, CoordinatorSession> {
        lock(&self.machine)
    }
}

/// A time as logs show it.
fn shown(at: UnixMillis) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default()
}

/// Locks; all users are loops of one task, so a panic of one ends all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Read at a time.
const READ_BYTES: usize = 8 << 10;

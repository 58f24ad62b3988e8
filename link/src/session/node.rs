//! The node's side: one machine for the life of the agent, over all its connections.
//!
//! The caller connects when told by [`NodeOutput::Connect`] and reports [`NodeSession::handle_connected`] or
//! [`NodeSession::handle_disconnected`]; while connected it feeds [`NodeSession::handle_bytes`]. After each call it takes everything
//! from [`NodeSession::poll_transmit`] and [`NodeSession::poll_output`], and calls [`NodeSession::handle_timeout`] at
//! [`NodeSession::poll_timeout`]. An error ends the connection, not the machine: close with the error's code and reason, then call
//! `handle_disconnected`. Commands work at any time; what they say waits within its bounds while there is no session.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rand::Rng;

use crate::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignmentChange, Refusal},
    backoff::{self, Backoff},
    codec,
    frame::{self, Decoder, Frame, FrameError, Message},
    health::{Health, OutboxState},
    huge_pages,
    limits::{CONTROL_FRAME_BYTES_MAX, EXTENSIONS_MAX, SESSION_QUEUE_MAX},
    message::{
        AssignmentAck, Attempt, Busy, Epoch, Extension, Facts, Hello, PROTOCOL_VERSIONS, Refused, Renew,
        Renewed, Resync, StatusAck, TOLD_BY_FIRST, TOLD_BY_TAG, Tunables, Unsupported, Welcome,
    },
    moment::Moment,
    node_network::NodeNetwork,
    node_state::NodeState,
    restore::{RestoreAuthority, SignedRestore},
    sealed::{SEALING_KEY_TAG, SealingPublicKey},
    session::{
        GREETING_TIMEOUT, STABLE_AFTER, SessionError, change::Assembler, outbox::Outbox, protocol::Protocol,
        statics::Statics,
    },
    statics::{StaticPod, StaticPodName, StaticPods, StaticPodsWanted},
    status::{NodeEvent, NodeFacts, PodStatusReport},
};

/// What a node has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Revision of the last committed change; zero before the first.
    pub revision: Revision,
    /// Restore generation that the revision belongs to.
    pub restore_generation: u64,
    /// [`crate::assignment::state_digest`] of the local state.
    pub state_digest: Digest,
    /// The lowest version of the protocol by which the node was told of what it holds; 0 when it holds nothing.
    pub protocol: u16,
}

/// Who the node is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name, as in its certificate.
    pub node: NodeName,
    /// The boot of its machine.
    pub boot_id: BootId,
    /// Drawn at this start of the agent.
    pub agent: u64,
    /// The cluster that it joined.
    pub cluster_id: String,
    /// What Secrets shall be sealed to; `None` for a node that keeps none.
    pub sealing_key: Option<SealingPublicKey>,
}

/// What the caller has to act on, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeOutput {
    /// Open a connection.
    Connect,
    /// The session is open.
    Opened(Welcome),
    /// Commit this durably, then call [`NodeSession::committed`]; no other comes before.
    Commit(AssignmentChange),
    /// The coordinator has recorded these reports.
    Acked(Vec<(PodUid, u64)>),
    /// A new certificate, leaf first.
    Renewed(Vec<Vec<u8>>),
    /// The coordinator asks what these static pods are; answer each by [`NodeSession::static_pod`] and report its status anew.
    StaticPodsWanted(Vec<PodUid>),
}

/// The machine; see the module.
#[derive(Debug)]
pub struct NodeSession {
    config: NodeConfig,
    facts: NodeFacts,
    facts_changed: bool,
    health: Option<Health>,
    /// What the coordinator heard last in this session.
    health_told: Option<Health>,
    statics: Statics,
    state: Option<NodeState>,
    /// Whether the coordinator has heard of the state as it is now, in this session.
    state_told: bool,
    network: Option<NodeNetwork>,
    /// The same of its network.
    network_told: bool,
    outbox: Outbox,
    backoff: Backoff,
    /// Changes in a row that the caller could not commit.
    uncommitted: u32,
    tunables: Option<Tunables>,
    /// With its restore generation, within which alone epochs compare.
    newest_epoch: Option<(u64, Epoch)>,
    /// Who may say that the cluster was restored; nobody can when absent.
    authority: Option<Arc<dyn RestoreAuthority>>,
    connections: u64,
    retry_after: Duration,
    starting_over: StartingOver,
    phase: Phase,
    outputs: VecDeque<NodeOutput>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one of these")]
enum Phase {
    Waiting {
        until: Moment,
        /// Before this the coordinator does not want to hear of the node.
        earliest: Moment,
    },
    Connecting,
    Connected(Connection),
}

/// What lives as long as one connection.
#[derive(Debug)]
struct Connection {
    decoder: Decoder,
    transmit: VecDeque<Vec<u8>>,
    applied: Applied,
    /// Of the coordinator, once it is welcome; above that of `applied` until its first change is committed.
    restore_generation: u64,
    protocol: Protocol,
    stage: Stage,
    assembler: Assembler,
    committing: Option<Committing>,
}

/// The change that the caller commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Committing {
    state_digest: Digest,
    /// `None` for a snapshot.
    base: Option<Revision>,
}

/// Whether the node needs everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartingOver {
    No,
    /// From the next connection on, which is to come at once.
    Wanted,
    /// This connection has asked for it.
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting {
        deadline: Moment,
    },
    /// The certificate has expired; the connection is good for a new one only.
    Renewing {
        deadline: Moment,
    },
    Open {
        since: Moment,
    },
}

impl NodeSession {
    /// A machine that wants to connect at once.
    pub fn new(config: NodeConfig, facts: NodeFacts, now: Moment) -> Self {
        Self {
            config,
            facts,
            facts_changed: false,
            health: None,
            health_told: None,
            statics: Statics::default(),
            state: None,
            state_told: false,
            network: None,
            network_told: false,
            outbox: Outbox::default(),
            backoff: Backoff::new(backoff::MAX),
            uncommitted: 0,
            tunables: None,
            newest_epoch: None,
            authority: None,
            connections: 0,
            retry_after: Duration::ZERO,
            starting_over: StartingOver::No,
            phase: Phase::Waiting { until: now, earliest: now },
            outputs: VecDeque::new(),
        }
    }

    /// The same machine, which accepts the cluster's restores when this authority has signed them.
    #[must_use]
    pub fn trusting(self, authority: Arc<dyn RestoreAuthority>) -> Self {
        Self { authority: Some(authority), ..self }
    }

    /// A connection is up. `applied` is what the node holds, `unacked` what it reported and has no acknowledgement for.
    pub fn handle_connected(
        &mut self,
        now: Moment,
        wall: UnixMillis,
        applied: Applied,
        unacked: Vec<PodStatusReport>,
    ) {
        for report in unacked {
            self.outbox.report(report);
        }
        self.facts_changed = false;
        self.health_told = None;
        self.state_told = false;
        self.network_told = false;
        self.statics.handle_connected();
        self.connections += 1;
        // Who says that it holds nothing is sent everything.
        let claimed = match self.starting_over {
            StartingOver::No => applied,
            StartingOver::Wanted | StartingOver::Asked => {
                self.starting_over = StartingOver::Asked;
                let state_digest = Digest::from_bytes(HOLDS_NOTHING_KNOWN);
                Applied { revision: Revision::default(), state_digest, ..applied }
            }
        };
        let key = self
            .config
            .sealing_key
            .map(|key| Extension { tag: SEALING_KEY_TAG, bytes: key.as_bytes().to_vec() });
        let told_by = (claimed.protocol >= TOLD_BY_FIRST)
            .then(|| Extension { tag: TOLD_BY_TAG, bytes: codec::encode(&claimed.protocol) });
        let containers = self.facts.containers.as_ref().map(|support| support.to_extension());
        let pages = &self.facts.huge_pages;
        let pages = (!pages.is_empty()).then(|| huge_pages::to_extension(pages));
        let hello = Hello {
            node: self.config.node.clone(),
            boot_id: self.config.boot_id,
            attempt: Attempt { agent: self.config.agent, counter: self.connections },
            protocol: PROTOCOL_VERSIONS,
            restore_generation: applied.restore_generation,
            last_applied_revision: claimed.revision,
            state_digest: claimed.state_digest,
            sent_at: wall,
            facts: self.facts.clone(),
            extensions: key.into_iter().chain(told_by).chain(containers).chain(pages).collect(),
        };
        let stage = Stage::Greeting { deadline: now + GREETING_TIMEOUT };
        self.phase = Phase::Connected(Connection::beginning(&hello, applied, stage));
    }

    /// A connection is up whose certificate has expired: it asks for a new one and for nothing else. After
    /// [`NodeOutput::Renewed`] the caller closes it and connects again.
    pub fn handle_connected_to_renew(&mut self, now: Moment, applied: Applied, certificate_request: Vec<u8>) {
        let stage = Stage::Renewing { deadline: now + GREETING_TIMEOUT };
        self.phase = Phase::Connected(Connection::beginning(&Renew { certificate_request }, applied, stage));
    }

    /// The connection ended, or could not be opened.
    pub fn handle_disconnected(&mut self, now: Moment, rng: &mut impl Rng) {
        if let Phase::Connected(Connection { stage: Stage::Open { since }, .. }) = &self.phase
            && now.since(*since) >= STABLE_AFTER
        {
            self.backoff.reset();
        }
        let earliest = now + std::mem::take(&mut self.retry_after);
        let until = earliest + self.backoff.next_delay(rng);
        self.phase = Phase::Waiting { until, earliest };
        self.outputs.clear();
    }

    /// The connection was given up for another one, which is there already or is to be tried at once. That is no failure.
    pub fn handle_replaced(&mut self, now: Moment) {
        self.phase = Phase::Waiting { until: now, earliest: now };
        self.outputs.clear();
    }

    /// Something changed that may let a connection succeed: tries again within a second, unless the coordinator asked for more.
    pub fn hasten(&mut self, now: Moment, rng: &mut impl Rng) {
        if let Phase::Waiting { until, earliest } = &mut self.phase {
            let soon = now + rng.random_range(Duration::ZERO..=backoff::FIRST);
            *until = (*until).min(soon.max(*earliest));
        }
    }

    /// Takes bytes of the control stream, in order, however they are divided.
    ///
    /// # Errors
    /// When the connection is to be closed.
    pub fn handle_bytes(&mut self, now: Moment, mut bytes: &[u8]) -> Result<(), SessionError> {
        while !bytes.is_empty() {
            let Phase::Connected(connection) = &mut self.phase else { return Ok(()) };
            if let Some(frame) = connection.decoder.feed(&mut bytes)? {
                self.handle_frame(now, &frame)?;
            }
        }
        Ok(())
    }

    /// Takes note of the time.
    ///
    /// # Errors
    /// When the coordinator did not answer in time.
    pub fn handle_timeout(&mut self, now: Moment) -> Result<(), SessionError> {
        match &self.phase {
            Phase::Waiting { until, .. } if *until <= now => {
                self.phase = Phase::Connecting;
                self.outputs.push_back(NodeOutput::Connect);
                Ok(())
            }
            Phase::Connected(Connection {
                stage: Stage::Greeting { deadline } | Stage::Renewing { deadline },
                ..
            }) if *deadline <= now => Err(SessionError::GreetingTimeout),
            Phase::Connected(_) if self.starting_over == StartingOver::Wanted => Err(SessionError::StartOver),
            _ => Ok(()),
        }
    }

    /// Sends a pod's status; a later one replaces one that still waits. From the welcome of a restored coordinator until its first
    /// change is committed reports wait, and those from before are dropped: what they say may be of pods that it declares anew.
    pub fn report(&mut self, report: PodStatusReport) {
        self.outbox.report(report);
    }

    /// Sends an event; the oldest that wait are dropped, and counted, when there are too many.
    pub fn event(&mut self, event: NodeEvent) {
        self.outbox.event(event);
    }

    /// Sends the node's facts, if they changed.
    pub fn facts(&mut self, facts: NodeFacts) {
        self.facts_changed |= facts != self.facts;
        self.facts = facts;
    }

    /// How the node fares now; sent when it differs enough from what was sent last.
    pub fn health(&mut self, health: Health) {
        self.health = Some(health);
    }

    /// The node's state as a whole now; sent when it changed.
    pub fn state(&mut self, state: NodeState) {
        self.state_told &= self.state.as_ref() == Some(&state);
        self.state = Some(state);
    }

    /// The network that the node makes for pods, as far as it is known; sent when it changed.
    pub fn network(&mut self, network: NodeNetwork) {
        self.network_told &= self.network.as_ref() == Some(&network);
        self.network = Some(network);
    }

    /// All static pods that there are; until this is called nothing is said of them.
    pub fn static_pods(&mut self, pods: Vec<StaticPodName>) {
        self.statics.state(pods);
    }

    /// What a static pod is, in an open session that asked; see [`StaticPod`].
    pub fn static_pod(&mut self, pod: StaticPod) {
        if let Phase::Connected(Connection { stage: Stage::Open { .. }, .. }) = &self.phase {
            self.statics.tell(pod);
        }
    }

    /// Asks for a new certificate of the registered key, in an open session.
    pub fn renew(&mut self, certificate_request: Vec<u8>) {
        if let Phase::Connected(connection @ Connection { stage: Stage::Open { .. }, .. }) = &mut self.phase {
            connection.send(&Renew { certificate_request });
        }
    }

    /// Asks for a snapshot, because content that the node holds cannot be opened: ends the session, if there is one, and says in the
    /// next that nothing is held.
    pub fn start_over(&mut self) {
        if self.starting_over == StartingOver::No {
            self.starting_over = StartingOver::Wanted;
        }
    }

    /// The last [`NodeOutput::Commit`] is durable. `applied` is what the node holds now.
    pub fn committed(&mut self, applied: Applied, refusals: Vec<Refusal>) {
        let Phase::Connected(connection) = &mut self.phase else { return };
        let Some(expected) = connection.committing.take() else { return };
        self.uncommitted = 0;
        connection.applied = applied;
        if applied.state_digest == expected.state_digest {
            if expected.base.is_none() && self.starting_over == StartingOver::Asked {
                self.starting_over = StartingOver::No;
            }
            connection.send(&AssignmentAck { revision: applied.revision, refusals });
        } else {
            connection.resync("the state after a change has another digest");
        }
    }

    /// The last [`NodeOutput::Commit`] cannot be made durable, and the caller ends the connection. The coordinator will send it again, as
    /// large as it is: the next connection waits for longer after each time, up to [`UNCOMMITTED_MAX`].
    pub fn not_committed(&mut self) {
        let wait = UNCOMMITTED_FIRST.saturating_mul(1 << self.uncommitted.min(10)).min(UNCOMMITTED_MAX);
        self.uncommitted = self.uncommitted.saturating_add(1);
        self.retry_after = self.retry_after.max(wait);
    }

    /// The next bytes for the control stream. Taking them one by one, as the stream accepts them, keeps later ones current.
    pub fn poll_transmit(&mut self, wall: UnixMillis) -> Option<Vec<u8>> {
        let Phase::Connected(connection) = &mut self.phase else { return None };
        if let Some(bytes) = connection.transmit.pop_front() {
            return Some(bytes);
        }
        if !matches!(connection.stage, Stage::Open { .. }) {
            return None;
        }
        if std::mem::take(&mut self.facts_changed) {
            return Some(frame::encode(&Facts { facts: self.facts.clone() }));
        }
        let reports_wait = connection.awaits_restored();
        if connection.protocol.sends(StaticPods::KIND) {
            // Before the reports of these pods, so that the coordinator knows whose they are.
            if let Some(bytes) = self.statics.next() {
                return Some(bytes);
            }
        } else {
            self.outbox.drop_reports_of(self.statics.uids());
        }
        if let Some(state) = self.next_state() {
            return Some(frame::encode(&state));
        }
        if let Some(network) = self.next_network() {
            return Some(frame::encode(&network));
        }
        if let Some(health) = self.next_health() {
            return Some(frame::encode(&health));
        }
        let reports = if reports_wait { None } else { self.outbox.next_reports(wall) };
        let reports = reports.map(|batch| frame::encode(&batch));
        reports.or_else(|| self.outbox.next_events(wall).map(|events| frame::encode(&events)))
    }

    /// The next thing to act on.
    pub fn poll_output(&mut self) -> Option<NodeOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`NodeSession::handle_timeout`].
    pub const fn poll_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Connected(_) if matches!(self.starting_over, StartingOver::Wanted) => {
                Some(Moment(Duration::ZERO))
            }
            Phase::Connected(Connection {
                stage: Stage::Greeting { deadline } | Stage::Renewing { deadline },
                ..
            }) => Some(*deadline),
            _ => None,
        }
    }

    /// Whether a session is open.
    pub const fn is_open(&self) -> bool {
        matches!(&self.phase, Phase::Connected(Connection { stage: Stage::Open { .. }, .. }))
    }

    /// The version that is spoken, once a session is open.
    pub const fn protocol(&self) -> Option<Protocol> {
        match &self.phase {
            Phase::Connected(Connection { stage: Stage::Open { .. }, protocol, .. }) => Some(*protocol),
            _ => None,
        }
    }

    /// What waits to be sent, and what was dropped before it could be.
    pub fn outbox(&self) -> OutboxState {
        self.outbox.state()
    }

    /// The epoch of the open session, or of the last one.
    pub const fn newest_epoch(&self) -> Option<Epoch> {
        match self.newest_epoch {
            Some((_, epoch)) => Some(epoch),
            None => None,
        }
    }

    /// What the coordinator asked for in the last welcome.
    pub const fn tunables(&self) -> Option<Tunables> {
        self.tunables
    }

    /// The node's state, if the coordinator understands it and has not heard of it.
    fn next_state(&mut self) -> Option<NodeState> {
        let Phase::Connected(connection) = &self.phase else { return None };
        if self.state_told || !connection.protocol.sends(NodeState::KIND) {
            return None;
        }
        self.state_told = self.state.is_some();
        self.state.clone()
    }

    /// The node's network, if the coordinator understands it and has not heard of it.
    fn next_network(&mut self) -> Option<NodeNetwork> {
        let Phase::Connected(connection) = &self.phase else { return None };
        if self.network_told || !connection.protocol.sends(NodeNetwork::KIND) {
            return None;
        }
        self.network_told = self.network.is_some();
        self.network.clone()
    }

    /// The node's health, if the coordinator understands it and should hear of it.
    fn next_health(&mut self) -> Option<Health> {
        let Phase::Connected(connection) = &self.phase else { return None };
        if !connection.protocol.sends(Health::KIND) {
            return None;
        }
        let health = self.health.as_ref()?;
        if self.health_told.as_ref().is_some_and(|told| !health.differs(told)) {
            return None;
        }
        self.health_told = Some(health.clone());
        self.health_told.clone()
    }

    fn handle_frame(&mut self, now: Moment, frame: &Frame) -> Result<(), SessionError> {
        match frame.kind {
            Refused::KIND => return Err(SessionError::Refused(frame.decode::<Refused>()?.reason)),
            Busy::KIND => {
                let Busy { retry_after_ms } = frame.decode()?;
                self.retry_after = Duration::from_millis(retry_after_ms).min(RETRY_AFTER_MAX);
                return Err(SessionError::Busy);
            }
            _ => {}
        }
        match &mut self.phase {
            Phase::Connected(Connection { stage: Stage::Greeting { .. }, .. }) => {
                self.handle_welcome(now, frame.decode()?)
            }
            Phase::Connected(Connection { stage: Stage::Renewing { .. }, .. }) => {
                self.outputs.push_back(NodeOutput::Renewed(frame.decode::<Renewed>()?.chain));
                // The coordinator is there and knows this node: the next connection need not wait for long.
                self.backoff.reset();
                Ok(())
            }
            Phase::Connected(connection) => connection.handle_open(frame, &mut self.outputs),
            _ => Ok(()),
        }
    }

    fn handle_welcome(&mut self, now: Moment, welcome: Welcome) -> Result<(), SessionError> {
        let Phase::Connected(connection) = &mut self.phase else { return Ok(()) };
        if welcome.cluster_id != self.config.cluster_id {
            let joined = self.config.cluster_id.clone();
            return Err(SessionError::WrongCluster { offered: welcome.cluster_id, joined });
        }
        let offered = (welcome.restore_generation, welcome.epoch);
        let applied = connection.applied.restore_generation;
        let seen = self.newest_epoch.map_or(applied, |(generation, _)| generation.max(applied));
        if offered.0 < seen {
            return Err(SessionError::OlderGeneration { offered: offered.0, seen });
        }
        if offered.0 > applied && !is_signed(self.authority.as_deref(), &welcome) {
            return Err(SessionError::RestoreGeneration { offered: offered.0, applied });
        }
        if let Some((_, seen)) = self.newest_epoch.filter(|seen| offered <= *seen) {
            return Err(SessionError::StaleEpoch { offered: offered.1, seen });
        }
        let chosen = (welcome.protocol, welcome.protocol);
        let Some(protocol) = Protocol::agree(chosen) else {
            return Err(SessionError::Version { node: PROTOCOL_VERSIONS, coordinator: chosen });
        };
        if welcome.extensions.len() > EXTENSIONS_MAX {
            return Err(SessionError::Change("too many extensions"));
        }
        connection.protocol = protocol;
        connection.stage = Stage::Open { since: now };
        connection.restore_generation = welcome.restore_generation;
        if connection.awaits_restored() {
            // Said of a set that is void. Once that of the restored cluster is committed, the node reports all its pods anew.
            self.outbox.drop_reports();
        }
        self.newest_epoch = Some(offered);
        self.tunables = Some(welcome.tunables);
        self.backoff.limit(Duration::from_millis(welcome.tunables.reconnect_ms_max).min(RETRY_AFTER_MAX));
        self.outputs.push_back(NodeOutput::Opened(welcome));
        Ok(())
    }
}

impl Connection {
    /// A connection whose first frame is `first`.
    fn beginning(first: &impl Message, applied: Applied, stage: Stage) -> Self {
        Self {
            decoder: Decoder::new(CONTROL_FRAME_BYTES_MAX),
            transmit: VecDeque::from([frame::encode(first)]),
            applied,
            restore_generation: applied.restore_generation,
            protocol: Protocol::BEFORE_AGREEMENT,
            stage,
            assembler: Assembler::default(),
            committing: None,
        }
    }

    fn handle_open(&mut self, frame: &Frame, outputs: &mut VecDeque<NodeOutput>) -> Result<(), SessionError> {
        // A coordinator that reads has one or two to come.
        if self.transmit.len() >= SESSION_QUEUE_MAX {
            return Err(SessionError::Unread);
        }
        match frame.kind {
            kind if Assembler::takes(kind) => {
                if self.committing.is_some() {
                    return Err(SessionError::Change("a change before the last was acknowledged"));
                }
                if let Some(change) = self.assembler.handle(frame)? {
                    outputs.extend(self.accept(change)?);
                }
            }
            StatusAck::KIND => outputs.push_back(NodeOutput::Acked(frame.decode::<StatusAck>()?.recorded)),
            Renewed::KIND => outputs.push_back(NodeOutput::Renewed(frame.decode::<Renewed>()?.chain)),
            StaticPodsWanted::KIND => {
                outputs.push_back(NodeOutput::StaticPodsWanted(frame.decode::<StaticPodsWanted>()?.uids));
            }
            Unsupported::KIND => {}
            Welcome::KIND => return Err(FrameError::Unexpected { kind: frame.kind }.into()),
            kind => self.send(&Unsupported { kind: kind.0 }),
        }
        Ok(())
    }

    /// Lets a change through if it builds on what the node holds.
    fn accept(&mut self, mut change: AssignmentChange) -> Result<Option<NodeOutput>, SessionError> {
        // Revisions of another generation say nothing about each other: only a snapshot leads across.
        let is_restored = self.awaits_restored();
        if is_restored && change.base.is_some() {
            return Err(SessionError::Change("a delta to a set from before the cluster was restored"));
        }
        let held = if is_restored { Revision::default() } else { self.applied.revision };
        change.restore_generation = self.restore_generation;
        change.protocol = self.protocol.number();
        if change.revision < held {
            return Err(SessionError::OlderRevision { sent: change.revision, held });
        }
        if change.base.is_some_and(|base| base != held) {
            self.resync("a delta builds on another revision");
            return Ok(None);
        }
        self.committing = Some(Committing { state_digest: change.state_digest, base: change.base });
        Ok(Some(NodeOutput::Commit(change)))
    }

    /// Whether the coordinator was restored, and the node has not committed what it holds since.
    const fn awaits_restored(&self) -> bool {
        self.restore_generation > self.applied.restore_generation
    }

    fn resync(&mut self, reason: &str) {
        let Applied { revision, state_digest, .. } = self.applied;
        self.send(&Resync { revision, state_digest, reason: reason.into() });
    }

    fn send<M: Message>(&mut self, message: &M) {
        assert!(self.protocol.sends(M::KIND), "the coordinator does not know what it is sent");
        self.transmit.push_back(frame::encode(message));
    }
}

/// Whether a welcome carries a record of the restore that it claims, signed by the authority.
fn is_signed(authority: Option<&dyn RestoreAuthority>, welcome: &Welcome) -> bool {
    let (Some(authority), Some(restore)) = (authority, SignedRestore::find(&welcome.extensions)) else {
        return false;
    };
    restore.record.cluster_id == welcome.cluster_id
        && restore.record.generation == welcome.restore_generation
        && authority.has_signed(&restore.record.statement(), &restore.signature)
}

/// The digest of no set, not of the empty one either: nobody can think that it is his.
const HOLDS_NOTHING_KNOWN: [u8; 32] = [0; 32];

/// How long a node leaves its coordinator alone after a change that it could not make durable.
const UNCOMMITTED_FIRST: Duration = Duration::from_secs(5);

/// The longest such wait. A full disk is noticed to have cleared after this at the latest.
pub const UNCOMMITTED_MAX: Duration = Duration::from_secs(160);

/// The longest that a coordinator can send a node away for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

//! The coordinator's side of one session.
//!
//! Feed it with [`CoordinatorSession::handle_bytes`] and [`CoordinatorSession::handle_timeout`], and with commands; after each, take
//! everything from [`CoordinatorSession::poll_transmit`] and [`CoordinatorSession::poll_output`], and call `handle_timeout` at
//! [`CoordinatorSession::poll_timeout`]. An error ends the session: send what `poll_transmit` still has if the transport allows,
//! close with the error's code and reason, and drop the machine. One machine serves one connection; which of a node's connections
//! is current is the caller's to know, by [`Epoch`].

use std::collections::{BTreeSet, VecDeque};

use crate::{
    BootId, Bytes, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{Desired, Refusal},
    bandwidth::BytesPerSecond,
    codec,
    container_support::ContainerSupport,
    frame::{self, Decoder, Frame, FrameError, Message},
    health::Health,
    held::HeldSet,
    huge_pages,
    limits::{
        EXTENSIONS_MAX, NODE_IMAGE_NAME_BYTES_MAX, NODE_IMAGE_NAMES_MAX, NODE_IMAGES_MAX,
        REPORT_FRAME_BYTES_MAX, SESSION_QUEUE_MAX, STATIC_NAME_BYTES_MAX, STATIC_POD_BYTES_MAX,
        STATIC_PODS_ASKED_MAX, STATIC_PODS_MAX,
    },
    message::{
        AssignmentAck, AssignmentCare, Attempt, Epoch, Events, Extension, Facts, Hello, PROTOCOL_VERSIONS,
        Probe, Refused, Renew, Renewed, Resync, StatusAck, StatusBatch, TOLD_BY_FIRST, TOLD_BY_TAG, Tunables,
        Unsupported, Welcome,
    },
    moment::Moment,
    node_network::NodeNetwork,
    node_state::NodeState,
    restore::SignedRestore,
    sealed::{SealingPlace, SealingPublicKey},
    session::{
        GREETING_TIMEOUT, SessionError, ack_timeout, change,
        clock::ClockOffset,
        plan::{Known, Planned, plan},
        protocol::Protocol,
        sealer::Sealer,
        statuses::Statuses,
    },
    statics::{StaticPod, StaticPodName, StaticPods, StaticPodsWanted},
    status::{NodeEvent, NodeFacts, PodStatusReport},
};

pub use crate::session::statuses::Recorded;

/// What a session is told when its connection is accepted.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Whom the node's certificate names.
    pub node: NodeName,
    /// This cluster.
    pub cluster_id: String,
    /// How often it was restored.
    pub restore_generation: u64,
    /// How nodes should behave.
    pub tunables: Tunables,
    /// Drawn for this session and known to nobody: what sealing takes its randomness from.
    pub sealing_seed: [u8; 32],
}

/// What the caller has to act on, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorOutput {
    /// The node greets: find its place among the node's sessions, then call [`CoordinatorSession::welcome`] or
    /// [`CoordinatorSession::refuse`].
    Greeted {
        /// What it is.
        facts: NodeFacts,
        /// Which boot of its machine.
        boot_id: BootId,
        /// Which connection of which agent.
        attempt: Attempt,
    },
    /// Record these, then answer with [`CoordinatorSession::recorded`]; no more come before.
    Statuses(Vec<PodStatusReport>),
    /// The node saw these.
    Events {
        /// Oldest first.
        events: Vec<NodeEvent>,
        /// How many it dropped before.
        dropped: u64,
    },
    /// The node changed.
    Facts(NodeFacts),
    /// How the node fares.
    Health(Health),
    /// The node's state as a whole.
    State(NodeState),
    /// The network that the node makes for pods.
    Network(NodeNetwork),
    /// The node will not run these pods.
    Refused(Vec<Refusal>),
    /// The node has forgotten these pods.
    Buried(Vec<PodUid>),
    /// The node asks for a new certificate; answer with [`CoordinatorSession::renewed`].
    Renew(Vec<u8>),
    /// These are all static pods of the node now.
    StaticPods(Vec<StaticPodName>),
    /// What a static pod is, after [`CoordinatorSession::ask_static_pods`].
    StaticPod(StaticPod),
    /// Worth a log line: the node asked for a snapshot, and why.
    Resynced(String),
}

/// The machine; see the module.
#[derive(Debug)]
pub struct CoordinatorSession {
    config: CoordinatorConfig,
    /// Explains the generation to nodes that have seen a lower one only.
    restore: Option<SignedRestore>,
    bandwidth: Option<BytesPerSecond>,
    decoder: Decoder,
    phase: Phase,
    protocol: Protocol,
    /// What the node said of containers in its `Hello`.
    containers: Option<Box<ContainerSupport>>,
    /// And of large pages.
    huge_pages: Vec<(Bytes, Bytes)>,
    sealer: Sealer,
    transmit: VecDeque<Vec<u8>>,
    /// What is left to send of the change in flight. A node cannot have more than one change wait by acknowledging what it never got.
    change: VecDeque<Vec<u8>>,
    /// Answers to what the node said: beside the rest, because their number is the node's to choose.
    replies: VecDeque<Vec<u8>>,
    outputs: VecDeque<CoordinatorOutput>,
    desired: Option<Desired>,
    statuses: Statuses,
    clock: ClockOffset,
    /// Whether the node is known to hold what it should.
    in_step: bool,
    /// Forgotten by the node, but still named by the desired set until the caller has taken note.
    forgotten: BTreeSet<PodUid>,
    /// Static pods that the node was asked about and has not told.
    asked: BTreeSet<PodUid>,
}

#[derive(Debug)]
enum Phase {
    Greeting {
        deadline: Moment,
        admits: Admits,
    },
    /// The node asked for a certificate instead of greeting, and gets nothing else.
    Renewing {
        deadline: Moment,
    },
    /// Without a digest, only a snapshot of the revision or later will do.
    Greeted {
        revision: Revision,
        state_digest: Option<Digest>,
    },
    Open {
        epoch: Epoch,
        known: Known,
        in_flight: Option<InFlight>,
    },
    Closed,
}

/// What a connection may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admits {
    /// A greeting or a renewal.
    Anything,
    /// A renewal: the certificate has expired.
    Renewal,
}

/// The one change that the node has not acknowledged.
#[derive(Debug)]
struct InFlight {
    after: HeldSet,
    forget: Vec<PodUid>,
    bytes: u64,
    deadline: Moment,
}

impl CoordinatorSession {
    /// A session on a connection that was just accepted and authorized.
    pub fn new(config: CoordinatorConfig, now: Moment) -> Self {
        Self::beginning(config, Admits::Anything, now)
    }

    /// The same on a connection whose certificate is of a known key and has expired: all it is good for is a new one.
    pub fn for_renewal(config: CoordinatorConfig, now: Moment) -> Self {
        Self::beginning(config, Admits::Renewal, now)
    }

    fn beginning(config: CoordinatorConfig, admits: Admits, now: Moment) -> Self {
        let place = SealingPlace { cluster_id: config.cluster_id.clone(), node: config.node.clone() };
        Self {
            sealer: Sealer::new(place, config.sealing_seed),
            config,
            restore: None,
            bandwidth: None,
            decoder: Decoder::new(REPORT_FRAME_BYTES_MAX),
            phase: Phase::Greeting { deadline: now + GREETING_TIMEOUT, admits },
            protocol: Protocol::BEFORE_AGREEMENT,
            containers: None,
            huge_pages: Vec::new(),
            transmit: VecDeque::new(),
            change: VecDeque::new(),
            replies: VecDeque::new(),
            outputs: VecDeque::new(),
            desired: None,
            statuses: Statuses::default(),
            clock: ClockOffset::default(),
            in_step: false,
            forgotten: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The same machine, of a cluster that was restored as this says.
    #[must_use]
    pub fn restored(self, restore: SignedRestore) -> Self {
        Self { restore: Some(restore), ..self }
    }

    /// The same machine, of a link that carries no more than this each way.
    #[must_use]
    pub fn capped(self, bandwidth: BytesPerSecond) -> Self {
        Self { bandwidth: Some(bandwidth), ..self }
    }

    /// Takes bytes of the control stream, in order, however they are divided. `wall` is the clock of this machine.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn handle_bytes(
        &mut self,
        now: Moment,
        wall: UnixMillis,
        mut bytes: &[u8],
    ) -> Result<(), SessionError> {
        while !bytes.is_empty() {
            if let Some(frame) = self.decoder.feed(&mut bytes)? {
                self.handle_frame(now, wall, &frame)?;
            }
        }
        Ok(())
    }

    /// Takes note of the time.
    ///
    /// # Errors
    /// When something did not come in time.
    pub fn handle_timeout(&mut self, now: Moment) -> Result<(), SessionError> {
        match &self.phase {
            Phase::Greeting { deadline, .. } | Phase::Renewing { deadline } if *deadline <= now => {
                Err(SessionError::GreetingTimeout)
            }
            Phase::Open { in_flight: Some(change), .. } if change.deadline <= now => {
                Err(SessionError::AckTimeout { revision: change.after.revision, bytes: change.bytes })
            }
            _ => {
                self.offer_statuses(now);
                Ok(())
            }
        }
    }

    /// Opens the session that the node asked for. `epoch` is above every earlier one of this node, and `desired` its set now.
    ///
    /// # Errors
    /// When the desired set cannot be carried over.
    pub fn welcome(
        &mut self,
        epoch: Epoch,
        desired: Desired,
        now: Moment,
        wall: UnixMillis,
    ) -> Result<(), SessionError> {
        let Phase::Greeted { revision, state_digest } = self.phase else { return Ok(()) };
        self.send(&Welcome {
            epoch,
            protocol: self.protocol.number(),
            server_time: wall,
            cluster_id: self.config.cluster_id.clone(),
            restore_generation: self.config.restore_generation,
            tunables: self.config.tunables,
            extensions: self.protocol.extensions(self.extensions()),
        });
        let known = known_from_greeting(revision, state_digest, &HeldSet::of(&desired));
        self.phase = Phase::Open { epoch, known, in_flight: None };
        self.set_desired(desired, now)
    }

    /// Refuses the node, in words of the caller; the session is over.
    pub fn refuse(&mut self, reason: String) -> SessionError {
        self.send(&Refused { reason: reason.clone() });
        self.phase = Phase::Closed;
        SessionError::Refused(reason)
    }

    /// The node's desired set is this now.
    ///
    /// # Errors
    /// When it cannot be carried over.
    pub fn set_desired(&mut self, desired: Desired, now: Moment) -> Result<(), SessionError> {
        self.forgotten.retain(|uid| desired.pods.contains_key(uid) || desired.tombstones.contains_key(uid));
        if !self.forgotten.is_empty() {
            // The caller may have had nothing to take note in before: a pod that finalizers held leaves its order when they are gone.
            self.outputs.push_back(CoordinatorOutput::Buried(self.forgotten.iter().cloned().collect()));
        }
        if let Phase::Open { known, .. } = &mut self.phase
            && let Known::Later(revision, digest) = *known
        {
            *known = known_from_greeting(revision, Some(digest), &HeldSet::of(&desired));
        }
        self.desired = Some(desired);
        self.offer_change(now)
    }

    /// What became of the reports of the last [`CoordinatorOutput::Statuses`]; those not named are tried again.
    ///
    /// # Errors
    /// When the change that follows cannot be carried over.
    pub fn recorded(&mut self, results: &[(PodUid, Recorded)], now: Moment) -> Result<(), SessionError> {
        let recorded = self.statuses.recorded(results, now);
        if !recorded.is_empty() {
            self.reply(&StatusAck { recorded });
        }
        self.offer_statuses(now);
        self.offer_change(now)
    }

    /// Asks what these static pods are; no more than [`STATIC_PODS_ASKED_MAX`] questions are open at a time, and others are dropped. One
    /// that is open already is asked again.
    pub fn ask_static_pods(&mut self, uids: Vec<PodUid>) {
        if !matches!(self.phase, Phase::Open { .. }) || !self.protocol.sends(StaticPodsWanted::KIND) {
            return;
        }
        let mut wanted = Vec::new();
        for uid in uids {
            if self.asked.len() < STATIC_PODS_ASKED_MAX || self.asked.contains(&uid) {
                self.asked.insert(uid.clone());
                wanted.push(uid);
            }
        }
        if !wanted.is_empty() {
            self.send(&StaticPodsWanted { uids: wanted });
        }
    }

    /// Sends the certificate that the node asked for.
    pub fn renewed(&mut self, chain: Vec<Vec<u8>>) {
        self.send(&Renewed { chain });
    }

    /// Asks an open session for a sign of life: whatever arrives after this is one.
    pub fn probe(&mut self) {
        if let Phase::Open { .. } = self.phase {
            self.send(&Probe);
        }
    }

    /// The next bytes for the control stream. Taking them one by one, as the stream accepts them, keeps later ones current.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let queues = [&mut self.transmit, &mut self.change, &mut self.replies];
        queues.into_iter().find_map(VecDeque::pop_front)
    }

    /// The next thing to act on.
    pub fn poll_output(&mut self) -> Option<CoordinatorOutput> {
        let next = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // Room for a few outputs is a kibibyte, and thousands of sessions have none for hours.
            self.outputs = VecDeque::new();
        }
        next
    }

    /// When to call [`CoordinatorSession::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Moment> {
        let own = match &self.phase {
            Phase::Greeting { deadline, .. } | Phase::Renewing { deadline } => Some(*deadline),
            Phase::Open { in_flight, .. } => in_flight.as_ref().map(|change| change.deadline),
            Phase::Greeted { .. } | Phase::Closed => None,
        };
        [own, self.statuses.timeout()].into_iter().flatten().min()
    }

    /// Whether the caller should act on outputs, and send what there is to send, before it feeds more bytes.
    pub fn is_congested(&self) -> bool {
        self.outputs.len() >= SESSION_QUEUE_MAX
            || self.replies.len() >= SESSION_QUEUE_MAX
            || self.statuses.is_full()
    }

    /// What to add to the node's times, in milliseconds.
    pub const fn clock_offset_ms(&self) -> i64 {
        self.clock.milliseconds()
    }

    /// Whether the node has confirmed that it holds what it should.
    pub const fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// The session's epoch, once it is open.
    pub const fn epoch(&self) -> Option<Epoch> {
        match &self.phase {
            Phase::Open { epoch, .. } => Some(*epoch),
            _ => None,
        }
    }

    /// The version that is spoken, once it is agreed.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The key that Secrets are sealed to; `None` when they travel in clear, to a node that has named none or cannot have them.
    pub const fn sealing_key(&self) -> Option<SealingPublicKey> {
        self.sealer.recipient()
    }

    /// The revision that the node is known to hold, once it has said so.
    pub const fn acknowledged(&self) -> Option<Revision> {
        match &self.phase {
            Phase::Open { known, .. } => Some(known.revision()),
            _ => None,
        }
    }

    fn extensions(&self) -> Vec<Extension> {
        let restore = self.restore.iter().map(SignedRestore::to_extension);
        restore.chain(self.bandwidth.map(BytesPerSecond::to_extension)).collect()
    }

    fn handle_frame(&mut self, now: Moment, wall: UnixMillis, frame: &Frame) -> Result<(), SessionError> {
        match &self.phase {
            Phase::Closed => Ok(()),
            Phase::Greeted { .. } | Phase::Renewing { .. } => {
                Err(FrameError::Unexpected { kind: frame.kind }.into())
            }
            Phase::Greeting { .. } if frame.kind == Renew::KIND => self.handle_first_renew(now, frame),
            Phase::Greeting { admits: Admits::Renewal, .. } => Err(SessionError::Expired),
            Phase::Greeting { .. } => self.handle_hello(wall, frame.decode()?),
            Phase::Open { .. } => self.handle_open(now, wall, frame),
        }
    }

    fn handle_first_renew(&mut self, now: Moment, frame: &Frame) -> Result<(), SessionError> {
        let Renew { certificate_request } = frame.decode()?;
        self.phase = Phase::Renewing { deadline: now + GREETING_TIMEOUT };
        self.outputs.push_back(CoordinatorOutput::Renew(certificate_request));
        Ok(())
    }

    fn handle_hello(&mut self, wall: UnixMillis, hello: Hello) -> Result<(), SessionError> {
        if hello.node != self.config.node {
            let certificate = self.config.node.clone();
            return Err(self.end(SessionError::WrongNode { certificate, said: hello.node }));
        }
        let Some(protocol) = Protocol::agree(hello.protocol) else {
            let coordinator = PROTOCOL_VERSIONS;
            return Err(self.end(SessionError::Version { node: hello.protocol, coordinator }));
        };
        if hello.extensions.len() > EXTENSIONS_MAX {
            return Err(SessionError::Change("too many extensions"));
        }
        self.clock.observe(hello.sent_at, wall);
        let (offered, seen) = (self.config.restore_generation, hello.restore_generation);
        if seen > offered {
            return Err(self.end(SessionError::OlderGeneration { offered, seen }));
        }
        self.sealer.greet(protocol, &hello.extensions)?;
        let Hello { last_applied_revision, state_digest, mut facts, boot_id, attempt, extensions, .. } =
            hello;
        facts.containers = ContainerSupport::find(&extensions).map(Box::new);
        self.containers.clone_from(&facts.containers);
        facts.huge_pages = huge_pages::find(&extensions);
        self.huge_pages.clone_from(&facts.huge_pages);
        // What the node holds is of before a restore: whatever it is, it needs all of the set, but not before that is read.
        let (revision, state_digest) = if seen < offered {
            (self.restore.as_ref().map_or_else(Revision::default, |restore| restore.record.revision), None)
        } else {
            // What the node holds came by a version that carries less: it needs all of it again.
            let is_whole = !protocol.sends(AssignmentCare::KIND) || told_by(&extensions) >= protocol.number();
            (last_applied_revision, is_whole.then_some(state_digest))
        };
        self.protocol = protocol;
        self.phase = Phase::Greeted { revision, state_digest };
        self.outputs.push_back(CoordinatorOutput::Greeted { facts, boot_id, attempt });
        Ok(())
    }

    fn handle_open(&mut self, now: Moment, wall: UnixMillis, frame: &Frame) -> Result<(), SessionError> {
        match frame.kind {
            AssignmentAck::KIND => self.handle_ack(now, frame.decode()?)?,
            Resync::KIND => self.handle_resync(now, frame.decode()?)?,
            StatusBatch::KIND => self.handle_statuses(now, wall, frame.decode()?)?,
            Events::KIND => {
                let Events { sent_at, events, dropped } = frame.decode()?;
                self.clock.observe(sent_at, wall);
                self.outputs.push_back(CoordinatorOutput::Events { events, dropped });
            }
            Facts::KIND => {
                let (containers, huge_pages) = (self.containers.clone(), self.huge_pages.clone());
                let facts = NodeFacts { containers, huge_pages, ..frame.decode::<Facts>()?.facts };
                self.outputs.push_back(CoordinatorOutput::Facts(facts));
            }
            Health::KIND => self.outputs.push_back(CoordinatorOutput::Health(frame.decode()?)),
            NodeState::KIND if self.protocol.sends(NodeState::KIND) => {
                let mut state: NodeState = frame.decode()?;
                state.images.truncate(NODE_IMAGES_MAX);
                for image in &mut state.images {
                    image.names.truncate(NODE_IMAGE_NAMES_MAX);
                    image.names.retain(|name| name.len() <= NODE_IMAGE_NAME_BYTES_MAX);
                }
                self.outputs.push_back(CoordinatorOutput::State(state));
            }
            NodeNetwork::KIND if self.protocol.sends(NodeNetwork::KIND) => {
                let network: NodeNetwork = frame.decode()?;
                self.outputs.push_back(CoordinatorOutput::Network(network.shortened()));
            }
            StaticPods::KIND if self.protocol.sends(StaticPods::KIND) => {
                self.handle_static_pods(frame.decode()?)?;
            }
            StaticPod::KIND if self.protocol.sends(StaticPod::KIND) => {
                self.handle_static_pod(frame.decode()?)?;
            }
            Renew::KIND => {
                let Renew { certificate_request } = frame.decode()?;
                self.outputs.push_back(CoordinatorOutput::Renew(certificate_request));
            }
            Unsupported::KIND => {}
            Hello::KIND => return Err(FrameError::Unexpected { kind: frame.kind }.into()),
            kind => self.reply(&Unsupported { kind: kind.0 }),
        }
        Ok(())
    }

    fn handle_static_pods(&mut self, StaticPods { pods }: StaticPods) -> Result<(), SessionError> {
        let fits = |pod: &StaticPodName| pod.uid.as_str().len() <= STATIC_NAME_BYTES_MAX && pod.is_tellable();
        if pods.len() > STATIC_PODS_MAX || !pods.iter().all(fits) {
            return Err(SessionError::StaticPods);
        }
        self.asked.retain(|uid| pods.iter().any(|pod| pod.uid == *uid));
        self.outputs.push_back(CoordinatorOutput::StaticPods(pods));
        Ok(())
    }

    /// What nobody asked for, or no longer, is of no use.
    fn handle_static_pod(&mut self, pod: StaticPod) -> Result<(), SessionError> {
        if pod.object.len() > STATIC_POD_BYTES_MAX {
            return Err(SessionError::StaticPods);
        }
        if self.asked.remove(&pod.uid) {
            self.outputs.push_back(CoordinatorOutput::StaticPod(pod));
        }
        Ok(())
    }

    fn handle_ack(&mut self, now: Moment, ack: AssignmentAck) -> Result<(), SessionError> {
        self.check_change_sent()?;
        let Phase::Open { known, in_flight, .. } = &mut self.phase else { return Ok(()) };
        let Some(change) = in_flight.take_if(|change| change.after.revision == ack.revision) else {
            return Err(SessionError::Change("an acknowledgement of nothing sent"));
        };
        *known = Known::Set(change.after);
        if !ack.refusals.is_empty() {
            self.outputs.push_back(CoordinatorOutput::Refused(ack.refusals));
        }
        self.bury(change.forget);
        self.offer_change(now)
    }

    /// A node answers a change when it has all of it.
    fn check_change_sent(&self) -> Result<(), SessionError> {
        match self.change.is_empty() {
            true => Ok(()),
            false => Err(SessionError::Change("an answer to a change that is still being sent")),
        }
    }

    /// Takes note that the node has no memory of these pods any more.
    fn bury(&mut self, uids: Vec<PodUid>) {
        if uids.is_empty() {
            return;
        }
        for uid in &uids {
            self.statuses.forget(uid);
        }
        let is_named = |uid: &&PodUid| {
            self.desired.as_ref().is_some_and(|desired| {
                desired.pods.contains_key(*uid) || desired.tombstones.contains_key(*uid)
            })
        };
        self.forgotten.extend(uids.iter().filter(is_named).cloned());
        self.outputs.push_back(CoordinatorOutput::Buried(uids));
    }

    fn handle_resync(&mut self, now: Moment, resync: Resync) -> Result<(), SessionError> {
        self.check_change_sent()?;
        let Phase::Open { known, in_flight, .. } = &mut self.phase else { return Ok(()) };
        if matches!(known, Known::Revision(_)) && in_flight.is_some() {
            return Err(SessionError::Change("a snapshot did not bring the node into step"));
        }
        *known = Known::Revision(resync.revision);
        *in_flight = None;
        self.outputs.push_back(CoordinatorOutput::Resynced(resync.reason));
        self.offer_change(now)
    }

    fn handle_statuses(
        &mut self,
        now: Moment,
        wall: UnixMillis,
        batch: StatusBatch,
    ) -> Result<(), SessionError> {
        self.clock.observe(batch.sent_at, wall);
        let mut recorded = Vec::new();
        for report in batch.reports {
            let uid = report.uid.clone();
            recorded.extend(self.statuses.handle(report)?.map(|sequence| (uid, sequence)));
        }
        if !recorded.is_empty() {
            self.reply(&StatusAck { recorded });
        }
        self.offer_statuses(now);
        Ok(())
    }

    fn offer_statuses(&mut self, now: Moment) {
        if let Some(batch) = self.statuses.next_batch(now) {
            self.outputs.push_back(CoordinatorOutput::Statuses(batch));
        }
    }

    /// Sends the next change unless one is on its way.
    fn offer_change(&mut self, now: Moment) -> Result<(), SessionError> {
        let Some(desired) = &self.desired else { return Ok(()) };
        self.in_step = false;
        let Phase::Open { known, in_flight: in_flight @ None, .. } = &mut self.phase else { return Ok(()) };
        let is_over = |uid: &PodUid| {
            desired.tombstones.contains_key(uid)
                || (self.statuses.is_gone(uid) && !desired.pods.contains_key(uid))
        };
        let forget: BTreeSet<PodUid> = self.statuses.stopped().filter(|uid| is_over(uid)).cloned().collect();
        let Some(Planned { change, after }) = plan(desired, known, &forget, &self.forgotten) else {
            self.in_step = true;
            return Ok(());
        };
        let forget = change.forget.clone();
        let frames = change::split(change, self.protocol, &mut self.sealer)?;
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        *in_flight = Some(InFlight { after, forget, bytes, deadline: now + ack_timeout(bytes) });
        self.change.extend(frames);
        Ok(())
    }

    /// Says why before the connection goes, for transports that cannot say it while closing.
    fn end(&mut self, error: SessionError) -> SessionError {
        self.send(&Refused { reason: error.reason() });
        self.phase = Phase::Closed;
        error
    }

    fn send<M: Message>(&mut self, message: &M) {
        assert!(self.protocol.sends(M::KIND), "the node does not know what it is sent");
        self.transmit.push_back(frame::encode(message));
    }

    fn reply<M: Message>(&mut self, message: &M) {
        assert!(self.protocol.sends(M::KIND), "the node does not know what it is sent");
        self.replies.push_back(frame::encode(message));
    }
}

/// What a greeting tells about the node's set.
/// The version that the node says what it holds came by.
fn told_by(extensions: &[Extension]) -> u16 {
    let told = extensions.iter().find(|extension| extension.tag == TOLD_BY_TAG);
    told.and_then(|told| codec::decode(&told.bytes).ok()).unwrap_or(TOLD_BY_FIRST - 1)
}

fn known_from_greeting(revision: Revision, digest: Option<Digest>, target: &HeldSet) -> Known {
    let Some(digest) = digest else { return Known::Revision(revision) };
    if revision <= target.revision && digest == target.digest() {
        Known::Set(HeldSet { revision, ..target.clone() })
    } else if revision < target.revision && revision != Revision::default() {
        Known::Base(revision)
    } else if revision > target.revision {
        Known::Later(revision, digest)
    } else {
        Known::Revision(revision)
    }
}

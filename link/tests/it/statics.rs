//! Static pods between the two machines: stated once, told when asked, and never to a peer that knows nothing of them.

use std::time::Duration;

use dunlin_link::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::Desired,
    frame::{Decoder, Frame, Kind, Message, encode},
    limits::{STATIC_POD_BYTES_MAX, STATIC_PODS_ASKED_MAX, STATIC_PODS_MAX},
    message::{Epoch, Hello, StatusBatch, Tunables, Unsupported},
    moment::Moment,
    session::{
        SessionError,
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession},
        node::{Applied, NodeConfig, NodeOutput, NodeSession},
    },
    statics::{StaticPod, StaticPodName, StaticPods},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::samples;

const NOW: Moment = Moment(Duration::ZERO);
const WALL: UnixMillis = UnixMillis(0);

/// Both machines and nothing between them.
struct Link {
    node: NodeSession,
    coordinator: CoordinatorSession,
}

impl Link {
    fn new() -> Self {
        let config = NodeConfig {
            node: NodeName::new("n1"),
            boot_id: BootId([0; 16]),
            agent: 1,
            cluster_id: "c".into(),
            sealing_key: None,
        };
        let node = NodeSession::new(config, samples::facts(), NOW);
        Self { node, coordinator: coordinator() }
    }

    /// Opens a session of at most this version.
    fn open(&mut self, version: u16) {
        self.node.handle_disconnected(NOW, &mut StdRng::seed_from_u64(1));
        let state_digest = dunlin_link::held::HeldSet::default().digest();
        let applied = Applied { revision: Revision(0), restore_generation: 0, protocol: 6, state_digest };
        self.node.handle_connected(NOW, WALL, applied, vec![samples::report(&samples::uid(1), 1)]);
        let mut hello: Hello = frame(&self.node.poll_transmit(WALL).unwrap()).decode().unwrap();
        hello.protocol.1 = version;
        self.coordinator = coordinator();
        self.coordinator.handle_bytes(NOW, WALL, &encode(&hello)).unwrap();
        let epoch = Epoch { term: 1, counter: self.node.newest_epoch().unwrap_or_default().counter + 1 };
        self.coordinator.welcome(epoch, Desired::default(), NOW, WALL).unwrap();
        while self.coordinator.poll_output().is_some() {}
        self.carry_down();
    }

    fn carry_down(&mut self) {
        while let Some(bytes) = self.coordinator.poll_transmit() {
            self.node.handle_bytes(NOW, &bytes).unwrap();
        }
    }

    /// What the node sends now, by kind; the coordinator hears it.
    fn carry_up(&mut self) -> Vec<Kind> {
        let frames: Vec<_> = std::iter::from_fn(|| self.node.poll_transmit(WALL)).collect();
        for bytes in &frames {
            self.coordinator.handle_bytes(NOW, WALL, bytes).unwrap();
        }
        frames.iter().map(|bytes| frame(bytes).kind).collect()
    }

    fn heard(&mut self) -> Vec<CoordinatorOutput> {
        std::iter::from_fn(|| self.coordinator.poll_output()).collect()
    }

    fn asked(&mut self) -> Vec<PodUid> {
        self.carry_down();
        let outputs = std::iter::from_fn(|| self.node.poll_output());
        outputs
            .filter_map(
                |output| if let NodeOutput::StaticPodsWanted(uids) = output { Some(uids) } else { None },
            )
            .flatten()
            .collect()
    }
}

fn coordinator() -> CoordinatorSession {
    let config = CoordinatorConfig {
        node: NodeName::new("n1"),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        sealing_seed: [7; 32],
    };
    CoordinatorSession::new(config, NOW)
}

fn frame(mut bytes: &[u8]) -> Frame {
    Decoder::new(1 << 20).feed(&mut bytes).unwrap().unwrap()
}

fn named(number: u32) -> StaticPodName {
    StaticPodName { uid: samples::uid(number), namespace: "default".into(), name: format!("p{number}-n1") }
}

fn told(number: u32) -> StaticPod {
    StaticPod { uid: samples::uid(number), object: Digest::of(&[]).hex().into_bytes() }
}

#[test]
fn static_pods_are_stated_once_and_told_when_asked_before_they_report() {
    let mut link = Link::new();
    link.node.static_pods(vec![named(1)]);
    link.open(2);
    assert_eq!(link.carry_up(), [StaticPods::KIND, StatusBatch::KIND]);
    assert_eq!(link.heard()[0], CoordinatorOutput::StaticPods(vec![named(1)]));
    link.node.static_pods(vec![named(1)]);
    assert_eq!(link.carry_up(), [], "nothing changed");

    link.coordinator.ask_static_pods(vec![samples::uid(1)]);
    assert_eq!(link.asked(), [samples::uid(1)]);
    link.node.report(samples::report(&samples::uid(1), 2));
    link.node.static_pod(told(1));
    assert_eq!(link.carry_up(), [StaticPod::KIND, StatusBatch::KIND]);
    assert_eq!(link.heard()[0], CoordinatorOutput::StaticPod(told(1)));
    // Told twice, and told without a question: nobody cares.
    link.node.static_pod(told(1));
    link.node.static_pod(told(2));
    assert_eq!(link.carry_up(), [StaticPod::KIND, StaticPod::KIND]);
    assert_eq!(link.heard(), []);

    // Each session begins with all of them, also with none; what was to be told belongs to the session that asked.
    link.node.static_pods(Vec::new());
    link.node.static_pod(told(1));
    link.open(2);
    assert_eq!(link.carry_up(), [StaticPods::KIND, StatusBatch::KIND]);
    assert_eq!(link.heard()[0], CoordinatorOutput::StaticPods(Vec::new()));
}

#[test]
fn a_coordinator_of_version_1_hears_nothing_of_them() {
    let mut link = Link::new();
    link.node.static_pods(vec![named(1)]);
    link.open(1);
    link.node.static_pod(told(1));
    assert_eq!(link.carry_up(), [], "not even a report");
    // Nor does it listen to a node that tells it anyway, or ask.
    link.coordinator.handle_bytes(NOW, WALL, &encode(&StaticPods { pods: vec![named(1)] })).unwrap();
    assert_eq!(link.heard(), []);
    let answer: Unsupported = frame(&link.coordinator.poll_transmit().unwrap()).decode().unwrap();
    assert_eq!(Kind(answer.kind), StaticPods::KIND);
    link.coordinator.ask_static_pods(vec![samples::uid(1)]);
    assert_eq!(link.coordinator.poll_transmit(), None);
    // The report waits for a coordinator that knows whose it is.
    link.open(2);
    assert_eq!(link.carry_up(), [StaticPods::KIND, StatusBatch::KIND]);
}

#[test]
fn few_are_asked_about_at_a_time_and_what_went_is_not_waited_for() {
    let mut link = Link::new();
    let count = u32::try_from(STATIC_PODS_ASKED_MAX).unwrap();
    link.node.static_pods((0..2 * count).map(named).collect());
    link.open(2);
    link.carry_up();
    link.coordinator.ask_static_pods((0..2 * count).map(samples::uid).collect());
    assert_eq!(link.asked().len(), STATIC_PODS_ASKED_MAX);
    link.coordinator.ask_static_pods(vec![samples::uid(count)]);
    assert_eq!(link.asked(), []);
    // A lost answer is asked for again.
    link.coordinator.ask_static_pods(vec![samples::uid(0)]);
    assert_eq!(link.asked(), [samples::uid(0)]);
    link.node.static_pods(vec![named(count)]);
    link.carry_up();
    link.coordinator.ask_static_pods(vec![samples::uid(count)]);
    assert_eq!(link.asked(), [samples::uid(count)]);
    // However often the node tells, no more waits here than one asks for.
    (0..100).for_each(|number| link.node.static_pod(told(number)));
    assert_eq!(link.carry_up().len(), STATIC_PODS_ASKED_MAX);
}

#[test]
fn more_than_a_node_may_state_ends_the_session() {
    let check = |bytes: Vec<u8>, is_fine: bool| {
        let mut link = Link::new();
        link.node.static_pods(vec![named(1)]);
        link.open(2);
        link.carry_up();
        link.coordinator.ask_static_pods(vec![samples::uid(1)]);
        let result = link.coordinator.handle_bytes(NOW, WALL, &bytes);
        let is_refused = matches!(&result, Err(SessionError::StaticPods));
        assert_eq!((result.is_ok(), is_refused), (is_fine, !is_fine));
    };
    let list = |count: usize, length: usize| {
        let pod = StaticPodName { namespace: "x".repeat(63), name: "x".repeat(length), ..named(1) };
        encode(&StaticPods { pods: vec![pod; count] })
    };
    // As many as there may be, with the longest names, fit into a frame.
    check(list(STATIC_PODS_MAX, 253), true);
    check(list(STATIC_PODS_MAX + 1, 1), false);
    check(list(1, 254), false);
    let object = |length| encode(&StaticPod { uid: samples::uid(1), object: vec![b'x'; length] });
    check(object(STATIC_POD_BYTES_MAX), true);
    check(object(STATIC_POD_BYTES_MAX + 1), false);

    // The node keeps to it.
    let mut link = Link::new();
    link.node.static_pods((0..1000).map(named).collect());
    link.open(2);
    link.carry_up();
    let CoordinatorOutput::StaticPods(pods) = &link.heard()[0] else { panic!() };
    assert_eq!(pods.len(), STATIC_PODS_MAX);
}

//! A version-1 peer, kept as the bytes that it said: what a node and a coordinator of version 1 told each other is played against
//! today's machines, each in the other's place. Today's must say exactly what version 1 said, and nothing that it did not know.

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng, rngs::StdRng};

use crate::{every_kind::reencode, samples};
use dunlin_link::{
    BootId, Digest, NodeName, Revision, UnixMillis,
    assignment::{AssignedPod, AssignmentChange, Desired, Refusal},
    frame::{Decoder, Frame},
    held::HeldSet,
    message::{Attempt, Epoch, Hello, PROTOCOL_VERSIONS, Tunables},
    moment::Moment,
    pod::{ConfigKind, ConfigObject, ConfigRef},
    sealed::SealingKey,
    session::{
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession, Recorded},
        node::{Applied, NodeConfig, NodeOutput, NodeSession},
    },
    status::NodeEvent,
};

const NOW: Moment = Moment(Duration::ZERO);

/// What happens beside the conversation, in this order; between two cues everything is said that there is to say.
const CUES: [Cue; 6] = [
    Cue::Node(Node::connect),
    Cue::Node(Node::tell),
    Cue::Coordinator(Coordinator::delete_and_add),
    Cue::Node(Node::renew),
    Cue::Node(Node::misapply_next),
    Cue::Coordinator(Coordinator::add_another),
];

#[derive(Clone, Copy)]
enum Cue {
    Node(fn(&mut Node)),
    Coordinator(fn(&mut Coordinator)),
}

/// A node with its disk.
struct Node {
    machine: NodeSession,
    held: HeldSet,
    misapplies: bool,
}

impl Node {
    fn new() -> Self {
        let config = NodeConfig {
            node: NodeName::new("n1"),
            boot_id: BootId([3; 16]),
            agent: 11,
            cluster_id: "c".into(),
            sealing_key: Some(SealingKey::generate(&mut StdRng::seed_from_u64(1)).public()),
        };
        let machine = NodeSession::new(config, samples::facts(), NOW);
        Self { machine, held: HeldSet::default(), misapplies: false }
    }

    fn applied(&self) -> Applied {
        let state_digest = self.held.digest();
        Applied { revision: self.held.revision, restore_generation: 2, protocol: 0, state_digest }
    }

    fn connect(&mut self) {
        self.machine.handle_timeout(NOW).unwrap();
        assert_eq!(self.machine.poll_output(), Some(NodeOutput::Connect));
        let applied = self.applied();
        self.machine.handle_connected(NOW, UnixMillis(1_000), applied, Vec::new());
    }

    fn tell(&mut self) {
        self.machine.event(NodeEvent {
            pod: None,
            warning: true,
            reason: "Tested".into(),
            message: "m".into(),
            at: UnixMillis(5),
        });
        let mut facts = samples::facts();
        facts.addresses.push("10.0.0.2".into());
        self.machine.facts(facts);
    }

    fn renew(&mut self) {
        self.machine.renew(vec![1, 2, 3]);
    }

    fn misapply_next(&mut self) {
        self.misapplies = true;
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.machine.handle_bytes(NOW, bytes).unwrap();
        while let Some(output) = self.machine.poll_output() {
            if let NodeOutput::Commit(change) = output {
                self.commit(&change);
            }
        }
    }

    fn commit(&mut self, change: &AssignmentChange) {
        if std::mem::take(&mut self.misapplies) {
            return self.machine.committed(self.applied(), Vec::new());
        }
        assert_eq!(self.held.apply(change), []);
        for (_, pod) in &change.upserts {
            self.machine.report(samples::report(&pod.uid, change.revision.0));
        }
        for tombstone in &change.tombstones {
            let mut last = samples::report(&tombstone.uid, change.revision.0);
            last.stopped = true;
            self.machine.report(last);
        }
        let refused = change.upserts.iter().filter(|(_, pod)| pod.uid == samples::uid(3));
        let refusals = refused.map(|(_, pod)| Refusal {
            uid: pod.uid.clone(),
            reason: "OutOfpods".into(),
            message: "full".into(),
        });
        self.machine.committed(self.applied(), refusals.collect());
    }
}

/// A coordinator with the node's desired set.
struct Coordinator {
    machine: CoordinatorSession,
    desired: Desired,
    /// In the order in which they came.
    outputs: Vec<&'static str>,
}

impl Coordinator {
    fn new() -> Self {
        let config = CoordinatorConfig {
            node: NodeName::new("n1"),
            cluster_id: "c".into(),
            restore_generation: 2,
            tunables: Tunables { keep_alive_ms: 25_000, idle_timeout_ms: 80_000, reconnect_ms_max: 60_000 },
            sealing_seed: [7; 32],
        };
        let machine = CoordinatorSession::new(config, NOW);
        let mut coordinator = Self { machine, desired: Desired::default(), outputs: Vec::new() };
        coordinator.assign(1, 5, ConfigKind::ConfigMap);
        coordinator.assign(2, 6, ConfigKind::Secret);
        coordinator
    }

    /// Puts a pod into the set that names content of its own.
    fn assign(&mut self, number: u8, revision: u64, kind: ConfigKind) {
        let (uid, digest) = (samples::uid(number.into()), Digest::from_bytes([number; 32]));
        let mut pod = samples::pod(&uid, 1, None);
        pod.config = vec![ConfigRef { kind, name: "c".into(), digest: Some(digest) }];
        let object = ConfigObject { kind, data: vec![("key".into(), vec![number])] };
        Arc::make_mut(&mut self.desired.objects).insert(digest, Arc::new(object));
        let revision = Revision(revision);
        let assigned = AssignedPod { revision, assignment: Arc::new(pod) };
        Arc::make_mut(&mut self.desired.pods).insert(uid, assigned);
        self.desired.revision = revision;
    }

    fn delete_and_add(&mut self) {
        let uid = samples::uid(2);
        Arc::make_mut(&mut self.desired.pods).remove(&uid);
        Arc::make_mut(&mut self.desired.tombstones).insert(uid.clone(), samples::tombstone(&uid));
        self.assign(3, 8, ConfigKind::Secret);
        self.machine.set_desired(self.desired.clone(), NOW).unwrap();
    }

    fn add_another(&mut self) {
        self.assign(4, 20, ConfigKind::Secret);
        self.machine.set_desired(self.desired.clone(), NOW).unwrap();
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.machine.handle_bytes(NOW, UnixMillis(9_000), bytes).unwrap();
        while let Some(output) = self.machine.poll_output() {
            let heard = self.act(output);
            self.outputs.push(heard);
        }
    }

    fn act(&mut self, output: CoordinatorOutput) -> &'static str {
        match output {
            CoordinatorOutput::Greeted { attempt, boot_id, .. } => {
                assert_eq!((attempt, boot_id), (Attempt { agent: 11, counter: 1 }, BootId([3; 16])));
                let epoch = Epoch { term: 4, counter: 9 };
                self.machine.welcome(epoch, self.desired.clone(), NOW, UnixMillis(9_000)).unwrap();
                "greeted"
            }
            CoordinatorOutput::Statuses(reports) => {
                let done: Vec<_> = reports.into_iter().map(|report| (report.uid, Recorded::Done)).collect();
                self.machine.recorded(&done, NOW).unwrap();
                "statuses"
            }
            CoordinatorOutput::Buried(uids) => {
                for uid in &uids {
                    Arc::make_mut(&mut self.desired.tombstones).remove(uid);
                }
                self.desired.revision.0 += 1;
                self.machine.set_desired(self.desired.clone(), NOW).unwrap();
                "buried"
            }
            CoordinatorOutput::Renew(_) => {
                self.machine.renewed(vec![vec![7], vec![8]]);
                "renew"
            }
            CoordinatorOutput::Events { .. } => "events",
            CoordinatorOutput::Facts(_) => "facts",
            CoordinatorOutput::Health(_) => "health",
            CoordinatorOutput::State(_) => "state",
            CoordinatorOutput::Network(_) => "network",
            CoordinatorOutput::Refused(_) => "refused",
            CoordinatorOutput::Resynced(_) => "resynced",
            CoordinatorOutput::StaticPods(_) | CoordinatorOutput::StaticPod(_) => "static pods",
        }
    }
}

/// One line of the record.
enum Line {
    Cue(Cue),
    FromNode(Vec<u8>),
    FromCoordinator(Vec<u8>),
}

/// What was recorded when version 1 was the newest: `=` and the number of a cue, `>` what the node said, `<` the coordinator.
fn record() -> Vec<Line> {
    let line = |line: &str| match line.split_once(' ').unwrap() {
        ("=", number) => Line::Cue(CUES[number.parse::<usize>().unwrap()]),
        (">", hex) => Line::FromNode(bytes(hex)),
        ("<", hex) => Line::FromCoordinator(bytes(hex)),
        _ => panic!("not a line of the record: {line}"),
    };
    include_str!("golden/version_one.txt").lines().map(line).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn frame(mut bytes: &[u8]) -> Frame {
    Decoder::new(1 << 20).feed(&mut bytes).unwrap().unwrap()
}

#[test]
fn a_node_of_version_1_hears_what_it_always_heard() {
    let mut coordinator = Coordinator::new();
    for line in record() {
        match line {
            Line::Cue(cue) => {
                assert_eq!(coordinator.machine.poll_transmit(), None);
                if let Cue::Coordinator(act) = cue {
                    act(&mut coordinator);
                }
            }
            Line::FromNode(bytes) => coordinator.hear(&bytes),
            Line::FromCoordinator(bytes) => assert_eq!(coordinator.machine.poll_transmit(), Some(bytes)),
        }
    }
    assert_eq!(coordinator.machine.poll_transmit(), None);
    assert_eq!(coordinator.machine.protocol().number(), 1);
    assert_eq!(coordinator.machine.acknowledged(), Some(Revision(20)));
    let expected = [
        "greeted", "statuses", "facts", "events", "refused", "statuses", "buried", "renew", "resynced",
        "refused", "statuses",
    ];
    assert_eq!(coordinator.outputs, expected);
}

#[test]
fn a_coordinator_of_version_1_hears_what_it_always_heard() {
    let mut node = Node::new();
    let mut greeted = false;
    for line in record() {
        match line {
            Line::Cue(cue) => {
                assert_eq!(node.machine.poll_transmit(UnixMillis(2_000)), None);
                if let Cue::Node(act) = cue {
                    act(&mut node);
                }
            }
            Line::FromCoordinator(bytes) => node.hear(&bytes),
            Line::FromNode(bytes) => {
                let said = node.machine.poll_transmit(UnixMillis(2_000)).unwrap();
                if greeted {
                    assert_eq!(said, bytes);
                } else {
                    greeted = true;
                    check_greeting(&said, &bytes);
                }
            }
        }
    }
    assert_eq!(node.machine.poll_transmit(UnixMillis(2_000)), None);
    assert_eq!(node.machine.protocol().map(|protocol| protocol.number()), Some(1));
    assert_eq!(node.held.revision, Revision(20));
    assert_eq!(node.held.pods.len(), 3);
}

/// A greeting comes before an agreement: it offers every version, and extensions that version 1 skips. All else is as it was.
fn check_greeting(said: &[u8], recorded: &[u8]) {
    let [said, recorded] = [said, recorded].map(|bytes| frame(bytes).decode::<Hello>().unwrap());
    assert_eq!((said.protocol, recorded.protocol), (PROTOCOL_VERSIONS, (1, 1)));
    let extensions = recorded.extensions.clone();
    assert_eq!(Hello { protocol: (1, 1), extensions, ..said }, recorded);
}

#[test]
fn every_recorded_frame_is_of_a_known_kind() {
    for line in record() {
        if let Line::FromNode(bytes) | Line::FromCoordinator(bytes) = line {
            assert_eq!(reencode(&frame(&bytes)).unwrap().unwrap(), bytes);
        }
    }
}

//! How pods are looked after, what files they see, and what their Linux containers are told, which tokens they want, which images are their volumes, and what was added to them, travels beside them, and a node that was told of them by an older version is told again.

use std::{sync::Arc, time::Duration};

use dunlin_link::{
    BootId, NodeName, Revision, UnixMillis,
    assignment::{AssignedPod, AssignmentChange, Desired},
    care::PodCare,
    container_support::ContainerSupport,
    ephemeral::AssignmentEphemeral,
    frame::{Decoder, Message, encode},
    held::HeldSet,
    limits::NODE_IMAGES_MAX,
    message::{AssignmentCare, AssignmentLinux, AssignmentVolumes, Epoch, Facts, Hello, Tunables},
    moment::Moment,
    node_network::NodeNetwork,
    node_state::{NodeImage, NodeState},
    pod::PodAssignment,
    resources::AssignmentResources,
    session::{
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession},
        node::{Applied, NodeConfig, NodeOutput, NodeSession},
    },
    status::NodeFacts,
    tokens::AssignmentTokens,
    volume_images::AssignmentVolumeImages,
};

use crate::{full, samples};

const NOW: Moment = Moment(Duration::ZERO);
const WALL: UnixMillis = UnixMillis(0);

/// One pod that wants to be looked after, and one that does not.
fn desired() -> Desired {
    let care = full::care().care.remove(0).1;
    let volumes = full::volumes().volumes.remove(0).1;
    let linux = full::linux().linux.remove(0).1;
    let tokens = full::tokens().tokens.remove(0).1;
    let volume_images = full::volume_images().images.remove(0).1;
    let ephemeral = full::ephemeral().ephemeral.remove(0).1;
    let resources = full::resources().resources.remove(0).1;
    let pods = [(1, care), (2, PodCare::default())].map(|(number, care)| {
        let mut pod = samples::pod(&samples::uid(number), 1, None);
        if pod.uid == samples::uid(1) {
            (pod.volumes, pod.linux) = (volumes.clone(), Some(Box::new(linux.clone())));
            pod.tokens = tokens.clone();
            pod.volume_images = volume_images.clone();
            pod.ephemeral = ephemeral.clone();
            pod.resources = Some(Box::new(resources.clone()));
        }
        pod.care = care;
        (samples::uid(number), AssignedPod { revision: Revision(5), assignment: Arc::new(pod) })
    });
    Desired { revision: Revision(5), pods: Arc::new(pods.into()), ..Desired::default() }
}

fn node() -> NodeSession {
    let config = NodeConfig {
        node: NodeName::new("n1"),
        boot_id: BootId([0; 16]),
        agent: 1,
        cluster_id: "c".into(),
        sealing_key: None,
    };
    NodeSession::new(config, samples::facts(), NOW)
}

/// A session in which the node holds this set, told by a version, and the coordinator speaks at most one; what it is told to commit.
fn open(
    node: &mut NodeSession,
    held: &HeldSet,
    told_by: u16,
    spoken: u16,
) -> (CoordinatorSession, Option<AssignmentChange>, [bool; 7]) {
    let config = CoordinatorConfig {
        node: NodeName::new("n1"),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        sealing_seed: [9; 32],
    };
    let (revision, state_digest) = (held.revision, held.digest());
    let applied = Applied { revision, restore_generation: 0, state_digest, protocol: told_by };
    node.handle_connected(NOW, WALL, applied, Vec::new());
    let hello = node.poll_transmit(WALL).unwrap();
    let mut hello: Hello =
        Decoder::new(1 << 20).feed(&mut hello.as_slice()).unwrap().unwrap().decode().unwrap();
    hello.protocol.1 = spoken;
    let mut session = CoordinatorSession::new(config, NOW);
    session.handle_bytes(NOW, WALL, &encode(&hello)).unwrap();
    session.welcome(Epoch { term: 1, counter: 1 }, desired(), NOW, WALL).unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| session.poll_transmit()).collect();
    let mut decoder = Decoder::new(1 << 20);
    let kinds: Vec<_> =
        frames.iter().map(|bytes| decoder.feed(&mut bytes.as_slice()).unwrap().unwrap().kind).collect();
    node.handle_bytes(NOW, &frames.concat()).unwrap();
    let change = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
        NodeOutput::Commit(change) => Some(change),
        _ => None,
    });
    let was_sent = [
        AssignmentCare::KIND,
        AssignmentVolumes::KIND,
        AssignmentLinux::KIND,
        AssignmentTokens::KIND,
        AssignmentVolumeImages::KIND,
        AssignmentEphemeral::KIND,
        AssignmentResources::KIND,
    ]
    .map(|kind| kinds.contains(&kind));
    (session, change, was_sent)
}

#[test]
fn every_part_comes_with_their_pod_and_with_no_other() {
    let (_, change, was_sent) = open(&mut node(), &HeldSet::default(), 0, 8);
    let change = change.unwrap();
    assert_eq!((was_sent, change.protocol), ([true; 7], 8));
    let expected = desired();
    for (_, pod) in &change.upserts {
        assert_eq!(*pod, *expected.pods[&pod.uid].assignment);
    }
    // An older peer is told nothing of it.
    let (_, change, was_sent) = open(&mut node(), &HeldSet::default(), 0, 7);
    assert_eq!(was_sent, [true, true, true, true, true, false, false]);
    assert!(
        change.unwrap().upserts.iter().all(|(_, pod)| pod.ephemeral.is_default() && pod.resources.is_none())
    );
    let (_, change, was_sent) = open(&mut node(), &HeldSet::default(), 0, 6);
    assert_eq!(was_sent, [true, true, true, false, false, false, false]);
    let is_silent = |pod: &PodAssignment| pod.tokens.is_default() && pod.volume_images.is_default();
    assert!(change.unwrap().upserts.iter().all(|(_, pod)| is_silent(pod)));
    let (_, change, was_sent) = open(&mut node(), &HeldSet::default(), 0, 5);
    assert_eq!(was_sent, [true, true, false, false, false, false, false]);
    assert!(change.unwrap().upserts.iter().all(|(_, pod)| pod.linux.is_none()));
    let (_, change, was_sent) = open(&mut node(), &HeldSet::default(), 0, 4);
    assert_eq!(was_sent, [true, false, false, false, false, false, false]);
    assert!(change.unwrap().upserts.iter().all(|(_, pod)| pod.volumes.is_default()));
    let (_, change, was_sent) = open(&mut node(), &HeldSet::default(), 0, 3);
    let change = change.unwrap();
    assert_eq!((was_sent, change.protocol), ([false, false, false, false, false, false, false], 3));
    assert!(change.upserts.iter().all(|(_, pod)| pod.care.is_default()));
}

#[test]
fn what_an_older_version_told_is_told_again() {
    let held = HeldSet::of(&desired());
    let check = |told_by, spoken, is_told: bool| {
        let (_, change, _) = open(&mut node(), &held, told_by, spoken);
        assert_eq!(change.is_some(), is_told, "{told_by} {spoken}");
        assert!(change.is_none_or(|change| change.base.is_none()));
    };
    check(4, 4, false);
    check(3, 3, false);
    check(0, 3, false);
    check(3, 4, true);
    check(4, 3, false);
    check(4, 5, true);
    check(5, 5, false);
    check(5, 6, true);
    check(6, 6, false);
    check(6, 7, true);
    check(7, 7, false);
    check(7, 8, true);
    check(8, 8, false);
}

#[test]
fn whether_a_node_runs_containers_is_told_once_a_session() {
    let support =
        ContainerSupport::Runs { runtime: "crun".into(), version: "1.8.1".into(), recursive_read_only: true };
    let mut node = node();
    node.facts(NodeFacts { containers: Some(Box::new(support.clone())), ..samples::facts() });
    let (mut session, ..) = open(&mut node, &HeldSet::default(), 0, 6);
    let said = std::iter::from_fn(|| session.poll_output()).find_map(|output| match output {
        CoordinatorOutput::Greeted { facts, .. } => facts.containers,
        _ => None,
    });
    assert_eq!(said.as_deref(), Some(&support));
    // Facts that change later leave it as it is.
    session.handle_bytes(NOW, WALL, &encode(&Facts { facts: samples::facts() })).unwrap();
    let changed = std::iter::from_fn(|| session.poll_output()).find_map(|output| match output {
        CoordinatorOutput::Facts(facts) => facts.containers,
        _ => None,
    });
    assert_eq!(changed.as_deref(), Some(&support));
}

#[test]
fn the_state_of_a_node_is_told_when_it_changes_and_within_its_bounds() {
    let held = HeldSet::of(&desired());
    let mut node = node();
    let image = NodeImage { names: vec!["x".repeat(513), "ok".into()], size: dunlin_link::Bytes(1) };
    let state = NodeState { memory_pressure: true, images: vec![image; 60], ..NodeState::default() };
    node.state(state.clone());
    let (mut session, ..) = open(&mut node, &held, 4, 4);
    let told = node.poll_transmit(WALL).unwrap();
    node.state(state);
    assert_eq!(node.poll_transmit(WALL), None);
    while session.poll_output().is_some() {}
    session.handle_bytes(NOW, WALL, &told).unwrap();
    let Some(CoordinatorOutput::State(heard)) = session.poll_output() else { panic!("a state was told") };
    assert!(heard.memory_pressure && !heard.disk_pressure);
    assert_eq!(
        (heard.images.len(), heard.images[0].names.as_slice()),
        (NODE_IMAGES_MAX, &["ok".to_owned()][..])
    );
    node.state(NodeState::default());
    assert!(node.poll_transmit(WALL).is_some());
}

#[test]
fn the_network_of_a_node_is_told_when_it_changes_and_again_in_the_next_session() {
    let held = HeldSet::of(&desired());
    let mut node = node();
    let lacks = NodeNetwork::Lacks { message: "x".repeat(5000) };
    node.network(lacks.clone());
    let (mut session, ..) = open(&mut node, &held, 7, 7);
    let told = node.poll_transmit(WALL).unwrap();
    node.network(lacks.clone());
    assert_eq!(node.poll_transmit(WALL), None);
    while session.poll_output().is_some() {}
    session.handle_bytes(NOW, WALL, &told).unwrap();
    let heard = session.poll_output();
    assert!(
        matches!(&heard, Some(CoordinatorOutput::Network(NodeNetwork::Lacks { message })) if message.len() == 2048),
        "{heard:?}"
    );
    node.network(NodeNetwork::Works { limits: String::new() });
    assert!(node.poll_transmit(WALL).is_some());
    // Older coordinators are told nothing.
    let mut node = self::node();
    node.network(lacks);
    let _session = open(&mut node, &held, 6, 6);
    assert_eq!(node.poll_transmit(WALL), None);
}

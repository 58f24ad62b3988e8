//! Secrets in a session: sealed for a node that has named a key, asked for again by one that has lost it.

use std::{sync::Arc, time::Duration};

use dunlin_link::{
    BootId, Digest, NodeName, Revision, UnixMillis,
    assignment::{AssignedPod, AssignmentChange, Desired},
    frame::{Decoder, Frame, Message, encode},
    held::HeldSet,
    message::{AssignmentObjects, AssignmentSealed, Epoch, Extension, Hello, Tunables},
    moment::Moment,
    pod::{ConfigKind, ConfigObject, ConfigRef},
    sealed::{Content, SealingKey, SealingPlace, SealingPublicKey},
    session::{
        SessionError,
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession},
        node::{Applied, NodeConfig, NodeOutput, NodeSession},
    },
};
use rand::{SeedableRng, rngs::StdRng};

use crate::samples;

const NOW: Moment = Moment(Duration::ZERO);

fn id(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn object(kind: ConfigKind) -> ConfigObject {
    ConfigObject { kind, data: vec![("key".into(), b"hunter2".to_vec())] }
}

/// One pod that names a ConfigMap and a Secret.
fn desired() -> Desired {
    let mut pod = samples::pod(&samples::uid(1), 1, Some(id(1)));
    pod.config.push(ConfigRef { kind: ConfigKind::Secret, name: "s".into(), digest: Some(id(2)) });
    let pod = AssignedPod { revision: Revision(5), assignment: Arc::new(pod) };
    let objects = [(id(1), ConfigKind::ConfigMap), (id(2), ConfigKind::Secret)];
    Desired {
        revision: Revision(5),
        pods: Arc::new([(samples::uid(1), pod)].into()),
        tombstones: Arc::default(),
        objects: Arc::new(objects.into_iter().map(|(id, kind)| (id, Arc::new(object(kind)))).collect()),
    }
}

fn node(sealing_key: Option<SealingPublicKey>) -> NodeSession {
    let config = NodeConfig {
        node: NodeName::new("n1"),
        boot_id: BootId([0; 16]),
        agent: 1,
        cluster_id: "c".into(),
        sealing_key,
    };
    NodeSession::new(config, samples::facts(), NOW)
}

fn connect(node: &mut NodeSession, held: &HeldSet) -> Vec<u8> {
    let applied =
        Applied { revision: held.revision, restore_generation: 0, protocol: 8, state_digest: held.digest() };
    node.handle_connected(NOW, UnixMillis(0), applied, Vec::new());
    node.poll_transmit(UnixMillis(0)).unwrap()
}

/// A session of the coordinator that has answered this greeting.
fn welcomed(hello: &[u8], counter: u64) -> CoordinatorSession {
    let config = CoordinatorConfig {
        node: NodeName::new("n1"),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        sealing_seed: [9; 32],
    };
    let mut session = CoordinatorSession::new(config, NOW);
    session.handle_bytes(NOW, UnixMillis(0), hello).unwrap();
    assert!(matches!(session.poll_output(), Some(CoordinatorOutput::Greeted { .. })));
    session.welcome(Epoch { term: 1, counter }, desired(), NOW, UnixMillis(0)).unwrap();
    session
}

fn frames(session: &mut CoordinatorSession) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| session.poll_transmit()).collect()
}

fn frame(mut bytes: &[u8]) -> Frame {
    Decoder::new(1 << 20).feed(&mut bytes).unwrap().unwrap()
}

fn key() -> SealingKey {
    SealingKey::generate(&mut StdRng::seed_from_u64(4))
}

fn says_the_secret(frames: &[Vec<u8>]) -> usize {
    frames.concat().windows(7).filter(|bytes| bytes == b"hunter2").count()
}

/// Feeds the node; answers the change that it is told to commit.
fn hear(node: &mut NodeSession, frames: &[Vec<u8>]) -> Option<AssignmentChange> {
    node.handle_bytes(NOW, &frames.concat()).unwrap();
    let outputs = std::iter::from_fn(|| node.poll_output());
    outputs.fold(None, |found, output| match output {
        NodeOutput::Commit(change) => Some(change),
        _ => found,
    })
}

#[test]
fn a_secret_travels_sealed_and_a_config_map_in_clear() {
    let key = key();
    let mut node = node(Some(key.public()));
    let mut session = welcomed(&connect(&mut node, &HeldSet::default()), 1);
    assert_eq!(session.sealing_key(), Some(key.public()));
    let frames = frames(&mut session);
    assert_eq!(says_the_secret(&frames), 1, "the ConfigMap alone");
    let change = hear(&mut node, &frames).unwrap();
    let place = SealingPlace { cluster_id: "c".into(), node: NodeName::new("n1") };
    let [(map, Content::Clear(clear)), (secret, Content::Sealed(sealed))] = &change.objects[..] else {
        panic!("{:?}", change.objects)
    };
    assert_eq!((*map, *secret, &**clear), (id(1), id(2), &object(ConfigKind::ConfigMap)));
    assert_eq!(key.open(sealed, secret, &place), Ok(object(ConfigKind::Secret)));
}

#[test]
fn a_node_without_a_key_or_of_version_1_gets_secrets_in_clear() {
    let mut version_1: Hello =
        frame(&connect(&mut node(Some(key().public())), &HeldSet::default())).decode().unwrap();
    version_1.protocol = (1, 1);
    for hello in [connect(&mut node(None), &HeldSet::default()), encode(&version_1)] {
        let mut session = welcomed(&hello, 1);
        assert_eq!(session.sealing_key(), None);
        let frames = frames(&mut session);
        let kinds: Vec<_> = frames.iter().map(|bytes| frame(bytes).kind).collect();
        assert!(kinds.contains(&AssignmentObjects::KIND) && !kinds.contains(&AssignmentSealed::KIND));
        assert_eq!(says_the_secret(&frames), 2);
    }
}

#[test]
fn a_key_that_is_none_is_refused() {
    let mut hello: Hello = frame(&connect(&mut node(None), &HeldSet::default())).decode().unwrap();
    let config = CoordinatorConfig {
        node: NodeName::new("n1"),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        sealing_seed: [9; 32],
    };
    hello.extensions = vec![Extension { tag: 1, bytes: vec![1; 31] }];
    let mut session = CoordinatorSession::new(config.clone(), NOW);
    let error = session.handle_bytes(NOW, UnixMillis(0), &encode(&hello)).unwrap_err();
    assert!(matches!(error, SessionError::SealingKey), "{error}");
    // Of the right length, but no key can be agreed with it.
    hello.extensions = vec![Extension { tag: 1, bytes: vec![0; 32] }];
    let mut session = CoordinatorSession::new(config, NOW);
    session.handle_bytes(NOW, UnixMillis(0), &encode(&hello)).unwrap();
    let error = session.welcome(Epoch::default(), desired(), NOW, UnixMillis(0)).unwrap_err();
    assert!(matches!(error, SessionError::Sealing(_)), "{error}");
}

#[test]
fn a_node_that_lost_its_key_is_sent_everything_again_and_keeps_its_pods() {
    let mut node = node(Some(key().public()));
    let mut held = HeldSet::of(&desired());
    // Without a loss nothing is sent to it.
    let mut session = welcomed(&connect(&mut node, &held), 1);
    assert!(hear(&mut node, &frames(&mut session)).is_none() && node.is_open());

    node.start_over();
    assert_eq!(node.poll_timeout(), Some(NOW));
    let error = node.handle_timeout(NOW).unwrap_err();
    assert!(matches!(error, SessionError::StartOver), "{error}");
    for counter in 2..4 {
        // Until it has committed a snapshot, each connection asks again.
        node.handle_disconnected(NOW, &mut StdRng::seed_from_u64(1));
        let mut session = welcomed(&connect(&mut node, &held), counter);
        let change = hear(&mut node, &frames(&mut session)).unwrap();
        assert_eq!((change.base, change.objects.len()), (None, 2));
        assert_eq!(held.apply(&change), [], "no pod is held or stopped by it");
        if counter == 3 {
            let applied = Applied {
                revision: held.revision,
                restore_generation: 0,
                protocol: 8,
                state_digest: held.digest(),
            };
            node.committed(applied, Vec::new());
            session.handle_bytes(NOW, UnixMillis(0), &node.poll_transmit(UnixMillis(0)).unwrap()).unwrap();
            assert_eq!(session.acknowledged(), Some(Revision(5)));
        }
    }
    node.handle_disconnected(NOW, &mut StdRng::seed_from_u64(1));
    let mut session = welcomed(&connect(&mut node, &held), 4);
    assert!(hear(&mut node, &frames(&mut session)).is_none(), "it is in step again");
}

#[test]
fn a_node_that_cannot_write_lets_its_coordinator_wait_for_longer_each_time() {
    let mut node = node(None);
    let mut rng = StdRng::seed_from_u64(1);
    let mut wait = |node: &mut NodeSession| {
        node.handle_disconnected(NOW, &mut rng);
        // Neither a change of the network nor chance makes it come back sooner.
        node.hasten(NOW, &mut rng);
        node.poll_timeout().unwrap().since(NOW).as_secs()
    };
    for (counter, least) in [5, 10, 20, 40, 80, 160, 160, 160].into_iter().enumerate() {
        let mut session = welcomed(&connect(&mut node, &HeldSet::default()), counter as u64 + 1);
        assert!(hear(&mut node, &frames(&mut session)).is_some());
        node.not_committed();
        let waited = wait(&mut node);
        assert!((least..=least + 1).contains(&waited), "{waited} s, {counter}");
    }
    let mut session = welcomed(&connect(&mut node, &HeldSet::default()), 9);
    let change = hear(&mut node, &frames(&mut session)).unwrap();
    let mut held = HeldSet::default();
    held.apply(&change);
    let applied =
        Applied { revision: held.revision, restore_generation: 0, protocol: 8, state_digest: held.digest() };
    node.committed(applied, Vec::new());
    assert!(wait(&mut node) <= 1, "a change that is durable ends that");
    let mut session = welcomed(&connect(&mut node, &HeldSet::default()), 10);
    assert!(hear(&mut node, &frames(&mut session)).is_some());
    node.not_committed();
    assert!((5..=6).contains(&wait(&mut node)));
}

//! What a joined node and the coordinator do for each other.

use std::time::{Duration, Instant};

use dunlin_link::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    container_support::ContainerSupport,
    frame,
    join::SESSION_ALPN,
    logs::{LogRequest, LogStreams},
    message::{Attempt, Hello, PROTOCOL_VERSIONS, Welcome},
    status::NodeEvent,
};
use quinn::TransportConfig;
use tokio::io::AsyncReadExt;

use super::{
    client::{Client, read_head},
    cluster::{Coordinator, logged},
    node::{Node, TORN_BYTES, facts, pod, report, try_join},
};
use dunlin_coordinator::{artifacts::Module, sessions::StreamOpen};
use dunlin_edge_node::session::Identity;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_runs_pods_and_forgets_them() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "n1").await;
    coordinator.played.hears("connected n1", 1).await;
    let uid = PodUid::new("u1");
    coordinator.played.assign(pod("u1", Digest::of(b"module")));
    node.holds("u1 assigned", |held| held.pods.contains_key(&uid)).await;
    coordinator.played.hears_that("u1 reported", |heard| heard.reports.iter().any(|r| r.uid == uid)).await;
    coordinator.played.bury(&uid);
    coordinator.played.hears("buried u1", 1).await;
    node.holds("u1 forgotten", |held| held.pods.is_empty() && held.tombstones.is_empty()).await;
    node.handle.event(NodeEvent {
        pod: None,
        warning: false,
        reason: "Starting".into(),
        message: String::new(),
        at: UnixMillis(0),
    });
    coordinator.played.hears("event Starting", 1).await;
    coordinator.played.assign({
        let mut refused = pod("u2", Digest::of(b"module"));
        refused.name = "refuse-me".into();
        refused
    });
    coordinator.played.hears("refused u2", 1).await;
    node.stop().await;
    coordinator.played.hears("disconnected n1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_apart_is_told_after_a_restart_of_either_side() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "n1").await;
    coordinator.played.assign(pod("u1", Digest::of(b"module")));
    let uid = PodUid::new("u1");
    node.holds("u1 assigned", |held| held.pods.contains_key(&uid)).await;
    let coordinator = coordinator.restart().await;
    coordinator.played.assign(pod("u2", Digest::of(b"module")));
    node.handle.report(report(&uid, 100));
    coordinator.played.hears("connected n1", 2).await;
    node.holds("u2 assigned", |held| held.pods.len() == 2).await;
    coordinator.played.hears_that("u1 again", |heard| heard.reports.iter().any(|r| r.sequence == 100)).await;
    let folder = node.stop().await;
    coordinator.played.hears("disconnected n1", 1).await;
    let identity = Identity::load(folder.path()).unwrap().unwrap();
    let node = Node::start(identity, folder);
    node.holds("a snapshot", |held| held.pods.len() == 2).await;
    coordinator.played.hears("connected n1", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_with_the_same_key_leaves_the_first_its_session() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "twin").await;
    // The agent connects once more with the keep-alive that it learns.
    coordinator.played.hears("connected twin", 2).await;
    let identity = Identity::load(node.folder.path()).unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("identity")).unwrap();
    let second = Node::start(identity, folder);
    logged(&["session ended", "another machine or agent with the identity of node `twin` is connected"])
        .await;
    coordinator.played.hears("Cloned twin", 1).await;
    let uid = PodUid::new("u1");
    coordinator.played.assign(pod("u1", Digest::of(b"module")));
    node.holds("u1 assigned", |held| held.pods.contains_key(&uid)).await;
    assert_eq!(coordinator.sessions.connected(), [NodeName::new("twin")]);
    // When the first is gone the second is the node.
    node.stop().await;
    second.holds("u1 assigned", |held| held.pods.contains_key(&uid)).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_flow_from_the_node_and_say_why_there_are_none() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "n1").await;
    // The first session makes way for one that is kept open as often as the coordinator wants.
    coordinator.played.hears("connected n1", 2).await;
    let name = NodeName::new("n1");
    let mut log = coordinator.sessions.open_log(&name, log_request("main"), LogStreams::All).await.unwrap();
    let mut text = Vec::new();
    log.read_to_end(&mut text).await.unwrap();
    assert_eq!(text.len(), 300_000);
    let refused =
        coordinator.sessions.open_log(&name, log_request("none"), LogStreams::All).await.unwrap_err();
    assert_eq!(refused.to_string(), "container \"none\" has no log");
    let absent = coordinator
        .sessions
        .open_log(&NodeName::new("n9"), log_request("main"), LogStreams::All)
        .await
        .unwrap_err();
    assert_eq!(absent.to_string(), "node `n9` is not connected");
    node.stop().await;
}

fn log_request(container: &str) -> LogRequest {
    LogRequest {
        uid: PodUid::new("u1"),
        container: container.into(),
        follow: false,
        previous: false,
        since: None,
        tail_lines: None,
        timestamps: false,
        limit_bytes: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_on_the_node_breaks_off_at_the_other_end_too() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "n1").await;
    coordinator.played.hears("connected n1", 2).await;
    let (name, uid, container) = (NodeName::new("n1"), PodUid::new("u1"), "torn".to_owned());
    let request = log_request(&container);
    let mut log = coordinator.sessions.open_log(&name, request, LogStreams::All).await.unwrap();
    let mut dump =
        coordinator.sessions.open_stream(&name, StreamOpen::CoreDump { uid, container }).await.unwrap();
    let mut text = vec![0; TORN_BYTES];
    log.read_exact(&mut text).await.unwrap();
    dump.read_exact(&mut text).await.unwrap();
    node.agent.tear.cancel();
    assert!(log.read(&mut text).await.is_err(), "it looks whole");
    assert!(dump.read(&mut text).await.is_err(), "it looks whole");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_tells_nothing_of_its_network_has_what_it_told_forgotten() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    try_join(coordinator.token().await, "n1", folder.path().into()).await.unwrap();
    let runs =
        ContainerSupport::Runs { runtime: "crun".into(), version: "1".into(), recursive_read_only: true };
    let greet = async |counter, highest, support: &[&ContainerSupport]| {
        let client =
            Client::connect_to(coordinator.address, folder.path(), SESSION_ALPN, TransportConfig::default())
                .await;
        let hello = Hello {
            node: NodeName::new("n1"),
            boot_id: BootId([1; 16]),
            attempt: Attempt { agent: 1, counter },
            protocol: (PROTOCOL_VERSIONS.0, highest),
            restore_generation: 0,
            last_applied_revision: Revision(0),
            state_digest: Digest::from_bytes([0; 32]),
            sent_at: UnixMillis(0),
            facts: facts(),
            extensions: support.iter().map(|support| support.to_extension()).collect(),
        };
        let (mut send, mut control) = client.connection().open_bi().await.unwrap();
        send.write_all(&frame::encode(&hello)).await.unwrap();
        let _: Welcome = read_head(&mut control).await.unwrap();
        let times = usize::try_from(counter).unwrap();
        coordinator.played.hears("connected n1", times).await;
        client
    };
    let forgotten = "no network of n1";
    // It will tell, so what it told counts until then.
    let telling = greet(1, PROTOCOL_VERSIONS.1, &[&runs]).await;
    let earlier_release = greet(2, 6, &[&runs]).await;
    coordinator.played.hears(forgotten, 1).await;
    let without_containers = greet(3, PROTOCOL_VERSIONS.1, &[]).await;
    coordinator.played.hears(forgotten, 2).await;
    let heard = coordinator.played.heard.borrow().log.clone();
    assert_eq!(heard.iter().filter(|line| *line == forgotten).count(), 2, "{heard:?}");
    drop((telling, earlier_release, without_containers));
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_are_fetched_resumed_and_only_for_pods_of_the_node() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "n1").await;
    // A module whose one section, named x, holds nothing that runs, but two million bytes.
    let mut content = b"\0asm\x01\0\0\0\0\x82\x89\x7a\x01x".to_vec();
    content.extend((0..500_000_u32).flat_map(u32::to_le_bytes));
    let Module { digest, .. } = coordinator.artifacts.upload(content.as_slice(), None).await.unwrap();
    let file = node.folder.path().join("module");
    coordinator.played.hears("connected n1", 1).await;
    let refused = node.handle.fetch_module(digest, &file).await.unwrap_err();
    assert_eq!(refused, format!("no pod of this node runs {digest}"));
    coordinator.played.assign(pod("u1", digest));
    node.holds("u1 assigned", |held| !held.pods.is_empty()).await;
    std::fs::write(node.folder.path().join("module.part"), &content[..300_000]).unwrap();
    node.handle.fetch_module(digest, &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == content);
    assert!(!node.folder.path().join("module.part").exists());
    std::fs::remove_file(&file).unwrap();
    std::fs::write(node.folder.path().join("module.part"), [7; 300_000]).unwrap();
    let damaged = node.handle.fetch_module(digest, &file).await.unwrap_err();
    assert_eq!(damaged, format!("what the coordinator sent is not {digest}"));
    node.handle.fetch_module(digest, &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == content);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_and_its_report_take_no_timer() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "n1").await;
    coordinator.played.hears("connected n1", 1).await;
    let mut times = Vec::new();
    for number in 0..100 {
        let uid = PodUid::new(format!("u{number}"));
        let started = Instant::now();
        coordinator.played.assign(pod(uid.as_str(), Digest::of(b"module")));
        coordinator.played.hears_that("the report", |heard| heard.reports.iter().any(|r| r.uid == uid)).await;
        times.push(started.elapsed());
    }
    times.sort();
    // It takes well under a millisecond when nothing else runs; any delay that waits for a timer takes far more than this.
    println!("assignment to report: median {:?}, slowest {:?}", times[50], times[99]);
    assert!(times[50] < Duration::from_millis(20), "{times:?}");
    node.stop().await;
}

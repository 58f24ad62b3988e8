//! The same link where UDP is blocked: over TCP, by choice or because nothing else answers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use dunlin_edge_node::session::Transport;
use dunlin_link::{
    Digest, NodeName, PodUid,
    logs::{LogRequest, LogStreams},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

use super::{
    cluster::{Coordinator, logged},
    node::{Node, pod, try_join_by},
};
use crate::{cluster::run, site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lives_over_tcp() {
    let mut coordinator = Coordinator::start().await;
    let node = Node::join_by(coordinator.token().await, "t1", Transport::Tcp).await;
    // The first session makes way for one that is kept open as often as the coordinator wants.
    coordinator.played.hears("connected t1", 2).await;
    logged(&["session opened", "carrier=TCP"]).await;
    let content =
        b"\0asm\x01\0\0\0\0\x82\x89\x7a\x01x".to_vec().into_iter().chain(std::iter::repeat_n(5, 2_000_000));
    let content: Vec<u8> = content.collect();
    let digest = coordinator.artifacts.upload(content.as_slice(), None).await.unwrap().digest;
    coordinator.played.assign(pod("u1", digest));
    let uid = PodUid::new("u1");
    coordinator.played.hears_that("u1 reported", |heard| heard.reports.iter().any(|r| r.uid == uid)).await;
    let file = node.folder.path().join("module");
    node.handle.fetch_module(digest, &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == content);
    let request = LogRequest {
        uid: uid.clone(),
        container: "main".into(),
        follow: false,
        previous: false,
        since: None,
        tail_lines: None,
        timestamps: false,
        limit_bytes: None,
    };
    let mut log =
        coordinator.sessions.open_log(&NodeName::new("t1"), request, LogStreams::All).await.unwrap();
    let mut text = Vec::new();
    log.read_to_end(&mut text).await.unwrap();
    assert_eq!(text.len(), 300_000);
    // The end of the coordinator is told through the stream, and the node comes back to the next one.
    coordinator = coordinator.restart().await;
    coordinator.played.hears("connected t1", 3).await;
    coordinator.played.bury(&uid);
    coordinator.played.hears("buried u1", 1).await;
    node.stop().await;
    coordinator.played.hears("disconnected t1", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_tcp_passes_a_node_joins_and_lives_by_it() {
    let coordinator = Coordinator::start().await;
    let forward = Forward::to(coordinator.address).await;
    let mut token = coordinator.token().await;
    token.addresses = vec![forward.address.to_string()];
    let node = Node::join_by(token, "t2", Transport::Auto).await;
    coordinator.played.hears("connected t2", 1).await;
    coordinator.played.assign(pod("u1", Digest::of(b"module")));
    let uid = PodUid::new("u1");
    coordinator.played.hears_that("u1 reported", |heard| heard.reports.iter().any(|r| r.uid == uid)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_tcp_passes_a_command_waits_for_udp_a_moment_only() {
    let site = tokio::task::spawn_blocking(Site::start).await.unwrap();
    let forward = Forward::to(site.address().parse().unwrap()).await;
    // Something that takes datagrams and says nothing.
    let silent = UdpSocket::bind(forward.address).await.unwrap();
    let config = std::fs::read_to_string(site.config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, config.replace(&site.address(), &forward.address.to_string())).unwrap();
    let took = tokio::task::spawn_blocking(move || {
        let took = || {
            let start = Instant::now();
            let answer = run(&["get", "nodes"], "", folder.path(), &file);
            assert_eq!(answer.code, 0, "{answer:?}");
            start.elapsed()
        };
        // A machine that is busy with other tests takes its time for any command.
        (0..5).map(|_| took()).min().unwrap()
    });
    let took = took.await.unwrap();
    assert!(took < Duration::from_millis(1400), "{took:?}");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_no_coordinator_is_told_apart() {
    let strangers = Coordinator::start().await;
    let coordinator = Coordinator::start().await;
    let mut token = coordinator.token().await;
    token.addresses = vec![strangers.address.to_string()];
    let folder = tempfile::tempdir().unwrap();
    let refused = try_join_by(token, "t3", folder.path().into(), Transport::Tcp).await;
    let error = format!("{:#}", anyhow::Error::from(refused.unwrap_err()));
    assert!(
        error.contains("by TCP") && error.contains("not of the cluster that the token is for"),
        "{error}"
    );
    assert!(!error.contains("unexpected error"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_and_silence_on_tcp_harm_nobody() {
    let coordinator = Coordinator::start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(coordinator.address).await.unwrap());
    }
    let mut rubbish = TcpStream::connect(coordinator.address).await.unwrap();
    // Refused by its first bytes, or at once because so many are silent.
    let _ = rubbish.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), rubbish.read_to_end(&mut answer)).await.unwrap();
    // UDP is served meanwhile, and TCP again once they are gone.
    let node = Node::join(coordinator.token().await, "t4").await;
    coordinator.played.hears("connected t4", 1).await;
    node.stop().await;
    drop(silent);
    let token = coordinator.token().await;
    // Their places are free when the coordinator has read that they are gone.
    let join = async {
        loop {
            let folder = tempfile::tempdir().unwrap();
            match try_join_by(token.clone(), "t5", folder.path().into(), Transport::Tcp).await {
                Ok(identity) => return Node::start_by(identity, folder, Transport::Tcp),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let node = tokio::time::timeout(Duration::from_secs(30), join).await.unwrap();
    coordinator.played.hears("connected t5", 1).await;
    node.stop().await;
}

/// A port that passes TCP on and knows no UDP.
struct Forward {
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Forward {
    async fn to(coordinator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(coordinator).await.unwrap();
                    // Either side may break it off.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, running }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.running.abort();
    }
}

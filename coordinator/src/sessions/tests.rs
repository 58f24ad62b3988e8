//! Who a node's session is, when connections come and go in any order.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use dunlin_link::{
    Digest, NodeName, PodUid, Revision,
    assignment::{Desired, Refusal},
    message::{Attempt, Tunables},
    session::coordinator::Recorded,
    status::{NodeEvent, NodeFacts, PodStatusReport},
};
use tokio::{
    fs::File,
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Cluster, Seat, SessionOptions, Sessions};
use crate::artifacts::OpenModule;

/// Counts how often a node left; takes its time to hear of it.
#[derive(Debug, Default)]
struct Door {
    left: watch::Sender<u32>,
}

#[async_trait]
impl Cluster for Door {
    fn subscribe(&self, _node: &NodeName) -> watch::Receiver<Revision> {
        watch::Sender::new(Revision(0)).subscribe()
    }

    fn desired(&self, _node: &NodeName) -> Desired {
        Desired::default()
    }

    async fn connected(&self, _node: &NodeName, _facts: NodeFacts) {}

    async fn disconnected(&self, _node: &NodeName) {
        tokio::task::yield_now().await;
        self.left.send_modify(|left| *left += 1);
    }

    async fn pod_statuses(
        &self,
        _node: &NodeName,
        _reports: Vec<PodStatusReport>,
        _clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)> {
        Vec::new()
    }

    async fn events(&self, _node: &NodeName, _events: Vec<NodeEvent>, _clock_offset_ms: i64) {}

    async fn refused(&self, _node: &NodeName, _refusals: Vec<Refusal>) {}

    async fn buried(&self, _node: &NodeName, _uids: Vec<PodUid>) {}

    async fn open_module(&self, _digest: Digest, _offset: u64) -> io::Result<Option<OpenModule<File>>> {
        Ok(None)
    }
}

struct Fixture {
    door: Arc<Door>,
    sessions: Sessions,
    attempts: u64,
}

impl Fixture {
    fn new() -> Self {
        let door = Arc::new(Door::default());
        let options = SessionOptions {
            cluster_id: "c".into(),
            restore: None,
            term: 1,
            sessions_max: 1,
            tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        };
        let cluster: Arc<dyn Cluster> = Arc::<Door>::clone(&door);
        Self { door, sessions: Sessions::new(cluster, options), attempts: 0 }
    }

    fn connect(&mut self) -> Seat {
        self.attempts += 1;
        let attempt = Attempt { agent: 1, counter: self.attempts };
        self.sessions.admit(&node(), attempt, mpsc::channel(1).0).unwrap()
    }

    async fn left(&self, times: u32) {
        let mut left = self.door.left.subscribe();
        within(async { left.wait_for(|left| *left == times).await.map(drop) }).await.unwrap();
    }

    async fn is_empty(&self) {
        within(async {
            while !self.sessions.connected().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_dies_while_it_waits_leaves_no_live_node_behind() {
    let mut fixture = Fixture::new();
    let mut first = fixture.connect();
    within(first.wait()).await;
    let mut second = fixture.connect();
    assert!(first.superseded.is_cancelled());
    assert!(timeout(Duration::from_millis(5), second.wait()).await.is_err());
    drop(second);
    drop(first);
    fixture.left(1).await;
    fixture.is_empty().await;
}

#[tokio::test]
async fn a_session_that_panics_is_over() {
    let mut fixture = Fixture::new();
    let mut seat = fixture.connect();
    within(seat.wait()).await;
    let task = tokio::spawn(async move {
        let _seat = seat;
        panic!("a defect");
    });
    assert!(task.await.is_err());
    fixture.left(1).await;
    fixture.is_empty().await;
}

#[tokio::test]
async fn the_end_of_a_session_is_told_before_the_next_one_begins() {
    let mut fixture = Fixture::new();
    let mut first = fixture.connect();
    within(first.wait()).await;
    drop(first);
    // The first is closing; whether the second replaces it or comes after, the node is not told gone once that has its turn.
    tokio::task::yield_now().await;
    let mut second = fixture.connect();
    within(second.wait()).await;
    let told = *fixture.door.left.borrow();
    tokio::task::yield_now().await;
    assert_eq!(*fixture.door.left.borrow(), told);
    assert!(fixture.sessions.is_current(&node(), second.epoch));
    drop(second);
    fixture.left(told + 1).await;
}

fn node() -> NodeName {
    NodeName::new("n1")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("it takes too long")
}

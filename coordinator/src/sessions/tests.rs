//! Who a node's session is, when connections come and go in any order.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use dunlin_link::{
    BootId, Digest, NodeName, PodUid, Revision,
    assignment::{Desired, Refusal},
    message::{Attempt, Tunables},
    node_network::NodeNetwork,
    node_state::NodeState,
    session::{
        coordinator::Recorded,
        registry::{Caller, CloneNews},
    },
    statics::{StaticPod, StaticPodName},
    status::{NodeEvent, NodeFacts, PodStatusReport},
};
use tokio::{
    fs::File,
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Cluster, SessionOptions, Sessions, links::tests::wire, seat::Seat};
use crate::{artifacts::OpenModule, mirrors::Tended, service::Clock};

/// Counts how often a node left, taking its time to hear of it, and notes what is told of clones.
#[derive(Debug, Default)]
struct Door {
    left: watch::Sender<u32>,
    news: watch::Sender<Vec<CloneNews>>,
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

    async fn state(&self, _node: &NodeName, _state: NodeState) {}

    async fn network(&self, _node: &NodeName, _network: NodeNetwork) {}

    async fn no_network(&self, _node: &NodeName) {}

    async fn disconnected(&self, _node: &NodeName) {
        tokio::task::yield_now().await;
        self.left.send_modify(|left| *left += 1);
    }

    async fn cloned(&self, _node: &NodeName, news: CloneNews) {
        self.news.send_modify(|known| known.push(news));
    }

    async fn is_cloned(&self, _node: &NodeName) -> bool {
        false
    }

    async fn pod_statuses(
        &self,
        _node: &NodeName,
        _reports: Vec<PodStatusReport>,
        _clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)> {
        Vec::new()
    }

    fn subscribe_mirrors(&self, _node: &NodeName) -> watch::Receiver<()> {
        watch::Sender::new(()).subscribe()
    }

    async fn static_pods(&self, _node: &NodeName, _pods: Vec<StaticPodName>) {}

    async fn static_pod(&self, _node: &NodeName, _pod: StaticPod) {}

    async fn tend_mirrors(&self, _node: &NodeName) -> Tended {
        Tended::default()
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
            node_bandwidth: None,
            sessions_max: 1,
            clock: Clock::system(),
            tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        };
        let cluster: Arc<dyn Cluster> = Arc::<Door>::clone(&door);
        Self { door, sessions: Sessions::new(cluster, options), attempts: 0 }
    }

    async fn connect(&mut self) -> Seat {
        self.attempts += 1;
        self.admit(1, self.attempts).await.unwrap()
    }

    async fn admit(&self, agent: u64, counter: u64) -> Result<Seat, String> {
        let caller = Caller { boot_id: BootId([1; 16]), attempt: Attempt { agent, counter } };
        let pulse = Arc::default();
        let admitted = self.sessions.admit(&node(), caller, mpsc::channel(1).0, pulse).await;
        admitted.map_err(|turned| turned.to_string())
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
    let mut first = fixture.connect().await;
    within(first.wait()).await;
    let mut second = fixture.connect().await;
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
    let mut seat = fixture.connect().await;
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
    let mut first = fixture.connect().await;
    within(first.wait()).await;
    drop(first);
    // The first is closing; whether the second replaces it or comes after, the node is not told gone once that has its turn.
    tokio::task::yield_now().await;
    let mut second = fixture.connect().await;
    within(second.wait()).await;
    let told = *fixture.door.left.borrow();
    tokio::task::yield_now().await;
    assert_eq!(*fixture.door.left.borrow(), told);
    assert!(fixture.sessions.is_current(&node(), second.epoch));
    drop(second);
    fixture.left(told + 1).await;
}

#[tokio::test]
async fn a_copy_is_turned_away_while_the_session_is_alive_and_let_in_when_it_is_not() {
    let mut fixture = Fixture::new();
    let seat = fixture.connect().await;
    let pulse = Arc::clone(&seat.pulse);
    // The node of the seat answers whenever it is asked.
    let node_of_seat = tokio::spawn(async move {
        loop {
            pulse.asked().await;
            pulse.heard();
        }
    });
    for counter in 1..3 {
        let refused = within(fixture.admit(2, counter)).await.unwrap_err();
        assert!(refused.contains("another machine or agent with the identity of node `n1`"), "{refused}");
    }
    let mut news = fixture.door.news.subscribe();
    within(async { news.wait_for(|news| *news == [CloneNews::Cloned]).await.map(drop) }).await.unwrap();
    assert!(!seat.superseded.is_cancelled());
    node_of_seat.abort();
    let next = within(fixture.admit(2, 3)).await.unwrap();
    assert!(seat.superseded.is_cancelled() && next.epoch > seat.epoch);
}

#[tokio::test]
async fn nobody_waits_for_a_session_that_has_ended() {
    let mut fixture = Fixture::new();
    let seat = fixture.connect().await;
    let (next, ()) = tokio::join!(within(fixture.admit(2, 1)), async {
        tokio::task::yield_now().await;
        drop(seat);
    });
    assert!(next.is_ok(), "{next:?}");
}

fn node() -> NodeName {
    NodeName::new("n1")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.expect("it takes too long")
}

/// What is known of links: whose they are, and whether they are open.
fn links(sessions: &Sessions) -> Vec<(String, bool)> {
    let facts = sessions.links().into_iter();
    facts.map(|link| (link.node.to_string(), link.connected_since.is_some())).collect()
}

#[tokio::test]
async fn the_link_of_a_node_that_was_revoked_is_known_until_it_is_expelled() {
    let mut fixture = Fixture::new();
    let seat = fixture.connect().await;
    let open = fixture.sessions.inner.links.open(&node(), seat.epoch, 2, wire(Duration::ZERO));
    assert_eq!(links(&fixture.sessions), [(node().to_string(), true)]);
    fixture.sessions.disconnect(&node());
    assert!(seat.superseded.is_cancelled());
    drop(open);
    assert_eq!(links(&fixture.sessions), [(node().to_string(), false)]);
    fixture.sessions.expel(&node());
    assert!(links(&fixture.sessions).is_empty());
}

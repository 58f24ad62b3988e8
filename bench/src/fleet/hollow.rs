//! Hollow nodes: the edge node's own join and session code over real QUIC, thousands in this process.
//!
//! Each node makes its keys and joins with the cluster's token as a machine would, and then keeps one session of its own. What
//! differs from machines is that many sessions leave from one socket, and that [`HollowHost`] stands where the agent's shell is.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dunlin_edge_node::session::{
    Identity, JoinOptions, Session, SessionHandle, SessionOptions, SharedSocket, Traffic, Transport, join,
    sealing_key,
};
use dunlin_edge_node_core::{
    address::{BlockRange, Loopback},
    content::Seal,
    node::NodeOptions,
    pressure::Thresholds,
};
use dunlin_link::{
    BootId, Bytes, MilliCpu, NodeName,
    join::JoinToken,
    sealed::SealingPlace,
    status::{NodeFacts, NodeResources},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::host::{HollowHost, Told};
use crate::figures::Times;

/// All hollow nodes of a run.
#[derive(Debug)]
pub(super) struct Fleet {
    coordinator: SocketAddr,
    token: JoinToken,
    state_dir: PathBuf,
    nodes: Vec<Hollow>,
    sockets: Vec<SharedSocket>,
    stop: CancellationToken,
}

/// One of them.
#[derive(Debug)]
struct Hollow {
    machine: Machine,
    host: Arc<HollowHost>,
    session: SessionHandle,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What a node's agent starts on.
#[derive(Clone, Debug)]
struct Machine {
    number: usize,
    state_dir: PathBuf,
    coordinator: SocketAddr,
    socket: SharedSocket,
}

impl Fleet {
    /// No node yet; identities will be kept under `state_dir`.
    pub(super) fn new(coordinator: SocketAddr, token: JoinToken, state_dir: PathBuf) -> Self {
        let stop = CancellationToken::new();
        Self { coordinator, token, state_dir, nodes: Vec::new(), sockets: Vec::new(), stop }
    }

    /// Joins nodes until there are `count`, and waits until all have a session.
    pub(super) async fn grow(&mut self, count: usize) -> Result<()> {
        let mut joining = JoinSet::new();
        let mut next = self.nodes.len();
        while self.nodes.len() < count {
            while next < count && joining.len() < JOINS_AT_ONCE {
                joining.spawn(join_one(next, self.coordinator, self.token.clone(), self.state_dir(next)));
                next += 1;
            }
            let number = joining.join_next().await.context("no join is under way")???;
            let (state_dir, coordinator) = (self.state_dir(number), self.coordinator);
            let machine = Machine { number, state_dir, coordinator, socket: self.socket()? };
            self.nodes.push(Hollow::start(machine, HollowHost::new, &self.stop)?);
        }
        self.wait_open(0).await.map(drop)
    }

    /// Waits until every node has a session of a later term than `term`; answers when each was seen to, from now.
    pub(super) async fn wait_open(&self, term: u64) -> Result<Times> {
        let start = Instant::now();
        let mut times = Times::default();
        let mut waiting: Vec<&Hollow> = self.nodes.iter().collect();
        while !waiting.is_empty() {
            waiting.retain(|node| {
                let is_open = node.session.epoch().is_some_and(|epoch| epoch.term > term);
                if is_open {
                    times.push(start.elapsed());
                }
                !is_open
            });
            if start.elapsed() > OPEN_MAX {
                bail!("{} of {} nodes have no session after {OPEN_MAX:?}", waiting.len(), self.nodes.len());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(times)
    }

    /// Waits until `is_so` holds of what all nodes together were told.
    pub(super) async fn wait_told(&self, what: &str, is_so: impl Fn(Told) -> bool) -> Result<Duration> {
        let start = Instant::now();
        while !is_so(self.told()) {
            if start.elapsed() > OPEN_MAX {
                bail!("never so: {what}; the nodes were told {:?}", self.told());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(start.elapsed())
    }

    /// The newest term of any session.
    pub(super) fn term(&self) -> u64 {
        let terms = self.nodes.iter().filter_map(|node| node.session.epoch());
        terms.map(|epoch| epoch.term).max().unwrap_or(0)
    }

    /// What the open connections of all nodes have carried since they were opened.
    pub(super) fn traffic(&self) -> Traffic {
        let each = self.nodes.iter().filter_map(|node| node.session.traffic());
        each.fold(Traffic::default(), |sum, one| Traffic {
            datagrams_out: sum.datagrams_out + one.datagrams_out,
            bytes_out: sum.bytes_out + one.bytes_out,
            datagrams_in: sum.datagrams_in + one.datagrams_in,
            bytes_in: sum.bytes_in + one.bytes_in,
            pings_out: sum.pings_out + one.pings_out,
        })
    }

    /// Ends the agents of all nodes in order and starts them again at once; containers go on. Does not wait for sessions.
    pub(super) async fn restart_agents(&mut self) -> Result<()> {
        for node in &self.nodes {
            node.stop.cancel();
        }
        for node in &mut self.nodes {
            node.ended().await;
            let started =
                Hollow::start(node.machine.clone(), |options| node.host.restarted(options), &self.stop)?;
            *node = started;
        }
        Ok(())
    }

    /// Every container of every node ends by itself; the nodes will start them again.
    pub(super) fn end_containers(&self) {
        self.nodes.iter().for_each(|node| node.host.end_containers());
    }

    /// What all nodes together were told.
    pub(super) fn told(&self) -> Told {
        self.nodes.iter().map(|node| node.host.told()).fold(Told::default(), |sum, one| Told {
            changes: sum.changes + one.changes,
            snapshots: sum.snapshots + one.snapshots,
            pods: sum.pods + one.pods,
            running: sum.running + one.running,
            unacked: sum.unacked + one.unacked,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Says goodbye for all.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        for node in &mut self.nodes {
            node.ended().await;
        }
    }

    fn state_dir(&self, number: usize) -> PathBuf {
        self.state_dir.join(name(number))
    }

    /// The socket for the next node.
    fn socket(&mut self) -> Result<SharedSocket> {
        if self.nodes.len().is_multiple_of(NODES_PER_SOCKET) {
            self.sockets.push(SharedSocket::open(self.coordinator).context("no UDP socket")?);
        }
        self.sockets.last().cloned().context("the first node opens a socket")
    }
}

impl Hollow {
    /// Starts the agent of a node that has joined.
    fn start(
        machine: Machine,
        boot: impl FnOnce(NodeOptions) -> HollowHost,
        parent: &CancellationToken,
    ) -> Result<Self> {
        let identity = Identity::load(&machine.state_dir)?.context("the node has not joined")?;
        let key = sealing_key(&machine.state_dir)?;
        let place =
            SealingPlace { cluster_id: identity.cluster_id().to_owned(), node: identity.node().clone() };
        let options = SessionOptions {
            addresses: vec![machine.coordinator.to_string()],
            facts: facts(machine.number),
            boot_id: BootId(boot_id(machine.number).into_bytes()),
            transport: Transport::Quic,
            sealing_key: key.public(),
            server_time: Arc::default(),
        };
        let host = Arc::new(boot(NodeOptions {
            name: name(machine.number),
            facts: facts(machine.number),
            blocks: BlockRange::new(0, BLOCKS).context("the range has a first block")?,
            loopback: Loopback { octet: 42, first_port: 1024 },
            seal: Arc::new(Seal { key, place }),
            thresholds: Thresholds::none(),
            own_sandboxes: BTreeSet::new(),
            api: None,
            sysctls: Default::default(),
            se_linux: false,
            app_armor: Default::default(),
        }));
        let session = Session::new(identity, options).over(machine.socket.clone());
        let handle = session.handle();
        host.attach(handle.clone());
        let stop = parent.child_token();
        let mut tasks = JoinSet::new();
        tasks.spawn(session.run(Arc::clone(&host), stop.clone()));
        let (clocked, stopped) = (Arc::clone(&host), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = clocked.keep_time() => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(Self { machine, host, session: handle, stop, tasks })
    }

    /// Waits for the end of an agent that was told to stop.
    async fn ended(&mut self) {
        // A task that failed by a defect has told so, and there is nothing to wait for.
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The name of a node, by its number.
pub(super) fn name(number: usize) -> String {
    format!("hollow-{number:05}")
}

/// Answers the number of the node, which has its identity then.
async fn join_one(
    number: usize,
    coordinator: SocketAddr,
    token: JoinToken,
    state_dir: PathBuf,
) -> Result<usize> {
    let node = NodeName::new(name(number));
    let (addresses, transport) = (vec![coordinator.to_string()], Transport::Quic);
    join(JoinOptions { token, addresses, node, state_dir, transport }).await?;
    Ok(number)
}

/// An agent that starts again finds the same boot of its machine.
fn boot_id(number: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128(number as u128)
}

/// A small board, as its agent would describe it.
fn facts(number: usize) -> NodeFacts {
    let capacity = NodeResources {
        cpu: MilliCpu(4000),
        memory: Bytes(1 << 30),
        ephemeral_storage: Bytes(16 << 30),
        pods: 110,
    };
    NodeFacts {
        architecture: "arm64".into(),
        operating_system: "linux".into(),
        kernel_version: "6.12.25+rpt-rpi-v8".into(),
        os_image: "Debian GNU/Linux 12 (bookworm)".into(),
        machine_id: format!("{number:032x}"),
        boot_id: boot_id(number).to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        runtime_version: "hollow://0".into(),
        hostname: name(number),
        addresses: vec!["127.0.0.1".into()],
        capacity,
        allocatable: capacity,
        labels: Vec::new(),
        taints: Vec::new(),
        containers: None,
        huge_pages: Vec::new(),
    }
}

/// Blocks of addresses of a node: enough for as many pods as it takes.
const BLOCKS: u16 = 2;

/// Below the coordinator's bound on peers without a certificate, and enough to keep it busy.
const JOINS_AT_ONCE: usize = 64;

/// A socket's receive buffer holds a burst of so many nodes.
const NODES_PER_SOCKET: usize = 100;

/// The longest that a node waits between two attempts is a minute, and it may need a few.
const OPEN_MAX: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

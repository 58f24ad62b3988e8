//! How the agent comes up: from its disk, with nobody's help.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
    sync::Arc,
};

use dunlin_edge_node_core::{
    address::{AddressPool, BlockRange, Loopback, PodSlot},
    pod::Pod,
};
use dunlin_link::{held::HeldSet, status::NodeFacts};
use futures_util::stream::FuturesUnordered;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentHost, Committing, Ears, Knowledge, NodeSelf, SandboxView, Shared,
    commit::stopped_report,
    timers::{Clock, Timers},
};
use crate::{
    local::{Loaded, Local},
    logs::Logs,
    modules::Modules,
    sandbox::{self, Sandbox},
    session::{Applied, SessionHandle},
};

/// An agent that has read its disk and waits for its session and its sandbox.
#[derive(Debug)]
pub(crate) struct AgentParts {
    node: NodeSelf,
    local: Local,
    loaded: Loaded,
    modules: Modules,
    logs: Logs,
    blocks: BlockRange,
    shared: Arc<Shared>,
    inputs: mpsc::Receiver<super::Input>,
}

/// What an agent must be told of its node.
#[derive(Debug)]
pub(crate) struct AgentOptions<'a> {
    pub(crate) node_name: &'a str,
    pub(crate) state_dir: &'a Path,
    pub(crate) facts: NodeFacts,
    pub(crate) blocks: BlockRange,
    pub(crate) loopback: Loopback,
}

impl AgentParts {
    /// Takes over what is on disk; also the handle that the session needs.
    pub(crate) fn new(
        options: AgentOptions<'_>,
        (local, loaded): (Local, Loaded),
        modules: Modules,
    ) -> (Self, AgentHost) {
        let held = held_set(&loaded);
        let shared = Arc::new(Shared::new(Applied {
            revision: loaded.applied.revision,
            restore_generation: loaded.applied.restore_generation,
            state_digest: held.digest(),
        }));
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let host = AgentHost::new(sender, Arc::clone(&shared));
        let host_ip = options.facts.addresses.first().map_or("127.0.0.1", String::as_str).into();
        let node = NodeSelf {
            name: options.node_name.to_owned(),
            host_ip,
            facts: options.facts,
            loopback: options.loopback,
            starts: loaded.starts,
        };
        let logs = Logs::new(options.state_dir.join("logs"));
        (Self { node, local, loaded, modules, logs, blocks: options.blocks, shared, inputs }, host)
    }

    /// Starts all pods that the disk knows, and keeps them until `shutdown`.
    pub(crate) async fn run(self, session: SessionHandle, sandbox: Sandbox, shutdown: CancellationToken) {
        let (requests, asked) = mpsc::channel(SANDBOX_QUEUE_MAX);
        let (tell, told) = mpsc::channel(SANDBOX_QUEUE_MAX);
        let driver = tokio::spawn(sandbox::run(sandbox, asked, tell, shutdown.clone()));
        let (agent, ears) = self.boot(session, requests, told);
        agent.run(ears, shutdown).await;
        if driver.await.is_err() {
            tracing::error!("the sandbox's driver panicked");
        }
    }

    fn boot(
        self,
        session: SessionHandle,
        requests: mpsc::Sender<sandbox::Addressed>,
        told: mpsc::Receiver<sandbox::Told>,
    ) -> (Agent, Ears) {
        let Self { node, local, mut loaded, modules, logs, blocks, shared, inputs } = self;
        let held = held_set(&loaded);
        let taken = loaded.pods.values().filter_map(|record| record.slot).map(PodSlot);
        let addresses = AddressPool::new(blocks, taken);
        let pods = std::mem::take(&mut loaded.pods);
        let mut agent = Agent {
            node,
            clock: Clock::start(),
            local,
            modules,
            logs,
            session,
            shared,
            pods: HashMap::with_capacity(pods.len()),
            tombstones: loaded.tombstones,
            held,
            objects: loaded.objects.into_iter().collect(),
            addresses,
            sandbox: SandboxView {
                requests,
                outbox: VecDeque::new(),
                incarnation: 0,
                knowledge: Knowledge::Unsure,
                orphans: HashMap::new(),
                dying: HashSet::new(),
            },
            pulls: HashMap::new(),
            fetches: JoinSet::new(),
            timers: Timers::default(),
            to_remember: super::remember::ToRemember::default(),
            writes: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            committing: Committing::Idle,
            followers: HashMap::new(),
        };
        let now = agent.clock.now();
        for (uid, record) in pods {
            let memory = loaded.memories.remove(&uid).unwrap_or_default();
            let entry = agent.entry(record, memory, now);
            agent.pods.insert(uid, entry);
        }
        agent.stop_buried();
        agent.count_pods();
        (agent, Ears { inputs, told })
    }
}

impl Agent {
    /// Tombstones outlive the agent: what they name goes on stopping, or is reported as stopped again.
    fn stop_buried(&mut self) {
        let now = self.clock.now();
        for tombstone in self.tombstones.values() {
            match self.pods.get_mut(&tombstone.uid) {
                Some(entry) => Pod::handle_tombstone(&mut entry.pod, tombstone, now),
                None => self.shared.reported(stopped_report(tombstone, self.node.starts << 32)),
            }
        }
    }
}

/// The set that the coordinator knows of: pods with a revision and without a tombstone, and the tombstones.
fn held_set(loaded: &Loaded) -> HeldSet {
    let pods = loaded.pods.iter().filter(|(uid, _)| !loaded.tombstones.contains_key(*uid));
    HeldSet {
        revision: loaded.applied.revision,
        pods: pods.filter_map(|(uid, record)| Some((uid.clone(), record.revision?))).collect(),
        tombstones: loaded
            .tombstones
            .iter()
            .map(|(uid, buried)| (uid.clone(), buried.grace_seconds))
            .collect(),
    }
}

/// Orders of the session that may wait: it sends one change at a time, and questions about logs.
const INPUTS_MAX: usize = 64;

/// Messages to and from the sandbox that may wait.
const SANDBOX_QUEUE_MAX: usize = 1024;

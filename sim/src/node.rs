//! A node's machine: its disk, its agent (the real session over a core of decisions), and its runner.

mod agent;
mod runner;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use dunlin_edge_node_core::{
    address::{BLOCKS, BlockRange, Loopback},
    clock::{Mono, Now},
    content::Seal,
    node::{Batch, Loaded, NodeCore, NodeOptions, WriteTicket},
    pressure::Thresholds,
};
use dunlin_link::{
    BootId, Bytes, Digest, MilliCpu, NodeName, PodUid, UnixMillis,
    moment::Moment,
    pod::PodAssignment,
    sealed::{SealingKey, SealingPlace},
    session::node::{NodeConfig, NodeSession},
    status::{NodeFacts, NodeResources, PodStatusReport},
};
use rand::{Rng, RngCore};

pub(crate) use self::runner::{BROKEN, LIVENESS_FAILURES, LIVENESS_PORT, READINESS_PORT, TASK};
use self::{agent::Agent, runner::Runner};
use crate::{
    context::{Authority, CLUSTER, Context, Event, unix_millis},
    coordinator::timestamp,
    network::ConnId,
    trace::Note,
};

/// One physical machine. A copy of a node is another machine of the same name.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) name: NodeName,
    /// Where its pods have their addresses.
    blocks: BlockRange,
    power: Power,
    boot: u32,
    life: u32,
    disk: Loaded,
    /// Batches that are not durable yet, the oldest first.
    writing: VecDeque<(WriteTicket, Batch)>,
    /// Modules that were fetched.
    modules: BTreeSet<Digest>,
    /// The latest run of each container that has a log.
    logs: BTreeMap<(PodUid, String), u32>,
    last_write: Moment,
    pub(crate) slow_until: Moment,
    /// Batches that became durable.
    pub(crate) writes: u64,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) wall_offset_ms: i64,
    agent: Option<Agent>,
    runner: Runner,
    /// What was said before the last reboot, for a planted bug.
    spoken: BTreeMap<PodUid, PodStatusReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    Off,
}

impl Node {
    /// One of `nodes`, none of which gives out the addresses of another.
    pub(crate) fn new(index: usize, nodes: usize) -> Self {
        let share = BLOCKS / u16::try_from(nodes).expect("there are at most a thousand nodes");
        let first = share * u16::try_from(index).expect("an index is less than the number");
        let blocks = BlockRange::new(first, share).expect("the shares of all are the whole");
        Self::with_disk(index, NodeName::new(format!("n{index}")), blocks, Loaded::default())
    }

    /// Another machine with a copy of this one's disk.
    pub(crate) fn copy(&self, index: usize) -> Self {
        Self::with_disk(index, self.name.clone(), self.blocks, self.disk.clone())
    }

    fn with_disk(index: usize, name: NodeName, blocks: BlockRange, disk: Loaded) -> Self {
        Self {
            index,
            name,
            blocks,
            power: Power::Off,
            boot: 0,
            life: 0,
            disk,
            writing: VecDeque::new(),
            modules: BTreeSet::new(),
            logs: BTreeMap::new(),
            last_write: Moment::default(),
            slow_until: Moment::default(),
            writes: 0,
            wall_offset_ms: 0,
            agent: None,
            runner: Runner::default(),
            spoken: BTreeMap::new(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.power == Power::On
    }

    pub(crate) const fn has_agent(&self) -> bool {
        self.agent.is_some()
    }

    /// The node's connection, in whatever state.
    pub(crate) fn connection(&self) -> Option<ConnId> {
        self.agent.as_ref().and_then(Agent::connection)
    }

    /// Revision and generation that the disk holds.
    pub(crate) fn holds(&self) -> (u64, dunlin_link::Revision) {
        (self.disk.applied.restore_generation, self.disk.applied.revision)
    }

    /// Pods that no snapshot names.
    pub(crate) fn held(&self) -> impl Iterator<Item = &PodAssignment> {
        let pods = self.disk.pods.iter();
        let held =
            pods.filter(|(uid, pod)| pod.revision.is_none() && !self.disk.tombstones.contains_key(*uid));
        held.map(|(_, pod)| &pod.assignment)
    }

    /// Digest of what the agent holds.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.agent.as_ref().map(|agent| agent.core.applied().state_digest)
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_quiet(&self) -> bool {
        self.writing.is_empty()
    }

    /// Switches the machine on, which starts the agent.
    pub(crate) fn power_on(&mut self, context: &mut Context) {
        if self.is_on() {
            return;
        }
        self.power = Power::On;
        self.boot += 1;
        self.start_agent(context);
    }

    /// Cuts the power: processes end, and what was not durable is lost from some batch on.
    pub(crate) fn power_off(&mut self, context: &mut Context) {
        if !self.is_on() {
            return;
        }
        self.kill_agent(context);
        self.power = Power::Off;
        self.runner = Runner::default();
        context.oracle.all_ended(self.index);
    }

    pub(crate) fn start_agent(&mut self, context: &mut Context) {
        if !self.is_on() || self.agent.is_some() {
            return;
        }
        self.life += 1;
        self.disk.starts += 1;
        let (generation, revision) = self.holds();
        context.oracle.booted(self.index, (generation, revision));
        context.trace.note(context.now, Note::Booted { node: self.index, generation, revision });
        let mut boot_id = [0; 16];
        boot_id[..8].copy_from_slice(&(self.index as u64).to_le_bytes());
        boot_id[8..12].copy_from_slice(&self.boot.to_le_bytes());
        let place = SealingPlace { cluster_id: CLUSTER.to_owned(), node: self.name.clone() };
        let key = Digest::of(self.name.as_str().as_bytes());
        let key = SealingKey::from_bytes(key.as_bytes()).expect("a digest has the length of a key");
        let config = NodeConfig {
            node: self.name.clone(),
            boot_id: BootId(boot_id),
            agent: context.rng.next_u64(),
            cluster_id: CLUSTER.to_owned(),
            sealing_key: Some(key.public()),
        };
        let session = NodeSession::new(config, facts(&self.name), context.now).trusting(Arc::new(Authority));
        let options = NodeOptions {
            name: self.name.as_str().to_owned(),
            facts: facts(&self.name),
            blocks: self.blocks,
            loopback: Loopback { octet: 42, first_port: 1024 },
            seal: Arc::new(Seal { key, place }),
            thresholds: Thresholds::none(),
            own_sandboxes: BTreeSet::new(),
            api: None,
            sysctls: Default::default(),
            se_linux: false,
            app_armor: Default::default(),
        };
        let core = NodeCore::boot(options, self.disk.clone(), self.now(context.now));
        self.agent = Some(Agent::new(session, core));
        self.runner.attach();
        self.pump(context);
    }

    /// Ends the agent's process alone.
    pub(crate) fn kill_agent(&mut self, context: &mut Context) {
        let Some(agent) = self.agent.take() else { return };
        if let Some(conn) = agent.connection() {
            context.vanish(conn);
        }
        context.oracle.node_ended(self.index);
        let durable = context.rng.random_range(0..=self.writing.len());
        for (_, batch) in self.writing.drain(..).take(durable) {
            self.disk.apply(batch);
        }
        self.writing.clear();
    }

    /// Ends the runner's process, and with it every guest.
    pub(crate) fn kill_runner(&mut self, context: &mut Context) {
        if self.is_on() {
            self.runner.crash();
            if let Some(agent) = &mut self.agent {
                agent.drop_requests();
            }
            context.oracle.all_ended(self.index);
            self.deliver_sandbox(context);
        }
    }

    /// No guest ends by itself any more.
    pub(crate) fn calm_guests(&mut self) {
        self.runner.calm();
    }

    /// A write is durable.
    pub(crate) fn handle_written(&mut self, boot: u32, life: u32, context: &mut Context) {
        if (boot, life) != (self.boot, self.life) || self.agent.is_none() {
            return;
        }
        let Some((ticket, batch)) = self.writing.pop_front() else { return };
        self.disk.apply(batch);
        self.writes += 1;
        self.written(ticket, context);
    }

    fn write(&mut self, ticket: WriteTicket, batch: Batch, context: &mut Context) {
        let slowest = if context.now < self.slow_until { SLOW_WRITE } else { WRITE };
        let delay = context.rng.random_range(slowest / 20..slowest);
        self.last_write = self.last_write.max(context.now + delay);
        self.writing.push_back((ticket, batch));
        let event = Event::Written { node: self.index, boot: self.boot, life: self.life };
        context.agenda.at(self.last_write, event);
    }

    /// Both clocks of the machine.
    fn now(&self, now: Moment) -> Now {
        let mono = i64::try_from(now.0.as_millis()).unwrap_or(i64::MAX);
        Now { wall: self.wall(now), mono: Mono(mono) }
    }

    fn wall(&self, now: Moment) -> UnixMillis {
        UnixMillis(unix_millis(timestamp(now)).0.saturating_add(self.wall_offset_ms).max(0))
    }
}

fn facts(name: &NodeName) -> NodeFacts {
    let resources = NodeResources {
        cpu: MilliCpu(4_000),
        memory: Bytes(4 << 30),
        ephemeral_storage: Bytes(16 << 30),
        pods: 110,
    };
    let text = str::to_owned;
    NodeFacts {
        architecture: text("arm64"),
        operating_system: text("linux"),
        kernel_version: text("6.1"),
        os_image: text("sim"),
        machine_id: name.as_str().to_owned(),
        boot_id: String::new(),
        version: text("sim"),
        runtime_version: text("sim://1"),
        hostname: name.as_str().to_owned(),
        addresses: Vec::new(),
        capacity: resources,
        allocatable: resources,
        labels: Vec::new(),
        taints: Vec::new(),
        containers: None,
        huge_pages: Vec::new(),
    }
}

/// Longest write of a healthy card.
const WRITE: Duration = Duration::from_millis(80);

/// Longest write of one that is worn.
const SLOW_WRITE: Duration = Duration::from_secs(8);

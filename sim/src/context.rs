//! What every part of a world shares: the time, what is to come, the network, chance, and who watches.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use dunlin_edge_node_core::node::CheckOrder;
use dunlin_link::{
    Digest, UnixMillis,
    moment::Moment,
    restore::{RestoreAuthority, RestoreRecord, SignedRestore},
    session::CloseCode,
};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, rngs::SmallRng};

use crate::{
    agenda::Agenda,
    coordinator::timestamp,
    network::{ConnId, Network, Side},
    oracle::Oracle,
    plant::Plant,
    trace::{Note, Trace},
};

/// The shared part of a world.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) now: Moment,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) rng: SmallRng,
    pub(crate) plant: Option<Plant>,
    /// What the pods of each scaled workload have to do together, in thousandths of a processor.
    pub(crate) load_milli: i64,
    /// How far the coordinator's wall clock is off.
    pub(crate) clock_error: SignedDuration,
}

/// Something that happens at its time. `life` counts processes: what was meant for an earlier one finds nobody.
#[derive(Debug)]
pub(crate) enum Event {
    /// The coordinator has read its store.
    Read { life: u32 },
    /// A group of its writes is durable.
    Flushed { life: u32 },
    /// Its watch brings what was written.
    Folded { life: u32 },
    /// Its controllers may be due.
    Wake { life: u32 },
    /// A session of the coordinator wants to be told the time.
    SessionTime { conn: ConnId },
    /// A node's dial reaches the coordinator.
    Accepted { conn: ConnId },
    /// A node's dial has succeeded.
    Connected { conn: ConnId },
    /// A dial has failed, or a side knows that its connection is gone.
    Broken { conn: ConnId, side: Side },
    /// Bytes arrive.
    Arrived { conn: ConnId, to: Side, bytes: Vec<u8> },
    /// An agent wants to be told the time.
    AgentTime { node: usize, life: u32 },
    /// A node's oldest write is durable.
    Written { node: usize, boot: u32, life: u32 },
    /// The next message between agent and runner arrives.
    Sandbox { node: usize, life: u32 },
    /// A node's fetch of a module ends.
    Fetched { node: usize, life: u32, digest: Digest },
    /// A look at a guest ends.
    Checked { node: usize, life: u32, order: Box<CheckOrder> },
    /// A guest has something to do.
    Guest { node: usize, boot: u32 },
    /// A client wants something.
    Client,
    /// A fault strikes.
    Fault,
    /// A fault ends.
    Repair(Repair),
    /// Look whether all is as it should be.
    Look,
}

/// How a fault ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repair {
    /// The coordinator's process is started, from its backup if one is asked for.
    Coordinator,
    /// A node's machine is switched on.
    Machine(usize),
    /// A node's agent is started.
    Agent(usize),
    /// The way to a node is mended.
    Path(usize),
}

impl Context {
    /// The coordinator's wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        timestamp(self.now) + self.clock_error
    }

    /// Sends bytes, as one piece or two.
    pub(crate) fn send(&mut self, conn: ConnId, to: Side, mut bytes: Vec<u8>) {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let kind = bytes.get(4..6).map_or(0, |kind| u16::from_le_bytes([kind[0], kind[1]]));
        let note = Note::Frame { conn, to, kind, bytes: bytes.len(), digest: hasher.finish() };
        self.trace.note(self.now, note);
        let divide = self.network.divide(bytes.len());
        let rest = bytes.split_off(divide);
        for bytes in [bytes, rest] {
            if !bytes.is_empty()
                && let Some(at) = self.network.send(conn, to, self.now)
            {
                self.agenda.at(at, Event::Arrived { conn, to, bytes });
            }
        }
    }

    /// One side closes a connection: the other learns of it after what was sent before.
    pub(crate) fn close(&mut self, conn: ConnId, by: Side, code: CloseCode, reason: &str) {
        self.trace.note(self.now, Note::Closed(conn, by, format!("{code:?}: {reason}")));
        let side = match by {
            Side::Coordinator => Side::Node,
            Side::Node => Side::Coordinator,
        };
        if let Some(at) = self.network.send(conn, side, self.now) {
            self.agenda.at(at, Event::Broken { conn, side });
        }
    }

    /// A connection loses everything from now on; either side notices when it has heard nothing for long enough.
    pub(crate) fn lose(&mut self, conn: ConnId) {
        if self.network.is_lost(conn) {
            return;
        }
        self.network.lose(conn);
        for side in [Side::Coordinator, Side::Node] {
            let silence = self.rng.random_range(SILENCE_MIN..SILENCE_MAX);
            self.agenda.at(self.now + silence, Event::Broken { conn, side });
        }
    }

    /// One end of a connection is gone without a word: the other notices by a reset, or by silence.
    pub(crate) fn vanish(&mut self, conn: ConnId) {
        if self.rng.random_bool(0.5) {
            self.lose(conn);
            return;
        }
        for side in [Side::Coordinator, Side::Node] {
            if let Some(at) = self.network.send(conn, side, self.now) {
                self.agenda.at(at, Event::Broken { conn, side });
            }
        }
        self.network.lose(conn);
    }

    /// The way to a node is cut.
    pub(crate) fn cut(&mut self, node: usize, open: &[ConnId]) {
        for conn in open {
            self.lose(*conn);
        }
        self.network.cut(node);
    }
}

/// The cluster's authority; its signature is a digest, which is as good as one here, for nobody in a world forges.
#[derive(Debug)]
pub(crate) struct Authority;

impl Authority {
    pub(crate) fn sign(record: RestoreRecord) -> SignedRestore {
        let signature = Digest::of(&record.statement()).as_bytes().to_vec();
        SignedRestore { record, signature }
    }
}

impl RestoreAuthority for Authority {
    fn has_signed(&self, statement: &[u8], signature: &[u8]) -> bool {
        Digest::of(statement).as_bytes() == signature
    }
}

pub(crate) fn unix_millis(time: Timestamp) -> UnixMillis {
    UnixMillis(time.as_millisecond())
}

/// The one cluster of a world.
pub(crate) const CLUSTER: &str = "sim";

/// Silence after which a side may find its connection dead: idle timeouts differ, and so does luck.
const SILENCE_MIN: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(75);

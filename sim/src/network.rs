//! Connections that delay, break and fall silent. Within a connection bytes keep their order, as QUIC's streams do; between
//! connections nothing does.

use std::{collections::BTreeMap, fmt, time::Duration};

use dunlin_link::moment::Moment;
use rand::{Rng, rngs::SmallRng};

/// One connection, unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnId(pub(crate) u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Coordinator,
    Node,
}

/// The connections and the ways to the nodes.
#[derive(Debug)]
pub(crate) struct Network {
    rng: SmallRng,
    paths: Vec<Path>,
    connections: BTreeMap<ConnId, Connection>,
    made: u64,
}

/// The way between a node and the coordinator.
#[derive(Clone, Debug)]
struct Path {
    delay: Duration,
    jitter: Duration,
    is_cut: bool,
}

#[derive(Debug)]
struct Connection {
    node: usize,
    /// Bytes that arrive after this time are lost: the connection is broken or silent.
    lost: bool,
    /// When the last bytes towards each side arrive.
    towards_coordinator: Moment,
    towards_node: Moment,
}

impl Network {
    pub(crate) fn new(nodes: usize, mut rng: SmallRng) -> Self {
        let worst = [5, 40, 150, 600][rng.random_range(0..4)];
        let paths = (0..nodes)
            .map(|_| Path {
                delay: Duration::from_millis(rng.random_range(1..=worst)),
                jitter: Duration::from_millis(rng.random_range(0..=worst)),
                is_cut: false,
            })
            .collect();
        Self { rng, paths, connections: BTreeMap::new(), made: 0 }
    }

    /// How long something takes on the way to or from a node now.
    pub(crate) fn delay(&mut self, node: usize) -> Duration {
        let Path { delay, jitter, .. } = self.paths[node];
        delay + self.rng.random_range(Duration::ZERO..=jitter)
    }

    pub(crate) fn is_cut(&self, node: usize) -> bool {
        self.paths[node].is_cut
    }

    /// Cuts the way to a node: what is sent is lost, and nobody is told.
    pub(crate) fn cut(&mut self, node: usize) {
        self.paths[node].is_cut = true;
        for connection in self.connections.values_mut().filter(|connection| connection.node == node) {
            connection.lost = true;
        }
    }

    /// Mends it. Connections that lost something stay lost.
    pub(crate) fn mend(&mut self, node: usize) {
        self.paths[node].is_cut = false;
    }

    /// A new connection from a node.
    pub(crate) fn open(&mut self, node: usize) -> ConnId {
        self.made += 1;
        let id = ConnId(self.made);
        let start = Moment::default();
        let connection = Connection { node, lost: false, towards_coordinator: start, towards_node: start };
        self.connections.insert(id, connection);
        id
    }

    /// Whose connection it is, while one side has it.
    pub(crate) fn node_of(&self, conn: ConnId) -> Option<usize> {
        self.connections.get(&conn).map(|connection| connection.node)
    }

    /// Makes a connection lose everything from now on.
    pub(crate) fn lose(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.lost = true;
        }
    }

    pub(crate) fn is_lost(&self, conn: ConnId) -> bool {
        self.connections.get(&conn).is_none_or(|connection| connection.lost)
    }

    /// When bytes sent now towards a side arrive; `None` when they never do.
    pub(crate) fn send(&mut self, conn: ConnId, to: Side, now: Moment) -> Option<Moment> {
        let node = self.node_of(conn)?;
        let delay = self.delay(node);
        let connection = self.connections.get_mut(&conn).filter(|connection| !connection.lost)?;
        let last = match to {
            Side::Coordinator => &mut connection.towards_coordinator,
            Side::Node => &mut connection.towards_node,
        };
        *last = (*last).max(now + delay);
        Some(*last)
    }

    /// Draws how bytes are divided on their way.
    pub(crate) fn divide(&mut self, bytes: usize) -> usize {
        if bytes > 1 && self.rng.random_range(0..8) == 0 { self.rng.random_range(1..bytes) } else { bytes }
    }
}

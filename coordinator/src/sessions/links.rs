//! What is known of each node's link: kept in memory only, of nodes that are silent too, and never written anywhere.
//!
//! A session fills in its [`OpenLink`]; dropping that leaves the last known values for whoever asks. What was never connected since
//! this coordinator started is not here.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_link::{
    NodeName, Revision, UnixMillis, health::Health, message::Epoch, session::coordinator::CoordinatorSession,
};

use super::wall;

/// How a link's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// QUIC over UDP.
    Quic,
    /// The same in TLS over TCP, where UDP does not pass.
    Tcp,
}

/// What a connection's transport counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// How the packets travel.
    pub kind: LinkKind,
    /// Where they come from now.
    pub peer: SocketAddr,
    /// Bytes received, headers of UDP left out.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Round trip.
    pub rtt: Duration,
    /// How long nothing had come when the connection was given up; zero for one that is open, or ended otherwise.
    pub silent: Duration,
}

/// Reads a connection's counters: the transport.
pub trait Meter: fmt::Debug + Send + Sync {
    /// The counters now; the last ones when the connection has ended.
    fn read(&self) -> Traffic;
}

/// What a session's connection brings along.
#[derive(Clone, Debug)]
pub struct Wire {
    /// End of the node's certificate.
    pub certificate_end: UnixMillis,
    /// Its counters.
    pub meter: Arc<dyn Meter>,
}

/// One node's link, as it is or was last.
#[derive(Clone, Debug)]
pub struct LinkFacts {
    /// Whose.
    pub node: NodeName,
    /// Since when it is connected; `None` for a node that is silent.
    pub connected_since: Option<UnixMillis>,
    /// When the node was heard last: of one that is connected, its last message; of one that is silent, its last packet.
    pub last_contact: UnixMillis,
    /// Sessions since this coordinator started.
    pub sessions: u64,
    /// The protocol version spoken.
    pub protocol: u16,
    /// The revision that the node has confirmed.
    pub applied: Option<Revision>,
    /// The revision that it should have.
    pub wanted: Revision,
    /// Whether it holds what it should, as far as is known.
    pub is_in_step: bool,
    /// What is added to its clock.
    pub clock_offset_ms: i64,
    /// End of its certificate.
    pub certificate_end: UnixMillis,
    /// The connection's counters; bytes are those of all sessions since this coordinator started.
    pub traffic: Traffic,
    /// What the node told last, and when that came.
    pub health: Option<(Health, UnixMillis)>,
}

/// All links; one entry per node that was connected since the start, until it is removed.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Mutex<BTreeMap<NodeName, Arc<Link>>>,
}

/// One node's link, over its sessions.
#[derive(Debug)]
struct Link {
    /// Values are read and replaced whole, and nothing waits meanwhile.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    epoch: Epoch,
    certificate_end: UnixMillis,
    /// That of the open connection; a dead one is not kept for the sake of its counters.
    meter: Option<Arc<dyn Meter>>,
    /// Of the last connection that ended.
    traffic: Traffic,
    connected_since: Option<UnixMillis>,
    last_contact: UnixMillis,
    sessions: u64,
    protocol: u16,
    applied: Option<Revision>,
    /// The wanted revision at which the node was last seen to hold what it should.
    in_step_at: Option<Revision>,
    clock_offset_ms: i64,
    /// Bytes in and out of the sessions before.
    before: (u64, u64),
    health: Option<(Health, UnixMillis)>,
}

/// The right to fill in a node's link; dropping it says that the node is silent.
#[derive(Debug)]
pub(super) struct OpenLink {
    link: Arc<Link>,
    epoch: Epoch,
}

impl Links {
    /// The protocol version that a node speaks, or spoke last; `None` for one that was never connected.
    pub(super) fn protocol(&self, node: &NodeName) -> Option<u16> {
        self.lock().get(node).map(|link| link.lock().protocol)
    }

    /// A session of `node` begins.
    pub(super) fn open(&self, node: &NodeName, epoch: Epoch, protocol: u16, wire: Wire) -> OpenLink {
        let now = wall();
        let mut links = self.lock();
        let link = links.entry(node.clone()).or_insert_with(|| Arc::new(Link::new(epoch, &wire, now)));
        link.begin(epoch, protocol, wire, now);
        OpenLink { link: Arc::clone(link), epoch }
    }

    /// Drops what is known of a node that is removed.
    pub(super) fn forget(&self, node: &NodeName) {
        self.lock().remove(node);
    }

    /// All links, by node. `wanted` answers the revision that a node should have.
    pub(super) fn facts(&self, wanted: impl Fn(&NodeName) -> Revision) -> Vec<LinkFacts> {
        let links: Vec<_> = self.lock().iter().map(|(node, link)| (node.clone(), Arc::clone(link))).collect();
        links.into_iter().map(|(node, link)| link.facts(wanted(&node), node)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, Arc<Link>>> {
        // Entries are inserted and removed whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    fn new(epoch: Epoch, wire: &Wire, now: UnixMillis) -> Self {
        Self {
            state: Mutex::new(State {
                epoch,
                certificate_end: wire.certificate_end,
                meter: None,
                traffic: wire.meter.read(),
                connected_since: None,
                last_contact: now,
                sessions: 0,
                protocol: 0,
                applied: None,
                in_step_at: None,
                clock_offset_ms: 0,
                before: (0, 0),
                health: None,
            }),
        }
    }

    fn begin(&self, epoch: Epoch, protocol: u16, wire: Wire, now: UnixMillis) {
        let mut state = self.lock();
        state.settle(now);
        state.epoch = epoch;
        state.protocol = protocol;
        state.certificate_end = wire.certificate_end;
        state.meter = Some(wire.meter);
        state.connected_since = Some(now);
        state.last_contact = now;
        state.sessions += 1;
    }

    fn facts(&self, wanted: Revision, node: NodeName) -> LinkFacts {
        let state = self.lock();
        let mut traffic = match &state.meter {
            Some(meter) => meter.read(),
            None => Traffic { bytes_in: 0, bytes_out: 0, ..state.traffic.clone() },
        };
        traffic.bytes_in += state.before.0;
        traffic.bytes_out += state.before.1;
        LinkFacts {
            node,
            connected_since: state.connected_since,
            last_contact: state.last_contact,
            sessions: state.sessions,
            protocol: state.protocol,
            applied: state.applied,
            wanted,
            is_in_step: state.in_step_at == Some(wanted),
            clock_offset_ms: state.clock_offset_ms,
            certificate_end: state.certificate_end,
            traffic,
            health: state.health.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what a connection that ended leaves behind.
    fn settle(&mut self, now: UnixMillis) {
        self.connected_since = None;
        let Some(meter) = self.meter.take() else { return };
        self.traffic = meter.read();
        let Traffic { bytes_in, bytes_out, silent, .. } = self.traffic;
        self.before = (self.before.0 + bytes_in, self.before.1 + bytes_out);
        let silent_ms = i64::try_from(silent.as_millis()).unwrap_or(i64::MAX);
        self.last_contact = self.last_contact.max(UnixMillis(now.0.saturating_sub(silent_ms)));
    }
}

impl OpenLink {
    /// A message came: takes what the session's machine knows now.
    pub(super) fn heard(&self, machine: &CoordinatorSession, wanted: Revision) {
        let mut state = self.link.lock();
        state.last_contact = wall();
        state.note(machine, wanted);
    }

    /// Something changed on this side: takes what the session's machine knows now.
    pub(super) fn note(&self, machine: &CoordinatorSession, wanted: Revision) {
        self.link.lock().note(machine, wanted);
    }

    /// The node has a new certificate.
    pub(super) fn renewed(&self, certificate_end: UnixMillis) {
        self.link.lock().certificate_end = certificate_end;
    }

    /// The node told how it fares.
    pub(super) fn health(&self, health: Health) {
        self.link.lock().health = Some((health, wall()));
    }
}

impl State {
    fn note(&mut self, machine: &CoordinatorSession, wanted: Revision) {
        self.applied = machine.acknowledged().or(self.applied);
        self.clock_offset_ms = machine.clock_offset_ms();
        if machine.is_in_step() {
            self.in_step_at = Some(wanted);
        }
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        // A newer session may have begun on the same link.
        if state.epoch == self.epoch {
            state.settle(wall());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A transport that has always carried the same.
    #[derive(Debug)]
    struct Still(Traffic);

    impl Meter for Still {
        fn read(&self) -> Traffic {
            self.0.clone()
        }
    }

    pub(in crate::sessions) fn wire(silent: Duration) -> Wire {
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let rtt = Duration::from_millis(3);
        let traffic = Traffic { kind: LinkKind::Quic, peer, bytes_in: 10, bytes_out: 20, rtt, silent };
        Wire { certificate_end: UnixMillis(77), meter: Arc::new(Still(traffic)) }
    }

    fn only(links: &Links, wanted: u64) -> LinkFacts {
        let mut facts = links.facts(|_| Revision(wanted));
        assert_eq!(facts.len(), 1);
        facts.remove(0)
    }

    const FIRST: Epoch = Epoch { term: 1, counter: 1 };
    const SECOND: Epoch = Epoch { term: 1, counter: 2 };

    #[test]
    fn a_silent_node_keeps_what_was_known_of_it() {
        let (links, node) = (Links::default(), NodeName::new("n1"));
        let before = wall();
        let open = links.open(&node, FIRST, 2, wire(Duration::from_secs(3600)));
        open.health(Health { uptime_ms: 5, ..Health::default() });
        let facts = only(&links, 4);
        assert!(facts.connected_since >= Some(before) && !facts.is_in_step);
        assert_eq!((facts.traffic.bytes_in, facts.traffic.bytes_out), (10, 20));
        drop(open);
        let facts = only(&links, 4);
        assert_eq!((facts.connected_since, facts.sessions, facts.protocol), (None, 1, 2));
        assert_eq!((facts.traffic.bytes_in, facts.traffic.bytes_out), (10, 20));
        assert_eq!(facts.health.unwrap().0.uptime_ms, 5);
        // The connection was silent for longer than it existed: the node was heard when it greeted, not before.
        assert!(facts.last_contact >= before);
        links.forget(&node);
        assert!(links.facts(|_| Revision(4)).is_empty());
    }

    #[test]
    fn an_older_session_that_ends_late_changes_nothing() {
        let (links, node) = (Links::default(), NodeName::new("n1"));
        let first = links.open(&node, FIRST, 1, wire(Duration::ZERO));
        let second = links.open(&node, SECOND, 2, wire(Duration::ZERO));
        drop(first);
        let facts = only(&links, 0);
        assert!(facts.connected_since.is_some());
        assert_eq!((facts.traffic.bytes_in, facts.sessions), (20, 2));
        drop(second);
        assert_eq!(only(&links, 0).traffic.bytes_in, 20);
    }
}

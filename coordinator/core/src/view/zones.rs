//! Nodes by zone, as far as it decides on evictions: how many of a zone are well, and which of those that are not wait for their taint.

use std::collections::{BTreeSet, HashMap};

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{Effect, Liveness, NodeEntry, NodeInfo};
use crate::controllers::{TAINT_NOT_READY, TAINT_UNREACHABLE};

/// All zones, kept in step by whoever changes nodes.
#[derive(Debug, Default)]
pub struct Zones {
    /// Nodes without a zone share the fate of the cluster.
    all: Zone,
    named: HashMap<String, Zone>,
}

/// The nodes of one zone.
#[derive(Debug, Default)]
pub struct Zone {
    nodes: usize,
    /// Those whose session is open and that say themselves that they are not ready.
    not_ready: usize,
    /// Those not heard of since the coordinator started.
    unverified: usize,
    /// Since when those that are silent are, in order.
    silent: Vec<Timestamp>,
    /// Those that are not well and have no taint that evicts, the longest silent first. Nodes in a zone wait there only.
    waiting: BTreeSet<(Timestamp, NodeName)>,
    /// When those that have such a taint got it.
    tainted: BTreeSet<(Timestamp, NodeName)>,
}

impl Zones {
    /// The zone that a node belongs to.
    pub fn of(&self, info: &NodeInfo) -> &Zone {
        info.labels.get(LABEL).and_then(|name| self.named.get(name)).unwrap_or(&self.all)
    }

    pub(super) fn add(&mut self, name: &NodeName, entry: &NodeEntry) {
        let Some(info) = &entry.info else { return };
        self.all.count_in(entry, info);
        let own = match info.labels.get(LABEL) {
            Some(zone) => {
                let own = self.named.entry(zone.clone()).or_default();
                own.count_in(entry, info);
                own
            }
            None => &mut self.all,
        };
        own.enqueue(name, entry, info);
    }

    pub(super) fn remove(&mut self, name: &NodeName, entry: &NodeEntry) {
        let Some(info) = &entry.info else { return };
        self.all.count_out(entry, info);
        match info.labels.get(LABEL) {
            None => self.all.dequeue(name, entry, info),
            Some(zone) => {
                let Some(own) = self.named.get_mut(zone) else { return };
                own.count_out(entry, info);
                own.dequeue(name, entry, info);
                if own.nodes == 0 {
                    self.named.remove(zone);
                }
            }
        }
    }
}

impl Zone {
    /// How many nodes it has.
    pub const fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many of them say that they are not ready, or have been silent since `since`.
    pub fn unhealthy(&self, since: Timestamp) -> usize {
        self.not_ready + self.silent.partition_point(|silent| *silent <= since)
    }

    /// How many have not been heard of since the coordinator started.
    pub const fn unverified(&self) -> usize {
        self.unverified
    }

    /// The next to get a taint that evicts, if any is not well.
    pub fn next(&self) -> Option<&NodeName> {
        self.waiting.first().map(|(_, name)| name)
    }

    /// When the last one got it.
    pub fn last_tainted(&self) -> Option<Timestamp> {
        self.tainted.last().map(|(at, _)| *at)
    }

    fn count_in(&mut self, entry: &NodeEntry, info: &NodeInfo) {
        self.nodes += 1;
        match Standing::of(entry, info) {
            Standing::Well => {}
            Standing::NotReady => self.not_ready += 1,
            Standing::Unverified => self.unverified += 1,
            Standing::Silent(since) => {
                let position = self.silent.partition_point(|other| *other <= since);
                self.silent.insert(position, since);
            }
        }
    }

    fn enqueue(&mut self, name: &NodeName, entry: &NodeEntry, info: &NodeInfo) {
        if let Some(at) = tainted_at(info) {
            self.tainted.insert((at, name.clone()));
        } else if let Some(since) = Standing::of(entry, info).since() {
            self.waiting.insert((since, name.clone()));
        }
    }

    fn count_out(&mut self, entry: &NodeEntry, info: &NodeInfo) {
        self.nodes = self.nodes.saturating_sub(1);
        match Standing::of(entry, info) {
            Standing::Well => {}
            Standing::NotReady => self.not_ready = self.not_ready.saturating_sub(1),
            Standing::Unverified => self.unverified = self.unverified.saturating_sub(1),
            Standing::Silent(since) => {
                let position = self.silent.partition_point(|other| *other < since);
                if self.silent.get(position) == Some(&since) {
                    self.silent.remove(position);
                }
            }
        }
    }

    fn dequeue(&mut self, name: &NodeName, entry: &NodeEntry, info: &NodeInfo) {
        if let Some(at) = tainted_at(info) {
            self.tainted.remove(&(at, name.clone()));
        } else if let Some(since) = Standing::of(entry, info).since() {
            self.waiting.remove(&(since, name.clone()));
        }
    }
}

/// How a node counts.
enum Standing {
    Well,
    NotReady,
    Unverified,
    Silent(Timestamp),
}

impl Standing {
    fn of(entry: &NodeEntry, info: &NodeInfo) -> Self {
        match entry.liveness {
            Liveness::Silent(since) => Self::Silent(since),
            Liveness::Unverified(_) => Self::Unverified,
            // A word of silence that was not taken back yet is about the time before the session.
            Liveness::Live if matches!(info.condition("Ready"), Some("True" | "Unknown")) => Self::Well,
            Liveness::Live => Self::NotReady,
        }
    }

    /// Since when it has not been well, as far as the order of taints goes.
    const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Well => None,
            Self::NotReady => Some(Timestamp::MIN),
            Self::Silent(since) => Some(*since),
            Self::Unverified => Some(Timestamp::MAX),
        }
    }
}

/// Since when a node has had a taint that evicts because it is not well.
fn tainted_at(info: &NodeInfo) -> Option<Timestamp> {
    let about_health = |key: &str| [TAINT_NOT_READY, TAINT_UNREACHABLE].contains(&key);
    let taints =
        info.taints.iter().filter(|taint| taint.effect == Effect::NoExecute && about_health(&taint.key));
    taints.map(|taint| taint.added.unwrap_or(Timestamp::MIN)).max()
}

/// The label that splits a cluster into zones.
const LABEL: &str = "topology.kubernetes.io/zone";

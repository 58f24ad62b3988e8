//! A node in the view: its object, its session, and what its pods hold together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{HostPort, NodeInfo, ObjectKey, PodTemplate};
use crate::amounts::Amounts;

/// A node, or a name that pods are bound to although no such node exists.
#[derive(Debug)]
pub struct NodeEntry {
    /// The Node object, if there is one.
    pub info: Option<Arc<NodeInfo>>,
    /// What is known of its session.
    pub liveness: Liveness,
    /// Since when there has been no Node object while pods name it.
    pub missing_since: Option<Timestamp>,
    /// Pods bound or assumed to be, finished ones included.
    pub pods: BTreeSet<ObjectKey>,
}

/// What the pods of a node hold together.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Number of pods.
    pub pods: u32,
    /// Sum of requests.
    pub requested: Amounts,
    /// CPU in thousandths, with Kubernetes' assumption for containers that request none; for scores only.
    pub assumed_cpu: u64,
    /// Memory in bytes, likewise.
    pub assumed_memory: u64,
    /// Ports taken on the node's own addresses, and by how many pods.
    pub host_ports: BTreeMap<HostPort, u32>,
}

/// What is known of a node's session. It lives in memory only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Not heard of since the coordinator started at this time.
    Unverified(Timestamp),
    /// Its session is open.
    Live,
    /// Its session ended or fell silent at this time.
    Silent(Timestamp),
}

impl NodeEntry {
    pub(super) fn unverified(started: Timestamp) -> Self {
        Self {
            info: None,
            liveness: Liveness::Unverified(started),
            missing_since: None,
            pods: BTreeSet::new(),
        }
    }
}

impl Usage {
    /// Counts a pod of `template` in.
    pub fn add(&mut self, template: &PodTemplate) {
        self.pods += 1;
        self.requested.add(&template.requests);
        self.assumed_cpu += template.assumed_cpu;
        self.assumed_memory += template.assumed_memory;
        for port in &template.host_ports {
            *self.host_ports.entry(port.clone()).or_default() += 1;
        }
    }

    /// Counts it out again.
    pub fn remove(&mut self, template: &PodTemplate) {
        self.pods = self.pods.saturating_sub(1);
        self.requested.remove(&template.requests);
        self.assumed_cpu = self.assumed_cpu.saturating_sub(template.assumed_cpu);
        self.assumed_memory = self.assumed_memory.saturating_sub(template.assumed_memory);
        for port in &template.host_ports {
            if let Some(count) = self.host_ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.host_ports.remove(port);
                }
            }
        }
    }
}

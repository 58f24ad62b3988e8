//! Where what nodes say enters the cluster: facts, liveness, pod statuses, events and refusals, each through the API service as
//! user `system:node:NAME`.

use dunlin_link::{
    NodeName, PodUid,
    assignment::Refusal,
    status::{NodeEvent, NodeFacts, PodStatusReport},
};

/// Handle used by node sessions; cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake;

/// What became of one pod status report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Stored, or already as reported: the node need not keep it.
    Done,
    /// The pod does not exist any more: the node may forget it once stopped.
    Gone,
    /// Not stored for now; the node should keep it and will be asked again.
    Retry,
}

impl Intake {
    /// A node's session opened: registers or updates its Node object and marks it Ready.
    pub async fn connected(&self, node: &NodeName, facts: NodeFacts) {
        unimplemented!("{node} {facts:?}")
    }

    /// The node's current session ended or fell silent.
    pub async fn disconnected(&self, node: &NodeName) {
        unimplemented!("{node}")
    }

    /// Stores pod statuses; `clock_offset_ms` is added to every time in them. Answers in the order of `reports`.
    pub async fn pod_statuses(
        &self,
        node: &NodeName,
        reports: Vec<PodStatusReport>,
        clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)> {
        unimplemented!("{node} {reports:?} {clock_offset_ms}")
    }

    /// Records events that a node saw.
    pub async fn events(&self, node: &NodeName, events: Vec<NodeEvent>, clock_offset_ms: i64) {
        unimplemented!("{node} {events:?} {clock_offset_ms}")
    }

    /// The node refused to run pods: they become Failed with the reason.
    pub async fn refused(&self, node: &NodeName, refusals: Vec<Refusal>) {
        unimplemented!("{node} {refusals:?}")
    }

    /// The node confirmed that these tombstoned pods are stopped and that it has been told to forget them.
    pub async fn buried(&self, node: &NodeName, uids: Vec<PodUid>) {
        unimplemented!("{node} {uids:?}")
    }
}

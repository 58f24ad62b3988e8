//! What the session asks without waiting for the agent's loop: the applied revision, and reports that nobody has acked.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dunlin_edge_node_core::node::Unacked;
use dunlin_link::{
    PodUid,
    health::{HeldPods, Sealing},
    status::PodStatusReport,
};
use tokio::sync::Notify;

use crate::{health::Held, session::Applied, statics::RejectedManifest};

/// State behind one lock, held for moments and never across an await.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Rung when there are more or fewer pods.
    counted: Notify,
}

#[derive(Debug)]
struct State {
    /// As of the last durable commit.
    applied: Applied,
    unacked: Unacked,
    held: Held,
    rejected: Vec<RejectedManifest>,
}

impl Shared {
    pub(super) fn new(applied: Applied) -> Self {
        // The local state seals what came in clear before anything of it is used.
        let held = Held { sealing: Sealing::Sealed, ..Held::default() };
        let state = State { applied, unacked: Unacked::default(), held, rejected: Vec::new() };
        Self { state: Mutex::new(state), counted: Notify::new() }
    }

    pub(super) fn applied(&self) -> Applied {
        self.lock().applied
    }

    pub(super) fn set_applied(&self, applied: Applied) {
        self.lock().applied = applied;
    }

    pub(super) fn reported(&self, report: PodStatusReport) {
        self.lock().unacked.reported(report);
    }

    /// Drops reports that are acked, unless a later one of the pod waits.
    pub(super) fn acked(&self, reports: &[(PodUid, u64)]) {
        self.lock().unacked.acked(reports);
    }

    /// Drops the reports of a pod that is forgotten.
    pub(super) fn forget(&self, uid: &PodUid) {
        self.lock().unacked.forget(uid);
    }

    pub(super) fn unacked(&self) -> Vec<PodStatusReport> {
        self.lock().unacked.iter().cloned().collect()
    }

    /// Pods whose latest report waits for its acknowledgement.
    pub(super) fn unacked_uids(&self) -> BTreeSet<PodUid> {
        self.lock().unacked.iter().map(|report| report.uid.clone()).collect()
    }

    /// `NAMESPACE/NAME` of pods whose latest report waits.
    pub(super) fn unreported(&self) -> Vec<String> {
        let state = self.lock();
        state.unacked.iter().map(|report| format!("{}/{}", report.namespace, report.name)).collect()
    }

    /// What the node's health says of its pods and reports.
    pub(super) fn held(&self) -> Held {
        let state = self.lock();
        Held { reports: state.unacked.len(), ..state.held }
    }

    /// The agent's set changed.
    pub(super) fn set_pods(&self, pods: HeldPods) {
        if std::mem::replace(&mut self.lock().held.pods, pods) != pods {
            self.counted.notify_one();
        }
    }

    /// Waits until there are more or fewer pods than at the last call.
    pub(super) async fn counted(&self) {
        self.counted.notified().await;
    }

    /// Manifests that are no static pods.
    pub(super) fn rejected(&self) -> Vec<RejectedManifest> {
        self.lock().rejected.clone()
    }

    /// The static pods' folder was read.
    pub(super) fn set_rejected(&self, rejected: Vec<RejectedManifest>) {
        self.lock().rejected = rejected;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment or one map operation: a panic elsewhere cannot leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

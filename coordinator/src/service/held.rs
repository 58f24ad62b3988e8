//! Pods that nodes run and the cluster does not know: held after a restore, until somebody buries them.
//!
//! In memory only: nodes never get an acknowledgement of what they report of such pods, and name them anew in every session.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use dunlin_api::Status;
use dunlin_coordinator_core::dispatch::tombstone_key;
use dunlin_link::{
    NodeName, PodUid, UnixMillis,
    assignment::Tombstone,
    status::{PodPhase, PodStatusReport},
};

use super::{ApiService, store_failed};
use crate::store::{Txn, Write};

/// What nodes hold.
#[derive(Debug, Default)]
pub struct HeldPods {
    by_pod: Mutex<ByPod>,
}

type ByPod = BTreeMap<(NodeName, PodUid), HeldPod>;

/// One held pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPod {
    /// As the node has it.
    pub uid: PodUid,
    /// As the node has it.
    pub namespace: String,
    /// As the node has it.
    pub name: String,
    /// What the node said of it last.
    pub phase: PodPhase,
}

impl HeldPods {
    /// A node says that it runs a pod which does not exist.
    pub(crate) fn heard(&self, node: &NodeName, report: &PodStatusReport) {
        let PodStatusReport { uid, namespace, name, phase, .. } = report;
        let pod =
            HeldPod { uid: uid.clone(), namespace: namespace.clone(), name: name.clone(), phase: *phase };
        let mut by_pod = self.lock();
        if by_pod.len() < HELD_MAX {
            by_pod.insert((node.clone(), uid.clone()), pod);
        }
    }

    /// The pod is not held any more.
    pub(crate) fn ended(&self, node: &NodeName, uid: &PodUid) {
        self.lock().remove(&(node.clone(), uid.clone()));
    }

    /// What a node holds, by uid.
    pub fn of(&self, node: &NodeName) -> Vec<HeldPod> {
        let by_pod = self.lock();
        by_pod.iter().filter(|((holder, _), _)| holder == node).map(|(_, pod)| pod.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, ByPod> {
        // Entries are replaced whole, so that a panic elsewhere leaves none half-written.
        self.by_pod.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiService {
    /// Orders the end of a pod that a node holds, by the record that a forced deletion leaves.
    pub(super) async fn bury_held(
        &self,
        node: &NodeName,
        pod: &HeldPod,
        grace_seconds: u32,
    ) -> Result<(), Status> {
        let tombstone = Tombstone {
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            grace_seconds,
            requested_at: UnixMillis(self.clock().now().as_millisecond()),
        };
        let value = Bytes::from(serde_json::to_vec(&tombstone).map_err(Status::internal)?);
        let writes = vec![Write::Put(tombstone_key(node, &pod.uid), value)];
        self.store().txn(Txn { compares: Vec::new(), writes }).await.map_err(store_failed)?;
        Ok(())
    }
}

/// Far more than a restore leaves behind; a node that makes pods up cannot fill the memory.
const HELD_MAX: usize = 100_000;

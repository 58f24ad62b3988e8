//! Placing pods: from the queue through the scheduler to a binding, or to a condition that says why not.

use std::sync::Arc;

use dunlin_api::Status;
use dunlin_coordinator_core::{
    ObjectKey,
    scheduler::{self, Unschedulable},
    view::PodInfo,
};
use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{
    Control,
    execute::Condition,
    jobs::{Done, Lost},
};
use crate::events::{Occurrence, Regarding, Severity};
use crate::service::User;

impl Control {
    /// Places waiting pods, as many as may be under way at once.
    pub(super) fn place(&mut self, now: Timestamp) {
        for _ in 0..PLACEMENTS_PER_TURN {
            if !self.jobs.has_room() {
                return;
            }
            let Some(key) = self.reconciler.queue.pop(now) else { return };
            let Some(pod) = self.reconciler.view.pod(&key).cloned() else {
                self.reconciler.queue.remove(&key);
                continue;
            };
            match scheduler::place(&self.reconciler.view, &pod) {
                Ok(node) => self.bind(key, &pod, node, now),
                Err(why) => self.park(&key, &pod, &why, now),
            }
        }
    }

    fn bind(&mut self, key: ObjectKey, pod: &PodInfo, node: NodeName, now: Timestamp) {
        self.reconciler.view.assume(&key, &node, now);
        let executor = Arc::clone(&self.executor);
        let uid = pod.uid.clone();
        self.jobs.spawn(Lost::Pod(key.clone()), async move {
            let result = executor.bind(&key, &uid, &node).await;
            Done::Bound { key, node, result }
        });
    }

    /// Takes note of how a binding went.
    pub(super) fn bound(
        &mut self,
        key: &ObjectKey,
        node: &NodeName,
        result: Result<(), Status>,
        now: Timestamp,
    ) {
        match result {
            Ok(()) => {
                self.reconciler.queue.remove(key);
                let Some(pod) = self.reconciler.view.pod(key) else { return };
                let message = format!("Successfully assigned {key} to {node}");
                self.recorder.record(occurrence(key, pod, (Severity::Normal, "Scheduled", message), now));
            }
            Err(status) => {
                tracing::info!(%key, %node, error = status.message(), "a pod was not bound");
                self.reconciler.view.unassume(key, now);
                self.reconciler.queue.retry(key, now);
            }
        }
    }

    /// Leaves a pod waiting, and says why in its status and by an event: both once, however often it is tried again.
    fn park(&mut self, key: &ObjectKey, pod: &PodInfo, why: &Unschedulable, now: Timestamp) {
        self.reconciler.queue.park(key, why.reasons.keys(), now);
        let message = why.to_string();
        let told = (Severity::Warning, "FailedScheduling", message.clone());
        let event = Some(occurrence(key, pod, told, now));
        self.mark_unscheduled(key, pod, (scheduler::REASON_UNSCHEDULABLE, message), event, now);
    }

    /// Says in a pod's status why scheduling gates hold it.
    pub(super) fn mark_gated(&mut self, key: &ObjectKey, pod: &PodInfo, now: Timestamp) {
        let message = scheduler::GATED_MESSAGE.to_owned();
        self.mark_unscheduled(key, pod, (scheduler::REASON_GATED, message), None, now);
    }

    fn mark_unscheduled(
        &mut self,
        key: &ObjectKey,
        pod: &PodInfo,
        (reason, message): (&'static str, String),
        event: Option<Occurrence>,
        now: Timestamp,
    ) {
        let (executor, recorder) = (Arc::clone(&self.executor), self.recorder.clone());
        let (key, uid) = (key.clone(), pod.uid.clone());
        self.jobs.spawn(Lost::Nothing, async move {
            let condition = Condition { kind: "PodScheduled", status: "False", reason, message: &message };
            match executor.set_condition(&key, &uid, condition, now, &User::scheduler()).await {
                Ok(true) => event.into_iter().for_each(|event| recorder.record(event)),
                Ok(false) => {}
                Err(status) => {
                    tracing::info!(%key, error = status.message(), "a pod's condition was not set")
                }
            }
            Done::Told
        });
    }
}

fn occurrence(
    key: &ObjectKey,
    pod: &PodInfo,
    (severity, reason, message): (Severity, &str, String),
    now: Timestamp,
) -> Occurrence {
    let regarding = Regarding {
        api_version: "v1".into(),
        kind: "Pod",
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: pod.uid.as_str().to_owned(),
        field_path: String::new(),
    };
    Occurrence {
        user: User::scheduler(),
        regarding,
        severity,
        reason: reason.to_owned(),
        message,
        component: scheduler::NAME,
        host: String::new(),
        at: now,
    }
}

/// Pods placed before the driver looks at its inputs again, so that a long queue does not keep changes from nodes.
const PLACEMENTS_PER_TURN: usize = 128;

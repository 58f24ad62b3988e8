//! Placing pods: from the queue through the scheduler to a binding, or to a condition that says why not.

use std::sync::Arc;

use dunlin_api::Status;
use dunlin_coordinator_core::{
    ObjectKey,
    reconciler::{Nomination, PLACEMENTS_PER_TURN, Placement},
    scheduler::{self, Preemption, Unschedulable},
    view::PodInfo,
};
use dunlin_link::NodeName;
use jiff::Timestamp;

use super::{
    Control,
    execute::scheduling::Unplaced,
    guard::guarded,
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
            let Some((key, pod)) = self.reconciler.next_waiting(now) else { return };
            let Some(found) = guarded(&key, || scheduler::place(&mut self.reconciler.view, &key, &pod))
            else {
                self.reconciler.queue.retry(&key, now);
                continue;
            };
            match self.reconciler.placed(&key, &pod, found, now) {
                Placement::On(node) => self.bind(key, &pod, node),
                Placement::Nowhere { why, nomination } => self.park(&key, &pod, (&why, nomination), now),
            }
        }
    }

    fn bind(&mut self, key: ObjectKey, pod: &PodInfo, node: NodeName) {
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

    /// Leaves a pod waiting, and says why in its status and by an event: both once, however often it is tried again. Pods that have
    /// to go for its sake go after that.
    fn park(
        &mut self,
        key: &ObjectKey,
        pod: &PodInfo,
        (why, nomination): (&Unschedulable, Nomination),
        now: Timestamp,
    ) {
        let message = why.to_string();
        let told = (Severity::Warning, "FailedScheduling", message.clone());
        let event = Some(occurrence(key, pod, told, now));
        let unplaced = Unplaced { reason: scheduler::REASON_UNSCHEDULABLE, message, nomination };
        self.tell_unplaced(key, pod, (unplaced, event, why.preemption.clone()), now);
    }

    /// Says in a pod's status why scheduling gates hold it.
    pub(super) fn mark_gated(&mut self, key: &ObjectKey, pod: &PodInfo, now: Timestamp) {
        let message = scheduler::GATED_MESSAGE.to_owned();
        let unplaced = Unplaced { reason: scheduler::REASON_GATED, message, nomination: Nomination::Kept };
        self.tell_unplaced(key, pod, (unplaced, None, None), now);
    }

    fn tell_unplaced(
        &mut self,
        key: &ObjectKey,
        pod: &PodInfo,
        (unplaced, event, preemption): (Unplaced, Option<Occurrence>, Option<Preemption>),
        now: Timestamp,
    ) {
        let (executor, recorder) = (Arc::clone(&self.executor), self.recorder.clone());
        let (key, uid, profile) = (key.clone(), pod.uid.clone(), pod.template.scheduler_name.clone());
        let about = if preemption.is_some() { Lost::Preemption(key.clone()) } else { Lost::Nothing };
        self.jobs.spawn(about, async move {
            match executor.tell_unplaced(&key, &uid, &unplaced, now).await {
                Ok(true) => event.into_iter().for_each(|event| recorder.record(event)),
                Ok(false) => {}
                Err(status) => {
                    tracing::info!(%key, error = status.message(), "a pod's condition was not set")
                }
            }
            let Some(preemption) = preemption else { return Done::Told };
            let result = executor.preempt(&uid, &profile, &preemption, now).await;
            Done::Preempted { key, result }
        });
    }

    /// Takes note of how ending pods for another's sake went.
    pub(super) fn preempted(&mut self, key: &ObjectKey, result: Result<(), Status>, now: Timestamp) {
        if let Err(status) = result {
            tracing::warn!(%key, error = status.message(), "pods did not go for another's sake, will be tried again");
            self.reconciler.queue.retry(key, now);
        }
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

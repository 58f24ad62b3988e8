//! What is said of an autoscaler: in its status, in events, and at its target.

use std::sync::Arc;

use dunlin_api::time::format_time;
use jiff::Timestamp;
use serde_json::json;

use super::{BY, id};
use crate::{
    controllers::{Action, Plan, StatusChange, WorkloadAction, conditions, tell::Severity},
    view::{Autoscaler, AutoscalerStatus, ObjectKey, workload::Condition},
};

/// What comes of one look at a target.
pub(super) struct Report<'a> {
    pub(super) autoscaler: &'a Autoscaler,
    pub(super) status: AutoscalerStatus,
    pub(super) now: Timestamp,
    key: &'a ObjectKey,
    actions: Vec<Action>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
}

/// A new size of a target, and what is said when it was set, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescale {
    /// The autoscaler.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: Arc<str>,
    /// `apiVersion` of the target.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many replicas it is to have.
    pub replicas: i64,
    reason: String,
    /// When that is so.
    status: AutoscalerStatus,
    /// What was known before.
    before: AutoscalerStatus,
    at: Timestamp,
}

/// What is said once a target was set to its size, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How much the event matters.
    pub severity: Severity,
    /// Why, in one word.
    pub reason: &'static str,
    /// What happened.
    pub message: String,
    /// What of the autoscaler's status changes.
    pub change: StatusChange,
}

impl<'a> Report<'a> {
    pub(super) fn new(key: &'a ObjectKey, autoscaler: &'a Autoscaler, now: Timestamp) -> Self {
        let status = autoscaler.status.clone();
        Self { autoscaler, status, now, key, actions: Vec::new() }
    }

    /// Where the autoscaler and its target are.
    pub(super) fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// Sets `AbleToScale`.
    pub(super) fn able(&mut self, holds: Holds, reason: &str, message: String) {
        set(&mut self.status, "AbleToScale", (holds, reason, message), self.now);
    }

    /// Sets `ScalingActive`.
    pub(super) fn active(&mut self, holds: Holds, reason: &str, message: String) {
        set(&mut self.status, "ScalingActive", (holds, reason, message), self.now);
    }

    /// Sets `ScalingLimited`.
    pub(super) fn limited(&mut self, holds: Holds, reason: &str, message: &str) {
        set(&mut self.status, "ScalingLimited", (holds, reason, message.to_owned()), self.now);
    }

    /// Warns of something in an event.
    pub(super) fn tell(&mut self, reason: &'static str, message: String) {
        let told = WorkloadAction::Tell {
            about: id(self.key),
            uid: Arc::clone(&self.autoscaler.meta.uid),
            severity: Severity::Warning,
            reason,
            message,
        };
        self.actions.push(Action::Workload(BY, told));
    }

    /// Writes the status where it says something new.
    pub(super) fn finish(mut self) -> Plan {
        if self.status != self.autoscaler.status {
            let (id, uid) = (id(self.key), Arc::clone(&self.autoscaler.meta.uid));
            let change = change(&self.autoscaler.status, &self.status);
            self.actions.push(Action::Workload(BY, WorkloadAction::WriteStatus { id, uid, change }));
        }
        Plan { actions: self.actions, again_at: None }
    }

    /// Sets the size of the target, and writes the status by how that ends.
    pub(super) fn rescale(mut self, replicas: i64, reason: String) -> Plan {
        let target = &self.autoscaler.spec.scale_target_ref;
        self.actions.push(Action::Rescale(Box::new(Rescale {
            key: self.key.clone(),
            uid: Arc::clone(&self.autoscaler.meta.uid),
            api_version: target.api_version.clone().unwrap_or_default(),
            kind: target.kind.clone(),
            name: target.name.clone(),
            replicas,
            reason,
            status: self.status,
            before: self.autoscaler.status.clone(),
            at: self.now,
        })));
        Plan { actions: self.actions, again_at: None }
    }
}

impl Rescale {
    /// What is said after it was done, or why it was not.
    pub fn ended(&self, result: Result<(), &str>) -> Outcome {
        let Self { replicas, reason, at, .. } = self;
        let mut status = self.status.clone();
        let (severity, word, message) = match result {
            Ok(()) => {
                let message = format!("the HPA controller was able to update the target scale to {replicas}");
                set(&mut status, "AbleToScale", (Holds::Yes, "SucceededRescale", message), *at);
                status.desired_replicas = *replicas;
                status.last_scale_time = Some(*at);
                (Severity::Normal, "SuccessfulRescale", format!("New size: {replicas}; reason: {reason}"))
            }
            Err(why) => {
                let message = format!("the HPA controller was unable to update the target scale: {why}");
                set(&mut status, "AbleToScale", (Holds::No, "FailedUpdateScale", message), *at);
                status.desired_replicas = self.before.desired_replicas;
                status.current_metrics.clone_from(&self.before.current_metrics);
                (
                    Severity::Warning,
                    "FailedRescale",
                    format!("New size: {replicas}; reason: {reason}; error: {why}"),
                )
            }
        };
        Outcome { severity, reason: word, message, change: change(&self.before, &status) }
    }
}

/// Sets a condition, whose time is that of its last change between true and false.
fn set(
    status: &mut AutoscalerStatus,
    kind: &str,
    (holds, reason, message): (Holds, &str, String),
    now: Timestamp,
) {
    let word = match holds {
        Holds::Yes => "True",
        Holds::No => "False",
    };
    let known = status.conditions.iter().position(|condition| condition.kind == kind);
    let since = known.map(|position| &status.conditions[position]).filter(|known| known.status == word);
    let condition = Condition {
        kind: kind.to_owned(),
        status: word.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since.and_then(|known| known.last_transition_time).or(Some(now)),
        last_update_time: None,
    };
    match known {
        Some(position) => status.conditions[position] = condition,
        None => status.conditions.push(condition),
    }
}

fn change(before: &AutoscalerStatus, status: &AutoscalerStatus) -> StatusChange {
    let fields = json!({
        "currentReplicas": status.current_replicas,
        "desiredReplicas": status.desired_replicas,
        "lastScaleTime": status.last_scale_time.map(format_time),
        "currentMetrics": status.current_metrics,
    });
    StatusChange::of_fields(fields).with_conditions(
        &before.conditions,
        &status.conditions,
        conditions::written,
    )
}

//! Jobs.

use std::collections::BTreeSet;

use dunlin_api::selector::LabelSelector;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::DecodeError,
    indexes::Indexes,
    meta::{Condition, Meta},
    object::ObjectShape,
    replica_set::selector,
};

/// What is looked at of a Job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.parallelism`.
    pub parallelism: i64,
    /// `spec.completions`; `None` when one success is enough.
    pub completions: Option<i64>,
    /// Whether each completion has an index of its own.
    pub is_indexed: bool,
    /// `spec.backoffLimit`.
    pub backoff_limit: i64,
    /// `spec.backoffLimitPerIndex`.
    pub backoff_limit_per_index: Option<i64>,
    /// `spec.maxFailedIndexes`.
    pub max_failed_indexes: Option<i64>,
    /// `spec.activeDeadlineSeconds`.
    pub active_deadline_seconds: Option<i64>,
    /// `spec.ttlSecondsAfterFinished`.
    pub ttl_seconds: Option<i64>,
    /// `spec.suspend`.
    pub is_suspended: bool,
    /// `spec.selector`.
    pub selector: Option<LabelSelector>,
    /// `spec.podFailurePolicy.rules`.
    pub failure_rules: Vec<FailureRule>,
    /// `spec.successPolicy.rules`.
    pub success_rules: Vec<SuccessRule>,
    /// Whether a pod is replaced only once it has ended (`podReplacementPolicy: Failed`).
    pub replaces_failed_only: bool,
    /// Whether another controller looks after it (`spec.managedBy`).
    pub is_managed_elsewhere: bool,
    /// Whether containers that fail are restarted in their pod.
    pub restarts_on_failure: bool,
    /// `status`.
    pub status: JobStatus,
}

/// One of `spec.podFailurePolicy.rules`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRule {
    /// What to do with a pod that matches.
    pub action: String,
    /// By exit codes.
    #[serde(default)]
    pub on_exit_codes: Option<OnExitCodes>,
    /// By conditions.
    #[serde(default)]
    pub on_pod_conditions: Vec<OnPodCondition>,
}

/// Exit codes that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnExitCodes {
    /// The container; `None` is any.
    #[serde(default)]
    pub container_name: Option<String>,
    /// `In` or `NotIn`.
    pub operator: String,
    /// The codes.
    pub values: Vec<i64>,
}

/// A condition that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OnPodCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its status.
    #[serde(default)]
    pub status: Option<String>,
}

/// One of `spec.successPolicy.rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessRule {
    /// Which indexes count; `None` is all.
    pub indexes: Option<Indexes>,
    /// How many of them have to succeed; `None` is all.
    pub count: Option<i64>,
}

/// `status` of a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// `startTime`.
    pub started: Option<Timestamp>,
    /// `completionTime`.
    pub completed: Option<Timestamp>,
    /// `active`.
    pub active: i64,
    /// `ready`.
    pub ready: Option<i64>,
    /// `terminating`.
    pub terminating: Option<i64>,
    /// `succeeded`: those that are counted for good.
    pub succeeded: i64,
    /// `failed`, likewise.
    pub failed: i64,
    /// `completedIndexes`.
    pub completed_indexes: Indexes,
    /// `failedIndexes`; only with `backoffLimitPerIndex`.
    pub failed_indexes: Option<Indexes>,
    /// `uncountedTerminatedPods.succeeded`: seen, and not yet let go.
    pub uncounted_succeeded: BTreeSet<String>,
    /// `uncountedTerminatedPods.failed`.
    pub uncounted_failed: BTreeSet<String>,
    /// `conditions`.
    pub conditions: Vec<Condition>,
}

impl Job {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ObjectShape<SpecShape, StatusShape> = serde_json::from_slice(json)?;
        let ObjectShape { metadata, spec, status } = shape;
        let rule = |rule: SuccessShape| SuccessRule {
            indexes: rule.succeeded_indexes.as_deref().map(Indexes::parse),
            count: rule.succeeded_count,
        };
        Ok(Self {
            meta: metadata.into(),
            parallelism: spec.parallelism.unwrap_or(1),
            completions: spec.completions,
            is_indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            backoff_limit: spec.backoff_limit.unwrap_or(BACKOFF_LIMIT_DEFAULT),
            backoff_limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            active_deadline_seconds: spec.active_deadline_seconds,
            ttl_seconds: spec.ttl_seconds_after_finished,
            is_suspended: spec.suspend,
            selector: selector(&spec.selector),
            failure_rules: spec.pod_failure_policy.rules,
            success_rules: spec.success_policy.rules.into_iter().map(rule).collect(),
            replaces_failed_only: spec.pod_replacement_policy.as_deref() == Some("Failed"),
            is_managed_elsewhere: spec.managed_by.is_some_and(|by| by != MANAGED_HERE),
            restarts_on_failure: spec.template.spec.restart_policy.as_deref() == Some("OnFailure"),
            status: status.into(),
        })
    }

    /// The condition of this type, if it is true.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind && condition.status == "True")
    }

    /// Whether it has ended, one way or the other.
    pub fn is_finished(&self) -> bool {
        self.condition("Complete").or_else(|| self.condition("Failed")).is_some()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecShape {
    parallelism: Option<i64>,
    completions: Option<i64>,
    completion_mode: Option<String>,
    backoff_limit: Option<i64>,
    backoff_limit_per_index: Option<i64>,
    max_failed_indexes: Option<i64>,
    active_deadline_seconds: Option<i64>,
    ttl_seconds_after_finished: Option<i64>,
    #[serde(default)]
    suspend: bool,
    #[serde(default)]
    selector: Value,
    #[serde(default)]
    pod_failure_policy: FailurePolicyShape,
    #[serde(default)]
    success_policy: SuccessPolicyShape,
    pod_replacement_policy: Option<String>,
    managed_by: Option<String>,
    #[serde(default)]
    template: TemplateShape,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FailurePolicyShape {
    rules: Vec<FailureRule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SuccessPolicyShape {
    rules: Vec<SuccessShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SuccessShape {
    succeeded_indexes: Option<String>,
    succeeded_count: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateShape {
    spec: PodShape,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodShape {
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusShape {
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    active: i64,
    ready: Option<i64>,
    terminating: Option<i64>,
    succeeded: i64,
    failed: i64,
    completed_indexes: String,
    failed_indexes: Option<String>,
    uncounted_terminated_pods: UncountedShape,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UncountedShape {
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl From<StatusShape> for JobStatus {
    fn from(shape: StatusShape) -> Self {
        Self {
            started: shape.start_time,
            completed: shape.completion_time,
            active: shape.active,
            ready: shape.ready,
            terminating: shape.terminating,
            succeeded: shape.succeeded,
            failed: shape.failed,
            completed_indexes: Indexes::parse(&shape.completed_indexes),
            failed_indexes: shape.failed_indexes.as_deref().map(Indexes::parse),
            uncounted_succeeded: shape.uncounted_terminated_pods.succeeded,
            uncounted_failed: shape.uncounted_terminated_pods.failed,
            conditions: shape.conditions,
        }
    }
}

/// What `backoffLimit` is when it is missing.
const BACKOFF_LIMIT_DEFAULT: i64 = 6;

/// `managedBy` of Jobs that are looked after here.
const MANAGED_HERE: &str = "kubernetes.io/job-controller";

//! Deployments.

use dunlin_api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    super::DecodeError,
    meta::{Condition, Meta},
    object::ObjectShape,
    replica_set::selector,
    template::TemplateDigest,
};
use crate::budget::Amount;

/// What is looked at of a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `spec.selector`; `None` when it cannot be read, which selects nothing.
    pub selector: Option<LabelSelector>,
    /// The pod template.
    pub template: TemplateDigest,
    /// `spec.strategy`.
    pub strategy: Strategy,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i64,
    /// `spec.revisionHistoryLimit`.
    pub revision_history_limit: i64,
    /// `spec.progressDeadlineSeconds`.
    pub progress_deadline_seconds: Option<i64>,
    /// `spec.paused`.
    pub paused: bool,
    /// `status`.
    pub status: DeploymentStatus,
}

/// How pods of one revision give way to those of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All go before any comes.
    Recreate,
    /// Step by step.
    RollingUpdate {
        /// How many there may be beyond `replicas`.
        max_surge: Amount,
        /// How many of `replicas` may be unavailable.
        max_unavailable: Amount,
    },
}

/// `status` of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// `observedGeneration`.
    pub observed_generation: i64,
    /// `replicas`.
    pub replicas: i64,
    /// `updatedReplicas`.
    pub updated_replicas: i64,
    /// `readyReplicas`.
    pub ready_replicas: i64,
    /// `availableReplicas`.
    pub available_replicas: i64,
    /// `unavailableReplicas`.
    pub unavailable_replicas: i64,
    /// `terminatingReplicas`.
    pub terminating_replicas: Option<i64>,
    /// `collisionCount`.
    pub collision_count: Option<i64>,
    /// `conditions`.
    pub conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecShape<'a> {
    #[serde(default = "one")]
    replicas: i64,
    #[serde(default)]
    selector: Value,
    #[serde(borrow)]
    template: &'a RawValue,
    #[serde(default)]
    strategy: StrategyShape,
    #[serde(default)]
    min_ready_seconds: i64,
    #[serde(default)]
    revision_history_limit: Option<i64>,
    #[serde(default)]
    progress_deadline_seconds: Option<i64>,
    #[serde(default)]
    paused: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StrategyShape {
    r#type: String,
    rolling_update: RollingShape,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RollingShape {
    max_surge: Value,
    max_unavailable: Value,
}

impl Deployment {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ObjectShape<SpecShape<'_>, DeploymentStatus> = serde_json::from_slice(json)?;
        let ObjectShape { metadata, spec, status } = shape;
        Ok(Self {
            meta: metadata.into(),
            replicas: spec.replicas,
            selector: selector(&spec.selector),
            template: TemplateDigest::of_raw(spec.template)?,
            strategy: Strategy::of(&spec.strategy),
            min_ready_seconds: spec.min_ready_seconds,
            revision_history_limit: spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT),
            // Kubernetes takes the largest number for "no deadline".
            progress_deadline_seconds: spec
                .progress_deadline_seconds
                .filter(|seconds| *seconds != i64::from(i32::MAX)),
            paused: spec.paused,
            status,
        })
    }

    /// Whether it lacks pods or waits for deferred ones, so that a node that comes or goes may concern it.
    pub(super) fn looks_at_nodes(&self) -> bool {
        self.status.available_replicas < self.replicas
            || self.status.conditions.iter().any(|condition| condition.kind == DEFERRED)
    }

    /// How many pods there may be beyond `replicas` while a rollout is under way.
    pub fn max_surge(&self) -> i64 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { max_surge, .. } => max_surge.of_all(self.replicas),
        }
    }

    /// How many of `replicas` may be unavailable while a rollout is under way.
    pub fn max_unavailable(&self) -> i64 {
        let Strategy::RollingUpdate { max_surge, max_unavailable } = self.strategy else { return 0 };
        if self.replicas == 0 {
            return 0;
        }
        let unavailable = max_unavailable.of_all_rounded_down(self.replicas);
        // Both rounded to nothing would never move: one pod then may be unavailable.
        let unavailable =
            if unavailable == 0 && max_surge.of_all(self.replicas) == 0 { 1 } else { unavailable };
        unavailable.min(self.replicas)
    }
}

impl Strategy {
    fn of(shape: &StrategyShape) -> Self {
        if shape.r#type == "Recreate" {
            return Self::Recreate;
        }
        let amount = |value: &Value| Amount::of(value).unwrap_or(Amount::Percent(PERCENT_DEFAULT));
        Self::RollingUpdate {
            max_surge: amount(&shape.rolling_update.max_surge),
            max_unavailable: amount(&shape.rolling_update.max_unavailable),
        }
    }
}

/// Type of the condition that counts pods on nodes that are offline.
pub(crate) const DEFERRED: &str = "Deferred";

const fn one() -> i64 {
    1
}

/// What `revisionHistoryLimit` is when it is missing.
const HISTORY_DEFAULT: i64 = 10;

/// What `maxSurge` and `maxUnavailable` are when they are missing.
const PERCENT_DEFAULT: i64 = 25;

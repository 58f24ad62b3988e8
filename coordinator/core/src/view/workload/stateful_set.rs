//! StatefulSets.

use dunlin_api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    super::DecodeError,
    deployment::DEFERRED,
    meta::{Condition, Meta},
    object::ObjectShape,
    replica_set::selector,
    template::{RevisionHash, TemplateDigest},
};
use crate::budget::Amount;

/// What is looked at of a StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct StatefulSet {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `spec.ordinals.start`: the number of the first pod.
    pub start: i64,
    /// `spec.selector`; `None` when it cannot be read, which selects nothing.
    pub selector: Option<LabelSelector>,
    /// The pod template.
    pub template: TemplateDigest,
    /// What names of its revisions are made of.
    pub hash: RevisionHash,
    /// Names of `spec.volumeClaimTemplates`.
    pub claims: Vec<String>,
    /// What becomes of claims when the set is deleted.
    pub when_deleted: Retention,
    /// What becomes of claims when there are fewer pods.
    pub when_scaled: Retention,
    /// `spec.podManagementPolicy`.
    pub order: Order,
    /// `spec.updateStrategy`.
    pub update: UpdateStrategy,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i64,
    /// `spec.revisionHistoryLimit`; a negative one keeps all.
    pub revision_history_limit: i64,
    /// `status`.
    pub status: StatefulSetStatus,
}

/// Whether pods of a StatefulSet wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each for those before it.
    OrderedReady,
    /// Not when they are created or deleted.
    Parallel,
}

/// What becomes of a claim that is needed no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It stays.
    Retain,
    /// It goes with who needed it.
    Delete,
}

/// How pods of a StatefulSet get a new template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStrategy {
    /// When somebody deletes them.
    OnDelete,
    /// The last first.
    RollingUpdate {
        /// How many of the first pods keep what they have; `None` when nothing is said about rolling.
        partition: Option<i64>,
        /// How many may be missing at once; `None` is one after the other.
        max_unavailable: Option<Amount>,
    },
}

/// `status` of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetStatus {
    /// `observedGeneration`.
    pub observed_generation: i64,
    /// `replicas`.
    pub replicas: i64,
    /// `readyReplicas`.
    pub ready_replicas: i64,
    /// `currentReplicas`.
    pub current_replicas: i64,
    /// `updatedReplicas`.
    pub updated_replicas: i64,
    /// `availableReplicas`.
    pub available_replicas: i64,
    /// `currentRevision`.
    pub current_revision: String,
    /// `updateRevision`.
    pub update_revision: String,
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
    ordinals: OrdinalsShape,
    #[serde(default)]
    selector: Value,
    #[serde(borrow)]
    template: &'a RawValue,
    #[serde(default)]
    volume_claim_templates: Vec<ClaimShape>,
    #[serde(default)]
    persistent_volume_claim_retention_policy: RetentionShape,
    #[serde(default)]
    pod_management_policy: String,
    #[serde(default)]
    update_strategy: StrategyShape,
    #[serde(default)]
    min_ready_seconds: i64,
    #[serde(default)]
    revision_history_limit: Option<i64>,
}

#[derive(Default, Deserialize)]
struct OrdinalsShape {
    #[serde(default)]
    start: i64,
}

#[derive(Deserialize)]
struct ClaimShape {
    metadata: ClaimMetaShape,
}

#[derive(Deserialize)]
struct ClaimMetaShape {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RetentionShape {
    when_deleted: String,
    when_scaled: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StrategyShape {
    r#type: String,
    rolling_update: Option<RollingShape>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RollingShape {
    partition: i64,
    max_unavailable: Value,
}

impl StatefulSet {
    /// Whether it lacks pods or waits for deferred ones, so that a node that comes or goes may concern it.
    pub(super) fn looks_at_nodes(&self) -> bool {
        self.status.available_replicas < self.replicas.max(self.status.replicas)
            || self.status.conditions.iter().any(|condition| condition.kind == DEFERRED)
    }

    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ObjectShape<SpecShape<'_>, StatefulSetStatus> = serde_json::from_slice(json)?;
        let ObjectShape { metadata, spec, status } = shape;
        let template: Value = serde_json::from_str(spec.template.get())?;
        let retention = &spec.persistent_volume_claim_retention_policy;
        Ok(Self {
            meta: metadata.into(),
            replicas: spec.replicas,
            start: spec.ordinals.start,
            selector: selector(&spec.selector),
            template: TemplateDigest::whole(&template),
            hash: RevisionHash::of(template),
            claims: spec.volume_claim_templates.into_iter().map(|claim| claim.metadata.name).collect(),
            when_deleted: Retention::of(&retention.when_deleted),
            when_scaled: Retention::of(&retention.when_scaled),
            order: match &*spec.pod_management_policy {
                "Parallel" => Order::Parallel,
                _ => Order::OrderedReady,
            },
            update: UpdateStrategy::of(&spec.update_strategy),
            min_ready_seconds: spec.min_ready_seconds,
            revision_history_limit: spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT),
            status,
        })
    }

    /// Whether a pod of this number is wanted.
    pub const fn has_place_for(&self, ordinal: i64) -> bool {
        ordinal >= self.start && ordinal < self.start + self.replicas
    }

    /// Whether a claim of this name may be one of its pods'.
    pub fn may_claim(&self, set: &str, claim: &str) -> bool {
        self.claims.iter().any(|template| {
            let rest = claim.strip_prefix(&**template).and_then(|rest| rest.strip_prefix('-'));
            rest.and_then(|rest| rest.strip_prefix(set)).is_some_and(|rest| rest.starts_with('-'))
        })
    }
}

impl Retention {
    fn of(text: &str) -> Self {
        if text == "Delete" { Self::Delete } else { Self::Retain }
    }
}

impl UpdateStrategy {
    fn of(shape: &StrategyShape) -> Self {
        if shape.r#type == "OnDelete" {
            return Self::OnDelete;
        }
        let rolling = shape.rolling_update.as_ref();
        Self::RollingUpdate {
            partition: rolling.map(|rolling| rolling.partition),
            max_unavailable: rolling.and_then(|rolling| Amount::of(&rolling.max_unavailable)),
        }
    }
}

const fn one() -> i64 {
    1
}

/// What `revisionHistoryLimit` is when it is missing.
const HISTORY_DEFAULT: i64 = 10;

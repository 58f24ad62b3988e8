//! ReplicaSets and ReplicationControllers: the two differ in how they write their selector.

use dunlin_api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    super::{DecodeError, Labels},
    meta::{Condition, Meta},
    object::ObjectShape,
    template::{LabelsShape, TemplateDigest},
};

/// What is looked at of a ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i64,
    /// `spec.selector`; `None` when there is none or it cannot be read, which selects nothing.
    pub selector: Option<LabelSelector>,
    /// The pod template.
    pub template: TemplateDigest,
    /// Labels of the pod template.
    pub template_labels: Labels,
    /// `status`.
    pub status: ReplicaSetStatus,
}

/// `status` of a ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    /// `observedGeneration`.
    pub observed_generation: i64,
    /// `replicas`.
    pub replicas: i64,
    /// `fullyLabeledReplicas`.
    pub fully_labeled_replicas: i64,
    /// `readyReplicas`.
    pub ready_replicas: i64,
    /// `availableReplicas`.
    pub available_replicas: i64,
    /// `terminatingReplicas`; ReplicationControllers have none.
    pub terminating_replicas: Option<i64>,
    /// `conditions`.
    pub conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecShape<'a> {
    #[serde(default = "one")]
    replicas: i64,
    #[serde(default)]
    min_ready_seconds: i64,
    #[serde(default)]
    selector: Value,
    #[serde(borrow)]
    template: &'a RawValue,
}

impl ReplicaSet {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ObjectShape<SpecShape<'_>, ReplicaSetStatus> = serde_json::from_slice(json)?;
        let ObjectShape { metadata, spec, status } = shape;
        Ok(Self {
            meta: metadata.into(),
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: selector(&spec.selector),
            template: TemplateDigest::of_raw(spec.template)?,
            template_labels: LabelsShape::of_raw(spec.template)?,
            status,
        })
    }

    /// Whether it is to have pods.
    pub const fn is_active(&self) -> bool {
        self.replicas > 0
    }
}

/// The selector of a spec; that of a ReplicationController is a plain map.
pub(super) fn selector(selector: &Value) -> Option<LabelSelector> {
    let fields = selector.as_object()?;
    let is_plain = fields.values().all(Value::is_string);
    let parsed = if is_plain && !fields.is_empty() {
        LabelSelector::from_object(&json!({ "matchLabels": selector }))
    } else {
        LabelSelector::from_object(selector)
    };
    parsed.ok().filter(|parsed| !parsed.is_empty())
}

const fn one() -> i64 {
    1
}

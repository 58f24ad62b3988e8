//! What the view holds of a node.

use std::collections::BTreeMap;

use dunlin_link::NodeName;
use jiff::Timestamp;

use super::decode::{DecodeError, ImageShape, NodeShape};
use crate::{
    amounts::{Amounts, whole},
    controllers::ttl,
    node_identity::REASON_REVOKED,
};

/// The parts of a Node that the scheduler and the controllers look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// `metadata.name`.
    pub name: NodeName,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `status.allocatable` without its pods.
    pub allocatable: Amounts,
    /// `status.allocatable.pods`.
    pub pods_max: u32,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
    /// `status.images`: sizes in bytes by name.
    pub images: BTreeMap<String, u64>,
    /// How long it may keep what it reads, as an annotation says it.
    pub ttl_seconds: Option<u32>,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// `key`.
    pub key: String,
    /// `value`, or empty.
    pub value: String,
    /// `effect`.
    pub effect: Effect,
    /// `timeAdded`.
    pub added: Option<Timestamp>,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Keeps new pods away.
    NoSchedule,
    /// Keeps new pods away if there is another place.
    PreferNoSchedule,
    /// Also evicts pods that run.
    NoExecute,
}

/// A node condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: String,
    /// `status`: `True`, `False` or `Unknown`.
    pub status: String,
    /// `reason`.
    pub reason: String,
}

impl NodeInfo {
    pub(crate) fn decode(name: NodeName, json: &[u8]) -> Result<Self, DecodeError> {
        let shape: NodeShape = serde_json::from_slice(json)?;
        let pods_max = shape.status.allocatable.get("pods").map_or(0, whole);
        Ok(Self {
            name,
            uid: shape.metadata.uid,
            labels: shape.metadata.labels,
            taints: shape
                .spec
                .taints
                .into_iter()
                .filter_map(|taint| {
                    let effect = Effect::parse(&taint.effect)?;
                    Some(Taint { key: taint.key, value: taint.value, effect, added: taint.time_added })
                })
                .collect(),
            unschedulable: shape.spec.unschedulable,
            allocatable: Amounts::of(&shape.status.allocatable),
            pods_max: pods_max.try_into().unwrap_or(u32::MAX),
            images: images(shape.status.images),
            ttl_seconds: shape.metadata.annotations.get(ttl::ANNOTATION).and_then(|text| text.parse().ok()),
            conditions: shape
                .status
                .conditions
                .into_iter()
                .map(|condition| Condition {
                    kind: condition.kind,
                    status: condition.status,
                    reason: condition.reason,
                })
                .collect(),
        })
    }

    /// `status` of a condition, `None` when the node has no such condition.
    pub fn condition(&self, kind: &str) -> Option<&str> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
            .map(|condition| condition.status.as_str())
    }

    /// Whether nothing is heard of the node, by its own object.
    pub fn is_offline(&self) -> bool {
        self.condition("Ready") == Some("Unknown")
    }

    /// The zone that its label names, if any.
    pub fn zone(&self) -> Option<&str> {
        self.labels.get(ZONE).map(String::as_str).filter(|zone| !zone.is_empty())
    }

    /// Whether the node is not Ready because its key was revoked.
    pub fn is_revoked(&self) -> bool {
        let revoked = |condition: &Condition| condition.kind == "Ready" && condition.reason == REASON_REVOKED;
        self.conditions.iter().any(revoked)
    }

    /// Whether the node has a taint of this key and effect.
    pub fn tainted(&self, key: &str, effect: Effect) -> bool {
        self.taints.iter().any(|taint| taint.key == key && taint.effect == effect)
    }
}

fn images(list: Vec<ImageShape>) -> BTreeMap<String, u64> {
    let named = list.into_iter().flat_map(|image| {
        let size = u64::try_from(image.size_bytes).unwrap_or(0);
        image.names.into_iter().map(move |name| (name, size))
    });
    named.collect()
}

impl Effect {
    /// The effect that Kubernetes calls so.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }

    /// Kubernetes' word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// Label of a node: where it is.
const ZONE: &str = "topology.kubernetes.io/zone";

//! DaemonSets.

use std::sync::Arc;

use dunlin_api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    super::{
        DecodeError, PodTemplate,
        decode::PodSpecShape,
        template::Toleration,
        {Effect, NodeInfo},
    },
    meta::{Condition, Meta},
    object::ObjectShape,
    replica_set::selector,
    template::TemplateDigest,
};
use crate::{
    budget::Amount,
    controllers::auto_rollback,
    scheduler::{Eligibility, eligibility},
};

/// What is looked at of a DaemonSet.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSet {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.selector`; `None` when it cannot be read, which selects nothing.
    pub selector: Option<LabelSelector>,
    /// The pod template.
    pub template: TemplateDigest,
    /// What decides where its pods run.
    pub placing: Arc<Placing>,
    /// How often the template has changed, as an annotation says it.
    pub template_generation: Option<i64>,
    /// `spec.updateStrategy`; `None` is `OnDelete`.
    pub rolling: Option<Rolling>,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i64,
    /// `spec.revisionHistoryLimit`.
    pub revision_history_limit: i64,
    /// `status`.
    pub status: DaemonSetStatus,
}

/// What of a pod template decides on which nodes there is a pod of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Placing {
    /// With the tolerations that all pods of DaemonSets get.
    template: PodTemplate,
    /// The only node that they may run on.
    node: Option<String>,
}

/// How pods of one revision give way to those of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// On how many nodes there may be none that serves.
    pub max_unavailable: Amount,
    /// On how many nodes there may be two.
    pub max_surge: Amount,
}

/// `status` of a DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    /// `observedGeneration`.
    pub observed_generation: i64,
    /// `desiredNumberScheduled`.
    pub desired_number_scheduled: i64,
    /// `currentNumberScheduled`.
    pub current_number_scheduled: i64,
    /// `updatedNumberScheduled`.
    pub updated_number_scheduled: i64,
    /// `numberMisscheduled`.
    pub number_misscheduled: i64,
    /// `numberReady`.
    pub number_ready: i64,
    /// `numberAvailable`.
    pub number_available: i64,
    /// `numberUnavailable`.
    pub number_unavailable: i64,
    /// `collisionCount`.
    pub collision_count: Option<i64>,
    /// `conditions`.
    pub conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecShape<'a> {
    #[serde(default)]
    selector: Value,
    #[serde(borrow)]
    template: &'a RawValue,
    #[serde(default)]
    update_strategy: StrategyShape,
    #[serde(default)]
    min_ready_seconds: i64,
    #[serde(default)]
    revision_history_limit: Option<i64>,
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
    max_unavailable: Value,
    max_surge: Value,
}

#[derive(Deserialize)]
struct TemplateShape {
    spec: PodSpecShape,
}

impl DaemonSet {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ObjectShape<SpecShape<'_>, DaemonSetStatus> = serde_json::from_slice(json)?;
        let ObjectShape { metadata, spec, status } = shape;
        let meta = Meta::from(metadata);
        Ok(Self {
            template_generation: meta.number(TEMPLATE_GENERATION),
            meta,
            selector: selector(&spec.selector),
            template: TemplateDigest::whole(&serde_json::from_str(spec.template.get())?),
            placing: Arc::new(Placing::of(spec.template)?),
            rolling: Rolling::of(&spec.update_strategy),
            min_ready_seconds: spec.min_ready_seconds,
            revision_history_limit: spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT),
            status,
        })
    }

    /// Whether it may run another revision than that of its template, because that was rolled back from.
    pub(crate) fn may_be_held(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.kind == auto_rollback::CONDITION)
    }
}

impl Placing {
    pub(super) fn of(template: &RawValue) -> Result<Self, serde_json::Error> {
        let pods = serde_json::from_str::<TemplateShape>(template.get())?.spec;
        let node = pods.node_name.clone();
        let network = if pods.host_network { Network::OfNode } else { Network::OfPods };
        let mut template = PodTemplate::of(pods);
        let added = tolerations(network).map(|(key, effect)| Toleration {
            key: key.to_owned(),
            exists: true,
            value: String::new(),
            effect: Some(effect),
            seconds: None,
        });
        template.tolerations.extend(added);
        Ok(Self { template, node: (!node.is_empty()).then_some(node) })
    }

    /// What a node means to pods of the template.
    pub(crate) fn eligibility(&self, node: &NodeInfo) -> Eligibility {
        match &self.node {
            Some(only) if *only != node.name.as_str() => Eligibility::Leaves,
            _ => eligibility(&self.template, node),
        }
    }
}

impl Rolling {
    fn of(shape: &StrategyShape) -> Option<Self> {
        if shape.r#type == "OnDelete" {
            return None;
        }
        let RollingShape { max_unavailable, max_surge } = &shape.rolling_update;
        Some(Self {
            max_unavailable: Amount::of(max_unavailable).unwrap_or(Amount::Count(1)),
            max_surge: Amount::of(max_surge).unwrap_or(Amount::Count(0)),
        })
    }
}

/// What pods of DaemonSets tolerate.
pub(crate) fn tolerations(network: Network) -> impl Iterator<Item = (&'static str, Effect)> {
    TOLERATIONS.into_iter().chain((network == Network::OfNode).then_some(NO_NETWORK))
}

/// Whose network a pod is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// That of pods.
    OfPods,
    /// Its node's, which has not to wait for that of pods.
    OfNode,
}

/// What all of them tolerate, whatever their value: key and effect.
const TOLERATIONS: [(&str, Effect); 6] = [
    ("node.kubernetes.io/not-ready", Effect::NoExecute),
    ("node.kubernetes.io/unreachable", Effect::NoExecute),
    ("node.kubernetes.io/disk-pressure", Effect::NoSchedule),
    ("node.kubernetes.io/memory-pressure", Effect::NoSchedule),
    ("node.kubernetes.io/pid-pressure", Effect::NoSchedule),
    ("node.kubernetes.io/unschedulable", Effect::NoSchedule),
];

/// What those on the network of their node tolerate as well.
const NO_NETWORK: (&str, Effect) = ("node.kubernetes.io/network-unavailable", Effect::NoSchedule);

/// Where the API counts changes of the template.
pub(crate) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// What `revisionHistoryLimit` is when it is missing.
const HISTORY_DEFAULT: i64 = 10;

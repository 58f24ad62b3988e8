//! HorizontalPodAutoscalers: what they are to keep, and what their status says so far.

use std::sync::Arc;

use dunlin_api::Quantity;
use jiff::Timestamp;
use k8s_openapi::{
    api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerSpec},
    apimachinery::pkg::api::resource,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    DecodeError, ObjectKey, View,
    workload::{Condition, Meta, MetaShape},
};

/// What is looked at of a HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// `metadata`.
    pub meta: Meta,
    /// `spec`.
    pub spec: HorizontalPodAutoscalerSpec,
    /// `status`.
    pub status: AutoscalerStatus,
}

/// `status` of a HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalerStatus {
    /// `currentReplicas`.
    pub current_replicas: i64,
    /// `desiredReplicas`.
    pub desired_replicas: i64,
    /// `lastScaleTime`.
    pub last_scale_time: Option<Timestamp>,
    /// `currentMetrics`, or null.
    pub current_metrics: Value,
    /// `conditions`.
    pub conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Shape {
    metadata: MetaShape,
    spec: HorizontalPodAutoscalerSpec,
    #[serde(default)]
    status: AutoscalerStatus,
}

impl Autoscaler {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, spec, status } = serde_json::from_slice(json)?;
        Ok(Self { meta: metadata.into(), spec, status })
    }

    /// How many pods there are at least.
    pub fn least(&self) -> i64 {
        self.spec.min_replicas.map_or(1, i64::from)
    }

    /// How many pods there are at most.
    pub fn most(&self) -> i64 {
        self.spec.max_replicas.into()
    }

    /// How far what is measured may be from what it should be, below and above, as shares of it.
    pub fn tolerances(&self) -> (f64, f64) {
        let behavior = self.spec.behavior.as_ref();
        let of = |rules: Option<&HPAScalingRules>| {
            let tolerance = rules.and_then(|rules| rules.tolerance.as_ref()).and_then(milli);
            tolerance.unwrap_or(TOLERANCE_MILLI) as f64 / 1000.0
        };
        (
            of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
            of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
        )
    }
}

/// A quantity in thousandths.
pub(crate) fn milli(quantity: &resource::Quantity) -> Option<i64> {
    quantity.0.parse::<Quantity>().ok().map(Quantity::milli)
}

impl View {
    /// Folds in a HorizontalPodAutoscaler as stored; answers what was known before.
    ///
    /// # Errors
    /// When `json` is not one; the view is then unchanged.
    pub fn apply_autoscaler(
        &mut self,
        key: &ObjectKey,
        json: &[u8],
    ) -> Result<Option<Arc<Autoscaler>>, DecodeError> {
        Ok(self.autoscalers.insert(key.clone(), Arc::new(Autoscaler::decode(json)?)))
    }

    /// Forgets a HorizontalPodAutoscaler.
    pub fn delete_autoscaler(&mut self, key: &ObjectKey) {
        self.autoscalers.remove(key);
    }

    /// A HorizontalPodAutoscaler.
    pub fn autoscaler(&self, key: &ObjectKey) -> Option<&Arc<Autoscaler>> {
        self.autoscalers.get(key)
    }
}

/// A tenth, where nothing else is said.
const TOLERANCE_MILLI: i64 = 100;

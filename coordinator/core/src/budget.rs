//! PodDisruptionBudgets: which pods they guard, how many of those must stay healthy, and what is known of both.

use std::collections::BTreeMap;

use dunlin_api::{selector::LabelSelector, time::format_time};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a budget says, without what only its author cares for.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Which pods of its namespace are guarded; a budget without one guards none.
    pub selector: Option<LabelSelector>,
    /// How many of them must stay.
    pub limit: Option<Limit>,
    /// When pods that are not ready may go.
    pub unhealthy: Unhealthy,
    /// What was last found out.
    pub status: BudgetStatus,
}

/// How many pods must stay healthy, or may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `spec.minAvailable`.
    MinAvailable(Amount),
    /// `spec.maxUnavailable`.
    MaxUnavailable(Amount),
}

/// A number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(i64),
    /// So many of a hundred.
    Percent(i64),
}

/// `spec.unhealthyPodEvictionPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhealthy {
    /// Only as long as enough others are healthy.
    IfHealthyBudget,
    /// Always.
    AlwaysAllow,
}

/// `status` of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// The generation that the rest is about.
    pub observed_generation: i64,
    /// How many pods may be evicted now.
    pub disruptions_allowed: i64,
    /// How many guarded pods are healthy.
    pub current_healthy: i64,
    /// How many have to be.
    pub desired_healthy: i64,
    /// How many there should be.
    pub expected_pods: i64,
    /// Pods whose eviction was allowed and has not shown yet, and since when.
    pub disrupted_pods: BTreeMap<String, Timestamp>,
    /// The condition `DisruptionAllowed`.
    pub allowed: Option<Allowed>,
}

/// The condition `DisruptionAllowed`, without its times.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowed {
    /// `True` or `False`.
    pub status: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The same for people.
    #[serde(default)]
    pub message: String,
    /// The generation that it is about.
    #[serde(default)]
    pub observed_generation: i64,
}

impl Budget {
    /// Reads a budget.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).map(Self::of)
    }

    /// Reads a budget that is decoded already.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_object(object: &Value) -> Result<Self, serde_json::Error> {
        Shape::deserialize(object).map(Self::of)
    }

    /// Whether a pod with these labels is guarded by it, when it is in the same namespace.
    pub fn guards(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }

    /// The same.
    pub fn guards_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches_labels(labels))
    }

    fn of(shape: Shape) -> Self {
        let Shape { metadata, spec, status } = shape;
        let selector = Some(&spec.selector).filter(|selector| !selector.is_null());
        let min = Amount::of(&spec.min_available).map(Limit::MinAvailable);
        let unhealthy = match spec.unhealthy_pod_eviction_policy.as_deref() {
            Some("AlwaysAllow") => Unhealthy::AlwaysAllow,
            _ => Unhealthy::IfHealthyBudget,
        };
        Self {
            uid: metadata.uid,
            generation: metadata.generation,
            selector: selector.and_then(|selector| LabelSelector::from_object(selector).ok()),
            // Kubernetes looks at this one first; both together are not valid.
            limit: Amount::of(&spec.max_unavailable).map(Limit::MaxUnavailable).or(min),
            unhealthy,
            status: status.into(),
        }
    }
}

impl Amount {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(count) => count.as_i64().map(Self::Count),
            Value::String(share) => share.strip_suffix('%')?.parse().ok().map(Self::Percent),
            _ => None,
        }
    }

    /// How many pods of `all` that is; a part of a pod counts as one.
    pub fn of_all(self, all: i64) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => percent.saturating_mul(all).saturating_add(99).div_euclid(100),
        }
    }

    /// The same; a part of a pod counts as none.
    pub fn of_all_rounded_down(self, all: i64) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => percent.saturating_mul(all).div_euclid(100),
        }
    }
}

impl BudgetStatus {
    /// Says in the condition what the numbers say.
    pub fn tell_allowed(&mut self) {
        let (status, reason) = if self.disruptions_allowed > 0 {
            ("True", SUFFICIENT_PODS)
        } else {
            ("False", INSUFFICIENT_PODS)
        };
        self.allowed = Some(Allowed {
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: self.observed_generation,
        });
    }

    /// Says in the condition that the numbers could not be found out, and why.
    pub fn tell_failed(&mut self, message: String) {
        self.allowed = Some(Allowed {
            status: "False".to_owned(),
            reason: SYNC_FAILED.to_owned(),
            message,
            observed_generation: self.observed_generation,
        });
    }

    /// Writes it into the budget; other conditions stay.
    pub fn write(&self, budget: &mut Value, now: Timestamp) {
        let mut conditions = budget["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if let Some(allowed) = &self.allowed {
            allowed.write(&mut conditions, now);
        }
        let mut status = json!({
            "currentHealthy": self.current_healthy,
            "desiredHealthy": self.desired_healthy,
            "disruptionsAllowed": self.disruptions_allowed,
            "expectedPods": self.expected_pods,
        });
        if self.observed_generation != 0 {
            status["observedGeneration"] = self.observed_generation.into();
        }
        if !conditions.is_empty() {
            status["conditions"] = conditions.into();
        }
        if !self.disrupted_pods.is_empty() {
            let pods = self.disrupted_pods.iter();
            let pods: Map<_, _> = pods.map(|(name, at)| (name.clone(), format_time(*at).into())).collect();
            status["disruptedPods"] = pods.into();
        }
        budget["status"] = status;
    }
}

impl Allowed {
    fn write(&self, conditions: &mut Vec<Value>, now: Timestamp) {
        let known = conditions.iter().position(|condition| condition["type"] == DISRUPTION_ALLOWED);
        let same = known.filter(|known| conditions[*known]["status"] == self.status.as_str());
        let since = same
            .map_or_else(|| format_time(now).into(), |same| conditions[same]["lastTransitionTime"].clone());
        let mut condition = json!({
            "type": DISRUPTION_ALLOWED,
            "status": self.status,
            "lastTransitionTime": since,
            "reason": self.reason,
            "message": self.message,
        });
        if self.observed_generation != 0 {
            condition["observedGeneration"] = self.observed_generation.into();
        }
        match known {
            Some(known) => conditions[known] = condition,
            None => conditions.push(condition),
        }
    }
}

#[derive(Deserialize)]
struct Shape {
    metadata: MetaShape,
    #[serde(default)]
    spec: SpecShape,
    #[serde(default)]
    status: StatusShape,
}

#[derive(Deserialize)]
struct MetaShape {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecShape {
    selector: Value,
    min_available: Value,
    max_unavailable: Value,
    unhealthy_pod_eviction_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusShape {
    observed_generation: i64,
    disruptions_allowed: i64,
    current_healthy: i64,
    desired_healthy: i64,
    expected_pods: i64,
    disrupted_pods: Option<BTreeMap<String, Timestamp>>,
    conditions: Vec<ConditionShape>,
}

#[derive(Deserialize)]
struct ConditionShape {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    allowed: Allowed,
}

impl From<StatusShape> for BudgetStatus {
    fn from(shape: StatusShape) -> Self {
        let allowed = shape.conditions.into_iter().find(|condition| condition.kind == DISRUPTION_ALLOWED);
        Self {
            observed_generation: shape.observed_generation,
            disruptions_allowed: shape.disruptions_allowed,
            current_healthy: shape.current_healthy,
            desired_healthy: shape.desired_healthy,
            expected_pods: shape.expected_pods,
            disrupted_pods: shape.disrupted_pods.unwrap_or_default(),
            allowed: allowed.map(|condition| condition.allowed),
        }
    }
}

/// Type of the condition that says whether anything may be evicted.
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// Its reason when something may.
const SUFFICIENT_PODS: &str = "SufficientPods";

/// Its reason when nothing may.
const INSUFFICIENT_PODS: &str = "InsufficientPods";

/// Its reason when the numbers could not be found out.
pub const SYNC_FAILED: &str = "SyncFailed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_guards_what_it_selects() {
        let check = |selector: Value, expected: bool| {
            let budget =
                Budget::from_object(&json!({"metadata": {}, "spec": {"selector": selector}})).unwrap();
            assert_eq!(budget.guards(json!({"a": "b"}).as_object()), expected, "{selector}");
        };
        check(Value::Null, false);
        check(json!({}), true);
        check(json!({"matchLabels": {"a": "b"}}), true);
        check(json!({"matchLabels": {"a": "c"}}), false);
        check(json!({"matchExpressions": [{"key": "a", "operator": "Some"}]}), false);
    }

    #[test]
    fn shares_are_rounded_up() {
        let check = |value: Value, all, expected| {
            assert_eq!(Amount::of(&value).map(|amount| amount.of_all(all)), expected, "{value} of {all}");
        };
        check(json!(3), 10, Some(3));
        check(json!("30%"), 10, Some(3));
        check(json!("31%"), 10, Some(4));
        check(json!("0%"), 10, Some(0));
        check(json!("100%"), 7, Some(7));
        check(json!("some"), 7, None);
        check(Value::Null, 7, None);
    }

    #[test]
    fn a_status_is_read_as_it_was_written() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut status = BudgetStatus {
            observed_generation: 2,
            disruptions_allowed: 1,
            current_healthy: 3,
            desired_healthy: 2,
            expected_pods: 3,
            disrupted_pods: BTreeMap::from([("p".to_owned(), at(5))]),
            allowed: None,
        };
        status.tell_allowed();
        let mut budget =
            json!({"metadata": {}, "status": {"conditions": [{"type": "Other", "status": "True"}]}});
        status.write(&mut budget, at(7));
        assert_eq!(Budget::from_object(&budget).unwrap().status, status);
        assert_eq!(budget["status"]["conditions"][0]["type"], "Other");
        let since = |budget: &Value| budget["status"]["conditions"][1]["lastTransitionTime"].clone();
        assert_eq!(since(&budget), "1970-01-01T00:00:07Z");
        status.write(&mut budget, at(8));
        assert_eq!(since(&budget), "1970-01-01T00:00:07Z");
        status.disruptions_allowed = 0;
        status.tell_allowed();
        status.write(&mut budget, at(9));
        assert_eq!(since(&budget), "1970-01-01T00:00:09Z");
        assert_eq!(budget["status"]["conditions"][1]["reason"], "InsufficientPods");
    }
}

//! Evictions: whether a pod may go, as far as PodDisruptionBudgets are concerned, and what that takes from the budget.
//!
//! What is decided here is written together with the pod's deletion, on condition that pod and budget are as they were looked at.
//! So nothing has to be guarded against that comes between, and a budget is charged for nothing.

use jiff::Timestamp;
use serde_json::Value;

use crate::budget::{Budget, BudgetStatus, SYNC_FAILED, Unhealthy};

/// A pod may be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// The budgets stay as they are.
    Free,
    /// The budget gets this status.
    Charged(BudgetStatus),
}

/// A pod may not be evicted; the messages are Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than one budget guards it.
    #[error(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )]
    Several,
    /// It is not known yet what the budget allows.
    #[error("The disruption budget {0} is still being processed by the server.")]
    Unobserved(String),
    /// The budget cannot be trusted.
    #[error("{1}")]
    Broken(String, &'static str),
    /// The budget allows no more disruptions; this is why.
    #[error("{0}")]
    Exhausted(String),
}

/// Whether no budget is asked about a pod: it does not serve yet, or not any more.
pub fn is_exempt(pod: &Value) -> bool {
    let is_deleting = !pod["metadata"]["deletionTimestamp"].is_null();
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    is_deleting || matches!(phase, "Pending" | "Succeeded" | "Failed")
}

/// Whether a pod that is not exempt may be evicted, and which of the budgets of its namespace guards it.
///
/// # Errors
/// Why it may not.
pub fn permit(
    pod: &Value,
    budgets: &[(String, Budget)],
    now: Timestamp,
) -> Result<Option<(usize, Permit)>, Refusal> {
    let labels = pod["metadata"]["labels"].as_object();
    let mut guarding = budgets.iter().enumerate().filter(|(_, (_, budget))| budget.guards(labels));
    let Some((position, (name, budget))) = guarding.next() else { return Ok(None) };
    if guarding.next().is_some() {
        return Err(Refusal::Several);
    }
    let permit = if !is_ready(pod) && may_go_unready(budget) {
        // It does not count as healthy, so that its end takes nothing away.
        Permit::Free
    } else {
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        Permit::Charged(charge(name, budget, pod, now)?)
    };
    Ok(Some((position, permit)))
}

fn may_go_unready(budget: &Budget) -> bool {
    let BudgetStatus { current_healthy, desired_healthy, .. } = budget.status;
    budget.unhealthy == Unhealthy::AlwaysAllow || (current_healthy >= desired_healthy && desired_healthy > 0)
}

/// The status of the budget once this pod is evicted.
fn charge(name: &str, budget: &Budget, pod: &str, now: Timestamp) -> Result<BudgetStatus, Refusal> {
    let mut status = budget.status.clone();
    if status.observed_generation < budget.generation {
        return Err(Refusal::Unobserved(name.to_owned()));
    }
    if status.disruptions_allowed < 0 {
        return Err(Refusal::Broken(name.to_owned(), "pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.len() > DISRUPTED_PODS_MAX {
        let detail = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Refusal::Broken(name.to_owned(), detail));
    }
    if status.disruptions_allowed == 0 {
        return Err(Refusal::Exhausted(why_exhausted(name, &status)));
    }
    status.disruptions_allowed -= 1;
    if status.disruptions_allowed == 0 {
        status.tell_allowed();
    }
    status.disrupted_pods.insert(pod.to_owned(), now);
    Ok(status)
}

fn why_exhausted(name: &str, status: &BudgetStatus) -> String {
    let denied = format!("The disruption budget {name} does not allow evicting pods currently");
    let BudgetStatus { current_healthy, desired_healthy, .. } = status;
    let told =
        status.allowed.as_ref().filter(|allowed| allowed.status == "False" && !allowed.message.is_empty());
    match told {
        // The numbers are old then.
        Some(told) if told.reason == SYNC_FAILED => {
            format!("{denied} because it failed sync: {}", told.message)
        }
        _ if current_healthy <= desired_healthy => {
            format!(
                "The disruption budget {name} needs {desired_healthy} healthy pods and has {current_healthy} currently"
            )
        }
        Some(told) => format!("{denied} ({}): {}", told.reason, told.message),
        None => denied,
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|condition| condition["type"] == "Ready").any(|condition| condition["status"] == "True")
}

/// Evictions that a budget may hold without the controller having seen them.
const DISRUPTED_PODS_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn pod(ready: &str) -> Value {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "status": {"phase": "Running", "conditions": conditions}})
    }

    fn budget(name: &str, spec: Value, status: Value) -> (String, Budget) {
        let mut object = json!({"metadata": {"generation": 2}, "spec": spec, "status": status});
        object["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
        (name.to_owned(), Budget::from_object(&object).unwrap())
    }

    #[test]
    fn pods_that_do_not_serve_are_exempt() {
        let check = |pod: Value, expected| assert_eq!(is_exempt(&pod), expected, "{pod}");
        check(json!({"metadata": {}, "status": {"phase": "Running"}}), false);
        check(json!({"metadata": {}, "status": {"phase": "Pending"}}), true);
        check(json!({"metadata": {}, "status": {"phase": "Failed"}}), true);
        check(json!({"metadata": {}, "status": {"phase": "Succeeded"}}), true);
        check(json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}}), true);
    }

    #[test]
    fn pods_without_a_budget_are_free() {
        let other = ("o".to_owned(), Budget::from_object(&json!({"metadata": {}, "spec": {}})).unwrap());
        assert_eq!(permit(&pod("True"), &[other], NOW), Ok(None));
    }

    #[test]
    fn a_ready_pod_is_charged_to_its_budget() {
        let status = json!({"observedGeneration": 2, "disruptionsAllowed": 2, "currentHealthy": 3, "desiredHealthy": 1});
        let allowed = permit(&pod("True"), &[budget("b", json!({}), status)], NOW).unwrap();
        let Some((_, Permit::Charged(first))) = allowed else { panic!("{allowed:?}") };
        assert_eq!((first.disruptions_allowed, first.allowed.clone()), (1, None));
        assert_eq!(first.disrupted_pods.get("p"), Some(&NOW));
        let again = Budget { status: first, ..budget("b", json!({}), json!({})).1 };
        let allowed = permit(&pod("True"), &[("b".to_owned(), again)], NOW).unwrap();
        let Some((_, Permit::Charged(last))) = allowed else { panic!("{allowed:?}") };
        assert_eq!(last.allowed.map(|allowed| allowed.reason).as_deref(), Some("InsufficientPods"));
    }

    #[test]
    fn a_pod_that_is_not_ready_may_go_by_its_budgets_policy() {
        let check = |spec: Value, (healthy, desired): (i64, i64), expected: Result<(), &str>| {
            let status =
                json!({"observedGeneration": 2, "currentHealthy": healthy, "desiredHealthy": desired});
            let found = permit(&pod("False"), &[budget("b", spec, status)], NOW);
            match expected {
                Ok(()) => assert_eq!(found, Ok(Some((0, Permit::Free)))),
                Err(message) => assert_eq!(found.unwrap_err().to_string(), message),
            }
        };
        let refused = "The disruption budget b needs 2 healthy pods and has 1 currently";
        check(json!({}), (1, 2), Err(refused));
        check(json!({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}), (1, 2), Err(refused));
        check(json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), (1, 2), Ok(()));
        check(json!({}), (2, 2), Ok(()));
        check(json!({}), (0, 0), Err("The disruption budget b needs 0 healthy pods and has 0 currently"));
    }

    #[test]
    fn refusals_say_why() {
        let check = |status: Value, expected: &str| {
            let found = permit(&pod("True"), &[budget("b", json!({}), status)], NOW);
            assert_eq!(found.unwrap_err().to_string(), expected);
        };
        check(
            json!({"observedGeneration": 1}),
            "The disruption budget b is still being processed by the server.",
        );
        check(
            json!({"observedGeneration": 2, "disruptionsAllowed": -1}),
            "pdb disruptions allowed is negative",
        );
        let condition = |reason| json!([{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": "m"}]);
        check(
            json!({"observedGeneration": 2, "conditions": condition("SyncFailed")}),
            "The disruption budget b does not allow evicting pods currently because it failed sync: m",
        );
        check(
            json!({"observedGeneration": 2, "currentHealthy": 1, "conditions": condition("Other")}),
            "The disruption budget b does not allow evicting pods currently (Other): m",
        );
        check(
            json!({"observedGeneration": 2, "currentHealthy": 1}),
            "The disruption budget b does not allow evicting pods currently",
        );
        let pods: serde_json::Map<_, _> =
            (0..=DISRUPTED_PODS_MAX).map(|n| (n.to_string(), "2026-01-01T00:00:00Z".into())).collect();
        check(
            json!({"observedGeneration": 2, "disruptionsAllowed": 1, "disruptedPods": pods}),
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        );
        let two = [budget("b", json!({}), json!({})), budget("c", json!({}), json!({}))];
        assert_eq!(permit(&pod("True"), &two, NOW), Err(Refusal::Several));
    }
}

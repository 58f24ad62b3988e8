//! PodDisruptionBudgets: how many of the pods that a budget guards are healthy, how many have to be, and so how many may go.
//!
//! As Kubernetes' disruption controller. What an evictor wrote into the budget meanwhile wins: an update names the status that it
//! was made from, and is dropped when the budget says something else by now. That is a change, and asks again.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use dunlin_api::{Kind, kind};
use dunlin_link::PodUid;
use jiff::{SignedDuration, Timestamp};

use super::{Action, Plan};
use crate::{
    budget::{Amount, Budget, BudgetStatus, Limit},
    view::{Controller, ObjectId, ObjectKey, PodInfo, Resource, View},
};

/// A new status of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetUpdate {
    /// The budget.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The generation that was looked at.
    pub generation: i64,
    /// The status that was looked at.
    pub seen: BudgetStatus,
    /// The status that it gets.
    pub status: BudgetStatus,
    /// What people should hear of it.
    pub notices: Vec<Notice>,
}

/// What is told about a budget along with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It guards no pod.
    NoPods,
    /// It cannot be found out how many pods there should be; this is why.
    NotExpected(String),
    /// A pod whose eviction was allowed is still there.
    NotDeleted(ObjectKey, PodUid),
}

/// What to do about the budget `key`.
pub fn reconcile(view: &View, key: &ObjectKey, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let Some(budget) = view.budget(key) else { return plan };
    let pods: Pods<'_> = view
        .pods_of(&key.namespace)
        .filter(|(_, pod)| budget.guards_labels(&pod.affiliation.labels))
        .map(|(key, pod)| (key, &**pod))
        .collect();
    let mut notices = Vec::new();
    if pods.is_empty() {
        notices.push(Notice::NoPods);
    }
    let status = match Expected::of(view, budget, &pods) {
        Ok(expected) => {
            let disrupted = still_awaited(budget, &pods, now, &mut notices);
            if let Some(first) = disrupted.values().min() {
                plan.wake_at(*first + DELETION_TIMEOUT);
            }
            found_out(budget, &expected, healthy(&pods, &disrupted), disrupted)
        }
        Err(why) => {
            notices.push(Notice::NotExpected(why.to_string()));
            let mut status = budget.status.clone();
            status.disruptions_allowed = 0;
            status.tell_failed(why.to_string());
            status
        }
    };
    if status != budget.status {
        plan.actions.push(Action::UpdateBudget(Box::new(BudgetUpdate {
            key: key.clone(),
            uid: budget.uid.clone(),
            generation: budget.generation,
            seen: budget.status.clone(),
            status,
            notices,
        })));
    }
    plan
}

type Pods<'a> = Vec<(&'a ObjectKey, &'a PodInfo)>;

/// How many pods there should be, and how many of them healthy.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    pods: i64,
    healthy: i64,
}

/// Why that is not known; the messages are Kubernetes'.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unexpected {
    #[error("no matches for kind \"{kind}\" in version \"{version}\"")]
    UnknownKind { kind: String, version: String },
    #[error("{0} does not implement the scale subresource")]
    Unscaled(String),
    #[error("found no controllers for pod \"{0}\"")]
    Unmanaged(Arc<str>),
}

impl Expected {
    fn of(view: &View, budget: &Budget, pods: &Pods<'_>) -> Result<Self, Unexpected> {
        Ok(match budget.limit {
            None => Self { pods: 0, healthy: 0 },
            Some(Limit::MinAvailable(Amount::Count(healthy))) => {
                Self { pods: i64::try_from(pods.len()).unwrap_or(i64::MAX), healthy }
            }
            Some(Limit::MinAvailable(share @ Amount::Percent(_))) => {
                let pods = total_scale(view, pods)?;
                Self { pods, healthy: share.of_all(pods) }
            }
            Some(Limit::MaxUnavailable(amount)) => {
                let pods = total_scale(view, pods)?;
                Self { pods, healthy: pods.saturating_sub(amount.of_all(pods)).max(0) }
            }
        })
    }
}

/// How many pods the controllers of these pods want together. Pods without a controller count for nothing.
fn total_scale(view: &View, pods: &Pods<'_>) -> Result<i64, Unexpected> {
    let mut scales: HashMap<&str, i64> = HashMap::new();
    let mut known = HashSet::new();
    for (key, pod) in pods {
        let Some(controller) = &pod.affiliation.controller else { continue };
        if !known.insert(&controller.uid) {
            continue;
        }
        let (uid, replicas) = scale(view, &key.namespace, controller)?
            .ok_or_else(|| Unexpected::Unmanaged(Arc::clone(&key.name)))?;
        scales.insert(uid, replicas);
    }
    Ok(scales.values().fold(0, |sum: i64, replicas| sum.saturating_add(*replicas)))
}

/// Uid and replicas of the workload that a pod's controller is, or is part of.
fn scale<'a>(
    view: &'a View,
    namespace: &Arc<str>,
    controller: &Controller,
) -> Result<Option<(&'a str, i64)>, Unexpected> {
    let Controller { api_version, kind, name, uid } = controller;
    let Some(found) = kind::by_kind(api_version, kind) else {
        return Err(Unexpected::UnknownKind { kind: kind.clone(), version: api_version.clone() });
    };
    if found.scale.is_none() {
        return Err(Unexpected::Unscaled(group_resource(found)));
    }
    let key = ObjectKey { namespace: Arc::clone(namespace), name: name.as_str().into() };
    let workload = view.workloads().get(&ObjectId { resource: Resource::of(found), key });
    let Some(workload) = workload.filter(|workload| *workload.meta().uid == **uid) else { return Ok(None) };
    // While a Deployment rolls, several ReplicaSets of it have pods, and none of them its scale.
    let deployment = workload.meta().controller.as_ref().filter(|owner| owner.kind == DEPLOYMENT);
    let whole = deployment.filter(|_| found.kind == REPLICA_SET);
    let whole = whole.and_then(|owner| scale(view, namespace, owner).ok().flatten());
    Ok(Some(whole.unwrap_or_else(|| (&workload.meta().uid, workload.replicas().unwrap_or_default()))))
}

fn group_resource(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}

/// The pods whose eviction was allowed, and that are neither being deleted nor overdue.
fn still_awaited(
    budget: &Budget,
    pods: &Pods<'_>,
    now: Timestamp,
    notices: &mut Vec<Notice>,
) -> BTreeMap<String, Timestamp> {
    let mut awaited = BTreeMap::new();
    for (key, pod) in pods.iter().filter(|(_, pod)| pod.deletion.is_none()) {
        match budget.status.disrupted_pods.get(&*key.name) {
            None => {}
            Some(since) if *since + DELETION_TIMEOUT > now => {
                awaited.insert(key.name.to_string(), *since);
            }
            Some(_) => notices.push(Notice::NotDeleted((*key).clone(), pod.uid.clone())),
        }
    }
    awaited
}

fn healthy(pods: &Pods<'_>, disrupted: &BTreeMap<String, Timestamp>) -> i64 {
    let is_healthy = |(key, pod): &&(&ObjectKey, &PodInfo)| {
        let is_ready = pod.ready.as_ref().is_some_and(|(ready, _)| *ready);
        is_ready && pod.deletion.is_none() && !disrupted.contains_key(&*key.name)
    };
    i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i64::MAX)
}

fn found_out(
    budget: &Budget,
    expected: &Expected,
    healthy: i64,
    disrupted_pods: BTreeMap<String, Timestamp>,
) -> BudgetStatus {
    // A budget without pods allows nothing, so that the first of them are safe before they are counted.
    let allowed = if expected.pods > 0 { (healthy - expected.healthy).max(0) } else { 0 };
    let mut status = BudgetStatus {
        observed_generation: budget.generation,
        disruptions_allowed: allowed,
        current_healthy: healthy,
        desired_healthy: expected.healthy,
        expected_pods: expected.pods,
        disrupted_pods,
        allowed: None,
    };
    status.tell_allowed();
    status
}

/// How long a pod may take to be deleted after its eviction was allowed.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// The kinds of which one is part of the other.
const DEPLOYMENT: &str = "Deployment";
const REPLICA_SET: &str = "ReplicaSet";

#[cfg(test)]
mod tests;

//! What a pod that is made, deleted or evicted breaks, on the state of the store after it.

use dunlin_coordinator_core::{
    budget::{Budget, Limit},
    view::{
        ObjectId,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use dunlin_link::NodeName;
use serde_json::Value;

use super::{controller_of, is_ready, root_of, serves};
use crate::{
    keys::{self, DAEMON_SETS, STATEFUL_SETS},
    store::Store,
};

/// What a new pod breaks.
pub(super) fn creation(pod: &Value, root: &ObjectId, store: &Store) -> Option<String> {
    let owner = spec_of(root, store)?;
    let live = live_pods(root, store);
    let bound = |most: i64| {
        let live = i64::try_from(live.len()).unwrap_or(i64::MAX);
        (live > most).then(|| format!("there are {live} pods now, and there may be {most}"))
    };
    let replicas = owner["replicas"].as_i64().unwrap_or(1);
    match root.resource {
        DEPLOYMENTS if owner["strategy"]["type"] == "Recreate" => bound(replicas),
        DEPLOYMENTS => {
            let surge = share(&owner["strategy"]["rollingUpdate"]["maxSurge"], replicas, Round::Up);
            bound(replicas + surge)
        }
        REPLICA_SETS => bound(replicas),
        JOBS => bound(owner["parallelism"].as_i64().unwrap_or(1)),
        STATEFUL_SETS => {
            let ordinal = ordinal_of(pod, root)?;
            let first = owner["ordinals"]["start"].as_i64().unwrap_or_default();
            if ordinal >= first + replicas {
                return Some(format!("there are only {replicas} pods to be"));
            }
            if owner["podManagementPolicy"] == "Parallel" {
                return None;
            }
            let missing = (first..ordinal).find(|before| !stands(*before, root, store))?;
            Some(format!("it is made before number {missing} serves"))
        }
        DAEMON_SETS => {
            let node = daemon_node(pod)?;
            let surge = share(&owner["updateStrategy"]["rollingUpdate"]["maxSurge"], 1, Round::Up);
            let here = live.iter().filter(|other| daemon_node(other) == Some(node)).count();
            (here > 1 + usize::from(surge > 0)).then(|| format!("there are {here} pods of it for {node}"))
        }
        _ => None,
    }
}

/// What a new Job of a CronJob breaks that allows one at a time.
pub(super) fn overlap(job: &Value, store: &Store) -> Option<String> {
    let namespace = job["metadata"]["namespace"].as_str()?;
    let owner = controller_of(job, namespace).filter(|owner| owner.resource == CRON_JOBS)?;
    if spec_of(&owner, store)?["concurrencyPolicy"] != "Forbid" {
        return None;
    }
    let jobs = store.list(&keys::objects(JOBS)).map(|(_, stored)| &*stored.value);
    let mut others = jobs.filter(|other| other["metadata"]["uid"] != job["metadata"]["uid"]);
    let running = others.find(|other| {
        other["metadata"]["ownerReferences"] == job["metadata"]["ownerReferences"]
            && other["metadata"]["deletionTimestamp"].is_null()
            && !has_ended(other)
    })?;
    Some(format!("it is made while {} runs, which its CronJob forbids", running["metadata"]["name"]))
}

/// Whether a Job is over.
pub(crate) fn has_ended(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| {
        (condition["type"] == "Complete" || condition["type"] == "Failed") && condition["status"] == "True"
    })
}

/// What the deletion of a pod that served breaks, when its own controller wanted it.
pub(super) fn deletion(pod: &Value, root: &ObjectId, store: &Store) -> Option<String> {
    let owner = spec_of(root, store)?;
    let live = live_pods(root, store);
    let standing = |pod: &Value| serves(pod) || is_deferred(pod, store);
    let serving = i64::try_from(live.iter().filter(|pod| standing(pod)).count()).unwrap_or(i64::MAX);
    let replicas = owner["replicas"].as_i64().unwrap_or(1);
    let least = |least: i64| {
        (serving < least).then(|| format!("{serving} pods are left that serve, and at least {least} have to"))
    };
    match root.resource {
        DEPLOYMENTS if owner["strategy"]["type"] != "Recreate" => {
            let rolling = &owner["strategy"]["rollingUpdate"];
            let surge = share(&rolling["maxSurge"], replicas, Round::Up);
            let unavailable = share(&rolling["maxUnavailable"], replicas, Round::Down);
            // With neither, nothing could ever be rolled out.
            let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
            least(replicas - unavailable)
        }
        REPLICA_SETS => least(replicas),
        STATEFUL_SETS => {
            let ordinal = ordinal_of(pod, root)?;
            let end = owner["ordinals"]["start"].as_i64().unwrap_or_default() + replicas;
            if ordinal >= end {
                let reached = live.iter().filter(|pod| !is_deferred(pod, store));
                let later = reached.filter_map(|pod| ordinal_of(pod, root)).find(|later| *later > ordinal);
                return later
                    .filter(|_| owner["podManagementPolicy"] != "Parallel")
                    .map(|later| format!("it is deleted before number {later}"));
            }
            // One after the other from the last, as Kubernetes does; what is broken below does not hold it up.
            let missing = (ordinal + 1..end).find(|later| !stands(*later, root, store))?;
            Some(format!("it is replaced while number {missing} does not serve"))
        }
        _ => None,
    }
}

/// What an eviction breaks; budgets count that have said the same for long.
pub(super) fn eviction(pod: &Value, store: &Store, counts: impl Fn(&String) -> bool) -> Option<String> {
    let labels = pod["metadata"]["labels"].as_object();
    let budgets = store.list(&keys::objects(keys::BUDGETS)).filter(|(key, _)| counts(key));
    let budget = budgets
        .filter_map(|(_, stored)| Budget::from_object(&stored.value).ok())
        .find(|budget| budget.guards(labels))?;
    let guarded = store.list(keys::PODS).map(|(_, stored)| stored.value.clone());
    let guarded: Vec<_> =
        guarded.filter(|pod| budget.guards(pod["metadata"]["labels"].as_object())).collect();
    let healthy = i64::try_from(guarded.iter().filter(|pod| serves(pod)).count()).unwrap_or(i64::MAX);
    let root = spec_of(&root_of(pod, store)?, store)?;
    let expected = root["replicas"].as_i64()?;
    let wanted = match budget.limit? {
        Limit::MinAvailable(amount) => amount.of_all(expected),
        Limit::MaxUnavailable(amount) => expected - amount.of_all(expected),
    };
    (healthy < wanted)
        .then(|| format!("its eviction leaves {healthy} healthy, and its budget wants {wanted}"))
}

/// How a part of a pod counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Up,
    Down,
}

/// A number of pods, or so many of a hundred of them; the API has put the default where there was none.
fn share(written: &Value, all: i64, round: Round) -> i64 {
    let percent = written.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    match (percent, round) {
        (None, _) => written.as_i64().unwrap_or_default(),
        (Some(percent), Round::Up) => (percent * all + 99) / 100,
        (Some(percent), Round::Down) => percent * all / 100,
    }
}

/// Whether the pod of this number serves, or is on a silent node: there it is passed over, also when it is to go.
fn stands(wanted: i64, root: &ObjectId, store: &Store) -> bool {
    let mut pods = store.list(keys::PODS).map(|(_, stored)| &*stored.value);
    pods.any(|pod| {
        ordinal_of(pod, root) == Some(wanted)
            && root_of(pod, store).as_ref() == Some(root)
            && (serves(pod) || is_deferred(pod, store))
    })
}

/// Whether a pod is on a node that is silent: rollouts go on without it (`dunlin.dev/offline-policy`).
pub(super) fn is_deferred(pod: &Value, store: &Store) -> bool {
    let Some(node) = pod["spec"]["nodeName"].as_str() else { return false };
    store.get(&keys::node(&NodeName::new(node))).is_none_or(|node| !is_ready(&node.value))
}

/// The number in the name of a StatefulSet's pod.
pub(crate) fn ordinal_of(pod: &Value, set: &ObjectId) -> Option<i64> {
    pod["metadata"]["name"].as_str()?.strip_prefix(&*set.key.name)?.strip_prefix('-')?.parse().ok()
}

/// The node that a DaemonSet's pod is for.
pub(crate) fn daemon_node(pod: &Value) -> Option<&str> {
    let affinity =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    pod.pointer(affinity)?[0]["matchFields"][0]["values"][0].as_str()
}

fn spec_of(id: &ObjectId, store: &Store) -> Option<Value> {
    let stored = store.get(&keys::object(id))?;
    stored.value["metadata"]["deletionTimestamp"].is_null().then(|| stored.value["spec"].clone())
}

/// Pods of a workload that have not ended and are not being deleted.
fn live_pods(root: &ObjectId, store: &Store) -> Vec<Value> {
    let is_live = |pod: &Value| {
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        !ended && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let pods = store.list(keys::PODS).map(|(_, stored)| &*stored.value);
    pods.filter(|pod| is_live(pod) && root_of(pod, store).as_ref() == Some(root)).cloned().collect()
}

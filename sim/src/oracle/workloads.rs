//! What controllers of workloads promise at every step: no rollout takes or makes more than it may, what is ordered goes by its
//! order, and no eviction breaks a budget.
//!
//! A controller decides on what it has seen, so what happened a moment ago excuses it: a workload is *disturbed* for a while after
//! something else than its own controller took a pod of it that served, or somebody changed how many there are to be.

pub(crate) mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dunlin_coordinator_core::{
    ObjectKey,
    view::{
        ObjectId,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use dunlin_link::moment::Moment;
use serde_json::Value;

use crate::{
    keys::{self, DAEMON_SETS, Place, STATEFUL_SETS},
    store::{Change, Store},
    world::workloads::is_broken,
};

/// The watcher of workloads.
#[derive(Debug, Default)]
pub(crate) struct Workloads {
    /// Uids of pods that a controller of workloads has asked to delete.
    deleted: BTreeSet<String>,
    /// When each workload was last disturbed.
    disturbed: BTreeMap<ObjectId, Moment>,
    /// When a client last wanted it to be of a template that cannot work.
    broken_by_client: BTreeMap<ObjectId, Moment>,
    /// When a pod of it that served was last lost to anything but an eviction.
    hurt: BTreeMap<ObjectId, Moment>,
    /// When each budget last came to say something else.
    budgets_changed: BTreeMap<String, Moment>,
    /// Since when pods have served, by uid.
    serving_since: BTreeMap<String, Moment>,
    /// When the coordinator last forgot for how long pods have been ready.
    forgot_times: Option<Moment>,
    /// Its clock jumped: a pod that was ready for a moment may have counted as one that was for a day, and its template as stable.
    clock_jumped: bool,
    /// A store that went back in time does not know what runs, and promises nothing about it.
    was_restored: bool,
}

/// What happened to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    None,
    /// It serves no more, and its workload's controller wanted that.
    Wanted,
    /// It was evicted.
    Evicted,
    /// It serves no more.
    Other,
}

impl Workloads {
    /// A controller of workloads deletes a pod.
    pub(crate) fn deletes(&mut self, uid: &str) {
        self.deleted.insert(uid.to_owned());
    }

    /// A client wants a workload to be of a template that cannot work.
    pub(crate) fn breaks(&mut self, id: &ObjectId, now: Moment) {
        self.broken_by_client.insert(id.clone(), now);
    }

    /// The coordinator started: it may not know any more for how long a pod has been ready.
    pub(crate) const fn forgets_times(&mut self, now: Moment) {
        self.forgot_times = Some(now);
    }

    /// Its clock jumps.
    pub(crate) const fn clock_jumps(&mut self, now: Moment) {
        self.forgot_times = Some(now);
        self.clock_jumped = true;
    }

    pub(crate) const fn restored(&mut self) {
        self.was_restored = true;
    }

    /// What became visible together; what it breaks, in words.
    pub(crate) fn committed(&mut self, changes: &[Change], store: &Store, now: Moment) -> Option<String> {
        if self.was_restored {
            return None;
        }
        for change in changes {
            self.note_disturbance(change, store, now);
        }
        changes.iter().find_map(|change| self.check(change, store, now))
    }

    fn note_disturbance(&mut self, change: &Change, store: &Store, now: Moment) {
        let (before, after) = sides(change);
        match Place::of(&change.key) {
            Place::Pod(_) => {
                let loss = self.loss(before, after);
                if let Some(pod) = after.filter(|after| serves(after) && !before.is_some_and(serves)) {
                    self.serving_since.insert(uid(pod).to_owned(), now);
                }
                let Some(root) = before.and_then(|before| root_of(before, store)) else { return };
                let is_there = |side: Option<&Value>| {
                    side.is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_null())
                };
                let is_taken = is_there(before)
                    && !is_there(after)
                    && !before.is_some_and(|before| self.deleted.contains(uid(before)));
                if matches!(loss, Loss::Evicted | Loss::Other) || is_taken {
                    self.disturbed.insert(root.clone(), now);
                }
                if matches!(loss, Loss::Wanted | Loss::Other) {
                    self.hurt.insert(root, now);
                }
            }
            Place::Object(id) if id.resource == keys::BUDGETS && differs(before, after, "/spec") => {
                self.budgets_changed.insert(change.key.clone(), now);
            }
            Place::Object(id) if WANTED.iter().any(|path| differs(before, after, path)) => {
                self.disturbed.insert(id.clone(), now);
                self.hurt.insert(id, now);
            }
            // Pods on a silent node stand until it is heard of again, or until they are given up.
            Place::Node(name) if before.is_some_and(is_ready) != after.is_some_and(is_ready) => {
                for (_, pod) in store.list(keys::PODS) {
                    let is_there = pod.value["spec"]["nodeName"] == name.as_str();
                    if let Some(root) = root_of(&pod.value, store).filter(|_| is_there) {
                        self.disturbed.insert(root, now);
                    }
                }
            }
            // Which nodes a DaemonSet is for rests on what is said of them.
            Place::Node(_) if differs(before, after, "/spec") => {
                for (key, _) in store.list(&keys::objects(DAEMON_SETS)) {
                    if let Place::Object(id) = Place::of(key) {
                        self.disturbed.insert(id, now);
                    }
                }
            }
            _ => {}
        }
    }

    fn loss(&self, before: Option<&Value>, after: Option<&Value>) -> Loss {
        let Some(before) = before.filter(|before| serves(before)) else { return Loss::None };
        let same = after.filter(|after| uid(after) == uid(before));
        if same.is_some_and(serves) {
            Loss::None
        } else if self.deleted.contains(uid(before)) {
            Loss::Wanted
        } else if same.is_some_and(is_evicted) {
            Loss::Evicted
        } else {
            Loss::Other
        }
    }

    /// Nobody but a client brings a template that cannot work, so that no rollback goes round in a circle.
    fn check_template(
        &self,
        id: &ObjectId,
        before: Option<&Value>,
        after: Option<&Value>,
        now: Moment,
    ) -> Option<String> {
        if self.clock_jumped {
            return None;
        }
        let is_root = [DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS].contains(&id.resource);
        let breaks = |object: Option<&Value>| object.is_some_and(|object| is_broken(&object["spec"]));
        let by_client = self.broken_by_client.get(id).is_some_and(|at| now.since(*at) < REQUEST_MAX);
        (is_root && breaks(after) && !breaks(before) && !by_client)
            .then(|| format!("{} {} is broken again, and no client wants that", id.resource.plural, id.key))
    }

    fn has_served(&self, pod: &Value, now: Moment) -> bool {
        self.serving_since.get(uid(pod)).is_some_and(|since| now.since(*since) > EXCUSE)
    }

    fn check(&self, change: &Change, store: &Store, now: Moment) -> Option<String> {
        let (before, after) = sides(change);
        let key = match Place::of(&change.key) {
            Place::Pod(key) => key,
            Place::Object(id) if id.resource == JOBS && before.is_none() => {
                return rules::overlap(after?, store).map(|why| format!("{}: {why}", id.key));
            }
            Place::Object(id) => return self.check_template(&id, before, after, now),
            _ => return None,
        };
        let pod = before.or(after)?;
        let root = root_of(pod, store)?;
        let waits =
            store.get(&keys::object(&root)).is_some_and(|root| root.value["spec"]["minReadySeconds"] != 0);
        let counts_anew = waits && self.forgot_times.is_some_and(|at| now.since(at) <= EXCUSE);
        let is_calm = |since: &BTreeMap<ObjectId, Moment>| {
            !counts_anew && since.get(&root).is_none_or(|since| now.since(*since) > EXCUSE)
        };
        let broken = match self.loss(before, after) {
            Loss::None if before.is_none() && is_calm(&self.disturbed) => rules::creation(pod, &root, store),
            // One that was chosen because it did not serve may have begun to meanwhile.
            Loss::Wanted if is_calm(&self.disturbed) && self.has_served(pod, now) => {
                rules::deletion(pod, &root, store)
            }
            Loss::Evicted if is_calm(&self.hurt) => {
                let said_long_ago = |budget: &String| {
                    self.budgets_changed.get(budget).is_none_or(|since| now.since(*since) > EXCUSE)
                };
                rules::eviction(pod, store, said_long_ago)
            }
            _ => None,
        };
        broken.map(|why| format!("{key} of {} {}: {why}", root.resource.plural, root.key))
    }
}

fn sides(change: &Change) -> (Option<&Value>, Option<&Value>) {
    (change.before.as_ref().map(|stored| &*stored.value), change.after.as_ref().map(|stored| &*stored.value))
}

fn differs(before: Option<&Value>, after: Option<&Value>, path: &str) -> bool {
    let at = |side: Option<&Value>| side.and_then(|side| side.pointer(path)).cloned();
    at(before) != at(after)
}

/// The workload that nobody controls to which a pod belongs.
pub(crate) fn root_of(pod: &Value, store: &Store) -> Option<ObjectId> {
    let namespace = pod["metadata"]["namespace"].as_str()?;
    let first = controller_of(pod, namespace)?;
    let Some(stored) = store.get(&keys::object(&first)) else { return Some(first) };
    Some(controller_of(&stored.value, namespace).unwrap_or(first))
}

pub(crate) fn controller_of(object: &Value, namespace: &str) -> Option<ObjectId> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let plural = match owner["kind"].as_str()? {
        "ReplicaSet" => REPLICA_SETS,
        "Deployment" => DEPLOYMENTS,
        "StatefulSet" => STATEFUL_SETS,
        "DaemonSet" => DAEMON_SETS,
        "Job" => JOBS,
        "CronJob" => CRON_JOBS,
        _ => return None,
    };
    Some(ObjectId { resource: plural, key: ObjectKey::new(namespace, owner["name"].as_str()?) })
}

/// Whether a pod counts as available.
pub(super) fn serves(pod: &Value) -> bool {
    // One that its node refused after all, as the other copy of a cloned node does, keeps the conditions that it had.
    let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    pod["metadata"]["deletionTimestamp"].is_null() && !has_ended && is_ready(pod)
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn is_evicted(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["reason"] == "EvictionByEvictionAPI")
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Fields that say how many pods there are to be at least and at most.
const WANTED: [&str; 7] = [
    "/metadata/uid",
    "/spec/replicas",
    "/spec/strategy",
    "/spec/updateStrategy",
    "/spec/parallelism",
    "/spec/suspend",
    "/spec/minReadySeconds",
];

/// How long a client's request may be on its way.
const REQUEST_MAX: Duration = Duration::from_secs(60);

/// How long a disturbance excuses what is decided: decisions pass through several controllers and a disk that may be slow.
const EXCUSE: Duration = Duration::from_secs(30);

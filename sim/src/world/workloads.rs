//! What clients want of workloads: manifests that they apply, change, and take away again, and nodes that they drain.
//!
//! A client keeps its manifests, as one who has them in a repository does, and applies them again when all faults are over.

use dunlin_coordinator_core::{
    ObjectKey,
    view::{
        ObjectId, Resource,
        workload::{DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

use super::{World, clients::IMAGE};
use crate::{coordinator::Request, keys, node::BROKEN};

impl World {
    /// Something about a workload, or a drain.
    pub(super) fn draw_workload_request(&mut self) -> Option<Request> {
        if self.clients.random_bool(0.15) {
            return self.draw_drain();
        }
        let kinds = &self.shape.workloads;
        let resource = *kinds.choose(&mut self.clients)?;
        let name = format!("{}{}", short(resource), self.clients.random_range(0..NAMES));
        let id = ObjectId { resource, key: ObjectKey::new("s", &name) };
        match self.manifests.get(&id).cloned() {
            Some(_) if self.clients.random_bool(0.15) => {
                self.manifests.remove(&id);
                Some(Request::Delete(id))
            }
            // What a Job is to do cannot be changed.
            Some(_) if resource == JOBS => None,
            known => {
                let manifest = match known {
                    Some(mut manifest) => {
                        self.change(&id, &mut manifest);
                        manifest
                    }
                    None => self.draw_manifest(&id),
                };
                self.manifests.insert(id.clone(), manifest.clone());
                Some(Request::Apply(id, manifest))
            }
        }
    }

    /// What the clients want of every workload once nothing goes wrong any more.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&ObjectId, &Value)> {
        self.manifests.iter()
    }

    /// Lets go on what is held up by its author.
    pub(super) fn release_workloads(&mut self) {
        for (id, manifest) in &mut self.manifests {
            let spec = &mut manifest["spec"];
            if is_broken(spec) {
                set_version(spec, "mended");
            }
            if id.resource == keys::DAEMON_SETS {
                // One node after the other takes longer than anybody waits here.
                spec["updateStrategy"]["rollingUpdate"] = json!({ "maxUnavailable": "50%", "maxSurge": 0 });
            }
            if spec["paused"] == true {
                spec["paused"] = false.into();
            }
            let metadata = &mut manifest["metadata"];
            if !metadata["annotations"].is_null() {
                // What was rolled back from in bad times is to be tried again.
                metadata["annotations"]["dunlin.dev/auto-rollback"] = "false".into();
            }
            let spec = &mut manifest["spec"];
            if !spec["updateStrategy"]["rollingUpdate"]["partition"].is_null() {
                spec["updateStrategy"]["rollingUpdate"]["partition"] = 0.into();
            }
        }
    }

    /// Everything on a node, as `kubectl drain` evicts it; the last one is left to the caller.
    fn draw_drain(&mut self) -> Option<Request> {
        let node = self.nodes[self.clients.random_range(0..self.shape.nodes)].name.clone();
        let pods = self.coordinator.store.list(keys::PODS).map(|(_, stored)| &stored.value);
        let drained = pods.filter(|pod| {
            pod["spec"]["nodeName"] == node.as_str() && !pod["metadata"]["ownerReferences"].is_null()
        });
        let mut evictions: Vec<Request> = drained.map(|pod| Request::Evict(keys::name_of(pod))).collect();
        let last = evictions.pop();
        if self.coordinator.is_up() {
            evictions.into_iter().for_each(|eviction| self.ask(eviction));
        }
        last
    }

    fn change(&mut self, id: &ObjectId, manifest: &mut Value) {
        let spec = &mut manifest["spec"];
        match self.clients.random_range(0..10) {
            8 if id.resource == keys::BUDGETS => *manifest = self.draw_manifest(id),
            0..=4 if id.resource != keys::BUDGETS => {
                let version = self.clients.random_range(0..VERSIONS);
                // Only where somebody looks after it: what is broken is not available while it comes and goes.
                let may_break = id.resource == DEPLOYMENTS && spec["minReadySeconds"] == 5;
                let breaks = may_break && self.clients.random_bool(0.3);
                set_version(spec, &if breaks { BROKEN.to_owned() } else { version.to_string() });
            }
            5..=7 if !spec["replicas"].is_null() => {
                spec["replicas"] = self.clients.random_range(0..=replicas_max(self.shape.nodes)).into();
            }
            8 if id.resource == DEPLOYMENTS => {
                spec["paused"] = self.clients.random_bool(0.5).into();
            }
            8 if id.resource == keys::STATEFUL_SETS => {
                spec["updateStrategy"]["rollingUpdate"]["partition"] = self.clients.random_range(0..3).into();
            }
            _ => {}
        }
    }

    fn draw_manifest(&mut self, id: &ObjectId) -> Value {
        let labels = json!({ "app": &*id.key.name });
        let kind = id.resource.kind().expect("clients apply what is served");
        let mut manifest = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": { "name": &*id.key.name, "namespace": &*id.key.namespace, "labels": labels },
            "spec": {},
        });
        let rng = &mut self.clients;
        let replicas = rng.random_range(0..=replicas_max(self.shape.nodes));
        let mut policy = None;
        let spec = &mut manifest["spec"];
        if id.resource != keys::BUDGETS && id.resource != JOBS {
            spec["selector"] = json!({ "matchLabels": labels });
            spec["template"] = json!({ "metadata": {
                "labels": labels, "annotations": { "version": rng.random_range(0..VERSIONS).to_string() },
            } });
            spec["minReadySeconds"] = [0, 0, 0, 5][rng.random_range(0..4)].into();
        }
        let mut amount = |from: usize| draw_amount(from, rng);
        match id.resource {
            keys::BUDGETS => {
                // Guards the workload of the same number that its name stands for.
                let guarded = id.key.name.replacen('b', "d", 1);
                let guarded = if amount(0) == 0 { guarded.replacen('d', "s", 1) } else { guarded };
                let limit = if amount(0) == 1 { "minAvailable" } else { "maxUnavailable" };
                *spec = json!({ "selector": { "matchLabels": { "app": guarded } }, limit: amount(0) });
            }
            DEPLOYMENTS => policy = Some(draw_deployment(spec, replicas, rng)),
            keys::STATEFUL_SETS => {
                spec["replicas"] = replicas.into();
                spec["serviceName"] = "none".into();
                // It cannot be changed, and the one before may still be there.
                let policy = if id.key.name.ends_with('1') { "Parallel" } else { "OrderedReady" };
                spec["podManagementPolicy"] = policy.into();
            }
            keys::DAEMON_SETS => {
                let rolling = match rng.random_range(0..3) {
                    0 => json!({ "maxSurge": 1, "maxUnavailable": 0 }),
                    1 => json!({ "maxUnavailable": "50%" }),
                    _ => json!({ "maxUnavailable": 1 }),
                };
                spec["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": rolling });
            }
            JOBS => {
                let completions = rng.random_range(1..=5);
                let mode = if rng.random_bool(0.5) { "Indexed" } else { "NonIndexed" };
                *spec = json!({
                    "completions": completions, "parallelism": rng.random_range(1..=3), "completionMode": mode,
                    "backoffLimit": rng.random_range(0..4),
                    "template": { "metadata": { "labels": labels } },
                });
            }
            _ => spec["replicas"] = replicas.into(),
        }
        if id.resource != keys::BUDGETS {
            spec["template"]["spec"] = self.draw_pod_spec(id.resource);
        }
        if let Some(policy) = policy {
            manifest["metadata"]["annotations"] = json!({ "dunlin.dev/auto-rollback": policy });
        }
        manifest
    }

    fn draw_pod_spec(&mut self, resource: Resource) -> Value {
        let rng = &mut self.clients;
        let tolerated = rng.random_range(0..=120);
        let toleration = |key: &str| {
            json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerated,
            })
        };
        let grace = [0, 1, 5][rng.random_range(0..3)];
        let mut spec = json!({
            "terminationGracePeriodSeconds": grace,
            "tolerations": [toleration("node.kubernetes.io/unreachable"), toleration("node.kubernetes.io/not-ready")],
            "containers": [{ "name": "c", "image": IMAGE }],
        });
        if resource == JOBS {
            let restart = if rng.random_bool(0.5) { "Never" } else { "OnFailure" };
            spec["restartPolicy"] = restart.into();
            // The simulated runner ends it by itself.
            spec["containers"][0]["args"] = json!([crate::node::TASK]);
        }
        spec
    }
}

/// What is special about a Deployment; answers when it is to be rolled back.
fn draw_deployment(spec: &mut Value, replicas: usize, rng: &mut SmallRng) -> &'static str {
    let unavailable = draw_amount(0, rng);
    let surge = draw_amount(usize::from(unavailable == 0), rng);
    spec["replicas"] = replicas.into();
    spec["strategy"] = if rng.random_bool(0.15) {
        json!({ "type": "Recreate" })
    } else {
        let rolling = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        json!({ "type": "RollingUpdate", "rollingUpdate": rolling })
    };
    spec["revisionHistoryLimit"] = rng.random_range(0..4).into();
    spec["progressDeadlineSeconds"] = [600, 20, 40][rng.random_range(0..3)].into();
    ["true", "deadline", "false"][rng.random_range(0..3)]
}

/// A number of pods, or so many of a hundred of them.
fn draw_amount(from: usize, rng: &mut SmallRng) -> Value {
    let amounts = [json!(0), json!(1), json!(2), json!("25%"), json!("50%")];
    amounts[rng.random_range(from..amounts.len())].clone()
}

/// Whether a workload's containers cannot stay up.
pub(crate) fn is_broken(spec: &Value) -> bool {
    spec["template"]["metadata"]["annotations"]["version"] == BROKEN
}

/// Gives a workload another template.
fn set_version(spec: &mut Value, version: &str) {
    let template = &mut spec["template"];
    template["metadata"]["annotations"]["version"] = version.into();
    template["spec"]["containers"][0]["args"] = if version == BROKEN { json!([BROKEN]) } else { json!([]) };
}

const fn replicas_max(nodes: usize) -> usize {
    if nodes < REPLICAS_MAX { nodes + 2 } else { REPLICAS_MAX }
}

/// What names of a kind begin with.
fn short(resource: Resource) -> &'static str {
    match resource {
        DEPLOYMENTS => "d",
        REPLICA_SETS => "r",
        keys::STATEFUL_SETS => "s",
        keys::DAEMON_SETS => "a",
        JOBS => "j",
        _ => "b",
    }
}

/// How many of a kind there may be.
const NAMES: u32 = 2;

/// Templates that clients choose from.
const VERSIONS: u32 = 5;

const REPLICAS_MAX: usize = 8;

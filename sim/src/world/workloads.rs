//! What clients want of workloads: manifests that they apply, change, and take away again, and nodes that they drain.
//!
//! A client keeps its manifests, as one who has them in a repository does, and applies them again when all faults are over.

use dunlin_coordinator_core::{
    ObjectKey,
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    view::{
        ObjectId, Resource,
        services::SERVICES,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use rand::{Rng as _, seq::IndexedRandom as _};
use serde_json::{Value, json};

use super::{CALM_LOAD_MILLI, World, manifests::replicas_max};
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

    /// Lets go on what is held up by its author, or has no room.
    pub(super) fn release_workloads(&mut self) {
        self.context.load_milli = CALM_LOAD_MILLI;
        for (id, manifest) in &mut self.manifests {
            let spec = &mut manifest["spec"];
            let is_large = [DEPLOYMENTS, keys::DAEMON_SETS].contains(&id.resource)
                && !spec["template"]["spec"]["containers"][0]["resources"].is_null();
            if is_broken(spec) || is_large {
                set_version(spec, "mended");
            }
            if is_large {
                spec["template"]["spec"]["containers"][0]["resources"] = json!({});
            }
            if id.resource == keys::DAEMON_SETS {
                // One node after the other takes longer than anybody waits here.
                spec["updateStrategy"]["rollingUpdate"] = json!({ "maxUnavailable": "50%", "maxSurge": 0 });
            }
            if id.resource == CRON_JOBS {
                // Its Jobs come to an end when no more are made.
                spec["suspend"] = true.into();
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
            6..=8 if id.resource == HORIZONTAL_POD_AUTOSCALERS => *manifest = self.draw_manifest(id),
            8 if id.resource == keys::BUDGETS => *manifest = self.draw_manifest(id),
            8 if id.resource == CRON_JOBS => spec["suspend"] = self.clients.random_bool(0.5).into(),
            5..=8 if id.resource == SERVICES => *manifest = self.draw_manifest(id),
            0..=4 if !spec["template"].is_null() => {
                let version = self.clients.random_range(0..VERSIONS);
                // Only where somebody looks after it: what is broken is not available while it comes and goes.
                let may_break =
                    [DEPLOYMENTS, keys::DAEMON_SETS].contains(&id.resource) && spec["minReadySeconds"] == 5;
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

/// What names of a kind begin with.
fn short(resource: Resource) -> &'static str {
    match resource {
        DEPLOYMENTS => "d",
        REPLICA_SETS => "r",
        keys::STATEFUL_SETS => "s",
        keys::DAEMON_SETS => "a",
        JOBS => "j",
        CRON_JOBS => "c",
        SERVICES => "v",
        HORIZONTAL_POD_AUTOSCALERS => "h",
        _ => "b",
    }
}

/// How many of a kind there may be.
const NAMES: u32 = 2;

/// Templates that clients choose from.
pub(super) const VERSIONS: u32 = 5;

//! Whether every workload has become what its manifest says, in the store and so, as other checks see to, on the nodes.

use std::collections::BTreeSet;

use dunlin_coordinator_core::{
    ObjectKey,
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    view::{
        ObjectId,
        services::SERVICES,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use serde_json::Value;

use super::{World, manifests::AIM_MILLI};
use crate::{
    coordinator::Request,
    keys::{self, DAEMON_SETS, Place, STATEFUL_SETS},
    oracle::{controller_of, is_ready, root_of, rules},
};

impl World {
    /// Applies the manifests that the store does not follow: a client was not told that they were taken.
    pub(super) fn apply_again(&mut self) {
        let wanted: Vec<_> = self.wanted().map(|(id, manifest)| (id.clone(), manifest.clone())).collect();
        for (id, manifest) in &wanted {
            if !self.follows(id, manifest) {
                self.ask(Request::Apply(id.clone(), manifest.clone()));
            }
        }
        for id in self.unwanted() {
            self.ask(Request::Delete(id));
        }
    }

    /// Whether the store has what a client wants.
    fn follows(&self, id: &ObjectId, manifest: &Value) -> bool {
        // What a Job is to do cannot be changed, and one that is done may be gone by itself.
        self.coordinator.store.get(&keys::object(id)).is_some_and(|stored| {
            let says = |part: &str| covers(&stored.value[part], &manifest[part]);
            id.resource == JOBS || says("spec") && says("metadata")
        })
    }

    /// The first workload that is not as it should be, in words.
    pub(super) fn unconverged(&self) -> Option<String> {
        if let Some(id) = self.unwanted().first() {
            return Some(format!("{} {} is still there", id.resource.plural, id.key));
        }
        let mut wanted = self.wanted();
        wanted
            .find_map(|(id, manifest)| self.unconverged_one(id, manifest))
            .or_else(|| self.left_behind())
            .or_else(|| self.left_endpoints())
    }

    fn unconverged_one(&self, id: &ObjectId, manifest: &Value) -> Option<String> {
        let name = format!("{} {}", id.resource.plural, id.key);
        let Some(stored) = self.coordinator.store.get(&keys::object(id)) else {
            return Some(format!("{name} is not there"));
        };
        if !self.follows(id, manifest) {
            return Some(format!("{name} is not what its manifest says"));
        }
        let object = &*stored.value;
        let pods = self.pods_of(id);
        // What waits for a pod to serve, or to go, waits for what its copies say.
        if self.is_spoken_for(&pods) {
            return None;
        }
        let problem = match id.resource {
            DEPLOYMENTS | REPLICA_SETS | STATEFUL_SETS => {
                let wanted = usize::try_from(self.replicas_wanted(id, object, manifest)?).ok()?;
                wrong_number(&pods, wanted).or_else(|| wrong_set(id, &pods, wanted))
            }
            DAEMON_SETS => self.wrong_daemons(&pods),
            JOBS => unfinished(object, &pods),
            CRON_JOBS => self.wrong_jobs(id, object),
            SERVICES => self.wrong_endpoints(id, object),
            HORIZONTAL_POD_AUTOSCALERS => self.wrong_autoscaler(id, object),
            _ => self.wrong_budget(object),
        };
        let is_replaced = [DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS].contains(&id.resource);
        let problem = problem
            .or_else(|| if is_replaced { wrong_version(manifest, &pods) } else { None })
            .or_else(|| wrong_status(id, object, &pods))?;
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let told: Vec<String> = conditions
            .into_iter()
            .map(|condition| {
                format!("{} {} {}", condition["type"], condition["status"], condition["message"])
            })
            .collect();
        Some(format!("{name}: {problem}; it says: {}", told.join(", ")))
    }

    /// Endpoints of a Service that is gone.
    fn left_endpoints(&self) -> Option<String> {
        let store = &self.coordinator.store;
        let mut left =
            store.list(&keys::objects(keys::ENDPOINTS)).filter_map(|(key, _)| match Place::of(key) {
                Place::Object(id) => Some(id.key),
                _ => None,
            });
        let lost = left.find(|key| {
            store.get(&keys::object(&ObjectId { resource: SERVICES, key: key.clone() })).is_none()
        })?;
        Some(format!("the Endpoints of {lost} are left, and it is gone"))
    }

    /// Objects whose controller is not there, which the garbage collector should have removed.
    fn left_behind(&self) -> Option<String> {
        let store = &self.coordinator.store;
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let there: BTreeSet<String> =
            store.list("/registry/").map(|(_, stored)| uid(&stored.value)).collect();
        store.list("/registry/").find_map(|(key, stored)| {
            let owners = stored.value["metadata"]["ownerReferences"].as_array()?;
            let place = Place::of(key);
            let namespace = match &place {
                Place::Pod(key) => &key.namespace,
                Place::Object(id) => &id.key.namespace,
                _ => return None,
            };
            let lost = owners.iter().find(|owner| {
                let uid = owner["uid"].as_str().unwrap_or_default();
                !there.contains(uid)
            })?;
            Some(format!("{key} in {namespace} belongs to {} {}, which is gone", lost["kind"], lost["name"]))
        })
    }

    fn unwanted(&self) -> Vec<ObjectId> {
        let stored = self.coordinator.store.list("/registry/").filter_map(|(key, stored)| {
            let owned = !stored.value["metadata"]["ownerReferences"].is_null();
            match Place::of(key) {
                // These go with the Service of their name.
                Place::Object(id) if !owned && id.resource != keys::ENDPOINTS => Some(id),
                _ => None,
            }
        });
        stored.filter(|id| !self.manifests.contains_key(id)).collect()
    }

    /// Pods of a workload that have not ended.
    fn pods_of(&self, id: &ObjectId) -> Vec<&Value> {
        let store = &self.coordinator.store;
        let pods = store.list(keys::PODS).map(|(_, stored)| &*stored.value);
        let has_ended = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        pods.filter(|pod| !has_ended(pod) && root_of(pod, store).as_ref() == Some(id)).collect()
    }

    /// How many pods a workload is to have: as its manifest says, or else its autoscaler, or else whoever had a say before.
    fn replicas_wanted(&self, id: &ObjectId, object: &Value, manifest: &Value) -> Option<u64> {
        if let Some(replicas) = manifest["spec"]["replicas"].as_u64() {
            return Some(replicas);
        }
        let name = id.key.name.replacen('d', "h", 1);
        let autoscaler =
            ObjectId { resource: HORIZONTAL_POD_AUTOSCALERS, key: ObjectKey::new(&id.key.namespace, &name) };
        let spec = self.manifests.get(&autoscaler).map(|manifest| &manifest["spec"]);
        let Some(spec) = spec else { return object["spec"]["replicas"].as_u64() };
        let (least, most) = (spec["minReplicas"].as_u64()?, spec["maxReplicas"].as_u64()?);
        let (load, aim) = (u64::try_from(self.context.load_milli).ok()?, u64::try_from(AIM_MILLI).ok()?);
        Some(load.div_ceil(aim).clamp(least, most))
    }

    fn wrong_autoscaler(&self, id: &ObjectId, autoscaler: &Value) -> Option<String> {
        let name = id.key.name.replacen('h', "d", 1);
        let target = ObjectId { resource: DEPLOYMENTS, key: ObjectKey::new(&id.key.namespace, &name) };
        let target = self.coordinator.store.get(&keys::object(&target))?;
        let (said, is) = (&autoscaler["status"]["desiredReplicas"], &target.value["spec"]["replicas"]);
        (said != is).then(|| format!("it says that there should be {said} pods, and {is} are asked for"))
    }

    fn wrong_daemons(&self, pods: &[&Value]) -> Option<String> {
        let nodes = &self.nodes[..self.shape.nodes];
        wrong_number(pods, nodes.len()).or_else(|| {
            let runs_on = |name: &str| pods.iter().any(|pod| pod["spec"]["nodeName"] == name);
            let missing = nodes.iter().find(|node| !runs_on(node.name.as_str()))?;
            Some(format!("there is none on {}", missing.name))
        })
    }

    fn wrong_budget(&self, budget: &Value) -> Option<String> {
        if budget["status"]["observedGeneration"] != budget["metadata"]["generation"] {
            return Some("its status is not about what it says".to_owned());
        }
        let app = &budget["spec"]["selector"]["matchLabels"]["app"];
        let pods = self.coordinator.store.list(keys::PODS).map(|(_, stored)| &*stored.value);
        let healthy = pods.filter(|pod| pod["metadata"]["labels"]["app"] == *app && is_ready(pod)).count();
        let said = &budget["status"]["currentHealthy"];
        (*said != healthy).then(|| format!("it counts {said} healthy pods, and there are {healthy}"))
    }

    /// A CronJob that makes no more Jobs keeps as many that have ended as it says.
    fn wrong_jobs(&self, id: &ObjectId, cron_job: &Value) -> Option<String> {
        let jobs = self.coordinator.store.list(&keys::objects(JOBS)).map(|(_, stored)| &*stored.value);
        let (mut completed, mut failed) = (0, 0);
        for job in jobs.filter(|job| controller_of(job, &id.key.namespace).as_ref() == Some(id)) {
            if !rules::has_ended(job) {
                return Some(format!("{} has not ended", job["metadata"]["name"]));
            }
            let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
            let has_failed = conditions.into_iter().any(|condition| condition["type"] == "Failed");
            *(if has_failed { &mut failed } else { &mut completed }) += 1;
        }
        let spec = &cron_job["spec"];
        let kept = |field: &str| spec[field].as_u64().unwrap_or_default();
        if completed > kept("successfulJobsHistoryLimit") || failed > kept("failedJobsHistoryLimit") {
            return Some(format!("it keeps {completed} completed and {failed} failed Jobs"));
        }
        let active = cron_job["status"]["active"].as_array().map_or(0, Vec::len);
        (active > 0).then(|| format!("it says that {active} Jobs run"))
    }

    /// What a Service's EndpointSlices and Endpoints say, held against the pods that it selects.
    fn wrong_endpoints(&self, id: &ObjectId, service: &Value) -> Option<String> {
        let store = &self.coordinator.store;
        let pods = store.list(keys::PODS).map(|(_, stored)| &*stored.value);
        let selected = pods.filter(|pod| {
            let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            pod["metadata"]["labels"]["app"] == service["spec"]["selector"]["app"] && !has_ended
        });
        let selected: Vec<&Value> = selected.collect();
        if self.is_spoken_for(&selected) {
            return None;
        }
        let uid = |object: &Value| object["uid"].as_str().unwrap_or_default().to_owned();
        let wanted: BTreeSet<String> = selected.iter().map(|pod| uid(&pod["metadata"])).collect();
        let slices = store.list(&keys::objects(keys::ENDPOINT_SLICES)).map(|(_, stored)| &*stored.value);
        let own =
            slices.filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == *id.key.name);
        let listed: Vec<&Value> = own.filter_map(|slice| slice["endpoints"].as_array()).flatten().collect();
        if let Some(unready) = listed.iter().find(|endpoint| endpoint["conditions"]["ready"] != true) {
            return Some(format!("its slices say that {} is not ready", unready["targetRef"]["name"]));
        }
        let told: BTreeSet<String> = listed.iter().map(|endpoint| uid(&endpoint["targetRef"])).collect();
        if told != wanted || listed.len() != wanted.len() {
            return Some(format!("its slices tell {told:?}, and it selects {wanted:?}"));
        }
        let endpoints =
            store.get(&keys::object(&ObjectId { resource: keys::ENDPOINTS, key: id.key.clone() }));
        let Some(endpoints) = endpoints else { return Some("it has no Endpoints".to_owned()) };
        let subsets = endpoints.value["subsets"].as_array().into_iter().flatten();
        let addresses = subsets.filter_map(|subset| subset["addresses"].as_array()).flatten();
        let told: BTreeSet<String> = addresses.map(|address| uid(&address["targetRef"])).collect();
        (told != wanted).then(|| format!("its Endpoints tell {told:?}, and it selects {wanted:?}"))
    }

    /// Whether copies of a node may have spoken for pods.
    fn is_spoken_for(&self, pods: &[&Value]) -> bool {
        let cloned = &self.context.oracle.cloned;
        let on_copy = |pod: &&&Value| {
            pod["spec"]["nodeName"]
                .as_str()
                .is_some_and(|node| cloned.iter().any(|name| name.as_str() == node))
        };
        pods.iter().any(|pod| on_copy(&pod))
    }
}

fn wrong_number(pods: &[&Value], wanted: usize) -> Option<String> {
    (pods.len() != wanted).then(|| format!("there are {} pods, and there should be {wanted}", pods.len()))
}

fn wrong_set(id: &ObjectId, pods: &[&Value], wanted: usize) -> Option<String> {
    if id.resource != STATEFUL_SETS {
        return None;
    }
    let mut ordinals = pods.iter().filter_map(|pod| rules::ordinal_of(pod, id));
    let strange = ordinals.find(|ordinal| !usize::try_from(*ordinal).is_ok_and(|ordinal| ordinal < wanted));
    strange.map(|ordinal| format!("number {ordinal} is not one of its {wanted} pods"))
}

fn wrong_version(manifest: &Value, pods: &[&Value]) -> Option<String> {
    let version = |object: &Value| object["metadata"]["annotations"]["version"].clone();
    let wanted = version(&manifest["spec"]["template"]);
    let old = pods.iter().find(|pod| version(pod) != wanted)?;
    Some(format!("{} is of version {}, not {wanted}", old["metadata"]["name"], version(old)))
}

/// What a Job that has not ended still does is all right only as long as it may work.
fn unfinished(job: &Value, pods: &[&Value]) -> Option<String> {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let mut ended = conditions
        .into_iter()
        .filter(|condition| condition["status"] == "True")
        .filter(|condition| condition["type"] == "Complete" || condition["type"] == "Failed");
    let Some(ended) = ended.next() else { return Some("it has not ended".to_owned()) };
    if !pods.is_empty() {
        return Some(format!("it is {} and has {} pods", ended["type"], pods.len()));
    }
    let succeeded = job["status"]["succeeded"].as_u64().unwrap_or_default();
    let wanted = job["spec"]["completions"].as_u64().unwrap_or_default();
    let right = if ended["type"] == "Complete" { succeeded == wanted } else { succeeded <= wanted };
    (!right).then(|| format!("it is {}, and {succeeded} of {wanted} succeeded", ended["type"]))
}

fn wrong_status(id: &ObjectId, object: &Value, pods: &[&Value]) -> Option<String> {
    if object["metadata"]["generation"] != object["status"]["observedGeneration"]
        && ![JOBS, CRON_JOBS, SERVICES, HORIZONTAL_POD_AUTOSCALERS, keys::BUDGETS].contains(&id.resource)
    {
        return Some("its status is not about what it says".to_owned());
    }
    let fields: &[&str] = match id.resource {
        DEPLOYMENTS => &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"],
        REPLICA_SETS => &["replicas", "readyReplicas", "availableReplicas"],
        STATEFUL_SETS => &["replicas", "readyReplicas", "availableReplicas", "updatedReplicas"],
        DAEMON_SETS => {
            &["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable"]
        }
        _ => return None,
    };
    let wrong = fields
        .iter()
        .find(|field| object["status"][field].as_u64().unwrap_or_default() != pods.len() as u64)?;
    Some(format!("its status says {wrong} {}, and {} pods run", object["status"][wrong], pods.len()))
}

/// Whether an object says everything that a manifest does.
fn covers(object: &Value, manifest: &Value) -> bool {
    match (object, manifest) {
        (Value::Object(object), Value::Object(manifest)) => {
            manifest.iter().all(|(field, wanted)| covers(object.get(field).unwrap_or(&Value::Null), wanted))
        }
        (Value::Null, Value::Array(manifest)) => manifest.is_empty(),
        (Value::Array(object), Value::Array(manifest)) => {
            object.len() == manifest.len()
                && object.iter().zip(manifest).all(|(object, wanted)| covers(object, wanted))
        }
        // What is off by default may be left out.
        (Value::Null, wanted) => wanted.is_null() || *wanted == false || *wanted == 0,
        (object, wanted) => object == wanted,
    }
}

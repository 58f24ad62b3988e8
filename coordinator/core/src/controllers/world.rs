//! A small cluster for the tests of controllers: objects as JSON, folded into a real reconciler, whose plans are carried out at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dunlin_api::{Kind, kind, patch::merge, time::format_time};
use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Action, WorkloadAction, create::Creation};
use crate::{
    ObjectKey, View, blueprint,
    reconciler::{Key, Reconciler},
    view::{ObjectId, Resource, workload},
    volume_claim,
};

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) reconciler: Reconciler,
    /// Everything there is.
    pub(crate) objects: BTreeMap<ObjectId, Value>,
    /// Reason and message of what was said.
    pub(crate) told: Vec<(String, String)>,
    /// Actions that did something.
    pub(crate) writes: usize,
    /// Refuses to create anything.
    pub(crate) refuses: Option<&'static str>,
    /// What somebody else does to an object between the next decision about its status and the write of that.
    pub(crate) meanwhile: Option<fn(&mut Value)>,
    made: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self {
            now,
            reconciler: Reconciler::new(View::new(now, Duration::from_secs(40))),
            objects: BTreeMap::new(),
            told: Vec::new(),
            writes: 0,
            refuses: None,
            meanwhile: None,
            made: 0,
        }
    }

    /// Creates an object, or replaces its spec and metadata as a client does. Then everything comes to rest.
    pub(crate) fn apply(&mut self, object: Value) {
        let id = id_of(&object);
        match self.objects.get(&id).cloned() {
            None => self.create(object),
            Some(mut known) => {
                let patch = json!({
                    "metadata": { "labels": object["metadata"]["labels"], "annotations": object["metadata"]["annotations"] },
                    "spec": object["spec"],
                });
                merge(&mut known, patch.clone());
                self.store(&id, known);
            }
        }
        self.settle();
    }

    /// Changes an object by a merge patch, as a client does.
    pub(crate) fn patch(&mut self, id: &ObjectId, patch: &Value) {
        let mut object = self.objects[id].clone();
        merge(&mut object, patch.clone());
        self.store(id, object);
        self.settle();
    }

    /// Removes an object, as if its time were over.
    pub(crate) fn remove(&mut self, id: &ObjectId) {
        self.forget(id);
        self.settle();
    }

    /// Lets time pass, and does what is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Asks the controllers until they want nothing more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let due = self.reconciler.take_due(self.now);
            let due = due.into_iter().filter(|key| {
                matches!(
                    key,
                    Key::Workload(_) | Key::OrphanPod(_) | Key::Service(_) | Key::Claim(_) | Key::Volume(_)
                )
            });
            let due: Vec<_> = due.collect();
            if due.is_empty() {
                return;
            }
            for key in due {
                self.turn(&key);
            }
        }
        panic!("the controllers do not come to rest");
    }

    /// Reasons of what was said that contain a word, in order.
    pub(crate) fn told_of(&self, word: &str) -> Vec<&str> {
        self.told.iter().map(|(reason, _)| reason.as_str()).filter(|reason| reason.contains(word)).collect()
    }

    /// The pods whose names begin so, by name.
    pub(crate) fn pods(&self, prefix: &str) -> Vec<Value> {
        self.of("pods", prefix)
    }

    /// Objects of a kind whose names begin so, by name.
    pub(crate) fn of(&self, plural: &str, prefix: &str) -> Vec<Value> {
        let found = self.objects.iter().filter(|(id, _)| id.resource.plural == plural);
        found.filter(|(id, _)| id.key.name.starts_with(prefix)).map(|(_, object)| object.clone()).collect()
    }

    /// Binds pods and makes them ready, `count` of those that are not.
    pub(crate) fn run(&mut self, prefix: &str, count: usize) {
        let waiting = self.pods(prefix).into_iter().filter(|pod| pod["status"]["phase"] != "Running");
        for pod in waiting.take(count).collect::<Vec<_>>() {
            let status = json!({
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": format_time(self.now) }],
            });
            let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
            let pinned = pod.pointer(&format!("{terms}/0/matchFields/0/values/0"));
            let node = pinned.cloned().unwrap_or_else(|| "n1".into());
            let patch = json!({ "spec": { "nodeName": node }, "status": status });
            let mut new = pod.clone();
            merge(&mut new, patch.clone());
            self.store(&id_of(&pod), new);
        }
        self.settle();
    }

    /// Adds a node, or changes what its condition `Ready` says.
    pub(crate) fn node(&mut self, name: &str, ready: &str) {
        let node = json!({
            "metadata": { "name": name, "uid": name, "labels": { "kubernetes.io/hostname": name } },
            "spec": {},
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        self.reconciler.fold_node(&NodeName::new(name), node.to_string().as_bytes()).unwrap();
        self.settle();
    }

    /// Changes a pod by a merge patch, as its node does.
    pub(crate) fn patch_pod(&mut self, name: &str, patch: &Value) {
        self.patch(&id("v1", "Pod", name), patch);
    }

    /// Runs pods as they come, until nothing changes.
    pub(crate) fn run_all(&mut self, prefix: &str) {
        for _ in 0..TURNS_MAX {
            let before = self.objects.clone();
            self.run(prefix, usize::MAX);
            if before == self.objects {
                return;
            }
        }
        panic!("pods come and go without an end");
    }

    /// Ends pods with this exit code, `count` of those that run or wait.
    pub(crate) fn end(&mut self, prefix: &str, count: usize, code: i64) {
        let is_open = |pod: &Value| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let open = self.pods(prefix).into_iter().filter(|pod| is_open(pod));
        for pod in open.take(count).collect::<Vec<_>>() {
            let phase = if code == 0 { "Succeeded" } else { "Failed" };
            let ended = json!({ "exitCode": code, "finishedAt": format_time(self.now) });
            let container = json!({ "name": "c", "state": { "terminated": ended } });
            let mut new = pod.clone();
            new["status"] = json!({ "phase": phase, "containerStatuses": [container] });
            self.store(&id_of(&pod), new);
        }
        self.settle();
    }

    /// Removes pods that are being deleted and held by nobody.
    pub(crate) fn reap(&mut self) {
        let ended = |object: &Value| {
            let metadata = &object["metadata"];
            let is_held = metadata["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
            !metadata["deletionTimestamp"].is_null() && !is_held
        };
        let ids: Vec<_> =
            self.objects.iter().filter(|(_, object)| ended(object)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.forget(id));
        self.settle();
    }

    fn turn(&mut self, key: &Key) {
        let plan = self.reconciler.plan(key, self.now);
        self.reconciler.keys.started(key, plan.again_at);
        let mut refused = None;
        for action in plan.actions {
            if let Err(message) = self.carry_out(action) {
                refused = Some(message);
            }
        }
        let seen = dunlin_link::Revision(0);
        match refused {
            None => self.reconciler.keys.succeeded(key, seen),
            Some(message) => self.reconciler.keys.failed(key, &message, seen, self.now),
        }
    }

    fn carry_out(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Workload(_, action) => return self.carry_out_for_workload(action),
            Action::RemoveFinalizer { id, uid, finalizer } => {
                if let Some(mut object) = self.current(&id, &uid.as_str().into()) {
                    object["metadata"]["finalizers"]
                        .as_array_mut()
                        .unwrap()
                        .retain(|known| known != finalizer);
                    self.writes += 1;
                    self.store(&id, object);
                }
            }
            other => panic!("a controller of workloads wants {other:?}"),
        }
        Ok(())
    }

    fn carry_out_for_workload(&mut self, action: WorkloadAction) -> Result<(), String> {
        match action {
            WorkloadAction::Create(creation) => return self.make(&creation),
            WorkloadAction::Patch { id, uid, patch, .. } => {
                self.rewrite(&id, &uid, |object| merge(object, patch));
            }
            WorkloadAction::WriteStatus { id, uid, change } => {
                let meanwhile = self.meanwhile.take().unwrap_or(|_| ());
                self.rewrite(&id, &uid, |object| {
                    meanwhile(object);
                    change.carry_out(object);
                });
            }
            WorkloadAction::DeleteOwned { id, uid, .. } => {
                if let Some(mut object) = self.current(&id, &uid) {
                    self.writes += 1;
                    if id.resource.plural == "pods" {
                        object["metadata"]["deletionTimestamp"] = format_time(self.now).into();
                        self.store(&id, object);
                    } else {
                        self.forget(&id);
                    }
                }
            }
            WorkloadAction::Adopt { id, uid, owner, owner_uid, .. } => {
                let kind = owner.resource.kind().unwrap();
                let reference = blueprint::controller_reference(kind, &owner.key.name, &owner_uid);
                self.rewrite(&id, &uid, |object| object["metadata"]["ownerReferences"] = json!([reference]));
            }
            WorkloadAction::Release { id, uid, .. } => {
                self.rewrite(&id, &uid, |object| object["metadata"]["ownerReferences"] = json!([]));
            }
            WorkloadAction::RestoreTemplate { id, uid, generation, from, from_uid } => {
                if let Some(from) = self.current(&from, &from_uid) {
                    self.rewrite(&id, &uid, |object| {
                        assert_eq!(object["metadata"]["generation"], generation);
                        assert!(crate::restore::restore(object, &from));
                    });
                }
            }
            WorkloadAction::CreateObject { object, .. } => {
                if let Some(message) = self.refuses {
                    return Err(message.to_owned());
                }
                self.writes += 1;
                self.create(object);
            }
            WorkloadAction::DeleteExpired { id, .. } | WorkloadAction::Discard { id, .. } => {
                self.writes += 1;
                self.forget(&id);
            }
            WorkloadAction::Reown { id, uid, gone, owner } => {
                let owner = owner.as_ref().map(|(id, uid)| (id, &**uid));
                self.rewrite(&id, &uid, |object| blueprint::reown(object, &gone, owner));
            }
            WorkloadAction::Guard { .. }
            | WorkloadAction::Unguard { .. }
            | WorkloadAction::ClaimVolume { .. }
            | WorkloadAction::UnclaimVolume { .. } => self.carry_out_for_storage(action),
            WorkloadAction::Tell { reason, message, .. } => self.told.push((reason.to_owned(), message)),
        }
        Ok(())
    }

    fn carry_out_for_storage(&mut self, action: WorkloadAction) {
        match action {
            WorkloadAction::Guard { id, uid, finalizer } => {
                self.rewrite(&id, &uid, |object| assert!(volume_claim::guard(object, finalizer)));
            }
            WorkloadAction::Unguard { id, uid, finalizer } => {
                self.rewrite(&id, &uid, |object| assert!(volume_claim::unguard(object, finalizer)));
            }
            // Of two claims that want one volume the second comes too late, and changes nothing.
            WorkloadAction::ClaimVolume { id, uid, claim, claim_uid } => {
                self.rewrite(&id, &uid, |volume| {
                    volume_claim::claim(volume, &claim, &claim_uid);
                });
            }
            WorkloadAction::UnclaimVolume { id, uid, claim_uid } => {
                self.rewrite(&id, &uid, |volume| {
                    volume_claim::unclaim(volume, &claim_uid);
                });
            }
            other => panic!("storage does not want {other:?}"),
        }
    }

    /// Changes an object that is still the one that is meant.
    fn rewrite(&mut self, id: &ObjectId, uid: &Arc<str>, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.current(id, uid) {
            change(&mut object);
            self.writes += 1;
            self.store(id, object);
        }
    }

    fn make(&mut self, creation: &Creation) -> Result<(), String> {
        let Some(owner) = self.current(&creation.owner, &creation.uid) else { return Ok(()) };
        assert_eq!(owner["metadata"]["generation"], creation.generation);
        let kind = creation.owner.resource.kind().unwrap();
        let owner = match creation.what.template_from() {
            Some(id) => blueprint::with_template_of(owner, &self.objects[id]),
            None => owner,
        };
        for made in blueprint::build(kind, &owner, &creation.what) {
            if let Some(message) = self.refuses {
                return Err(message.to_owned());
            }
            for object in made.needs.into_iter().map(|made| made.object).chain([made.object]) {
                self.writes += 1;
                self.create(object);
            }
        }
        Ok(())
    }

    fn create(&mut self, mut object: Value) {
        self.made += 1;
        let metadata = &mut object["metadata"];
        if let Some(prefix) = metadata["generateName"].as_str().map(str::to_owned) {
            metadata["name"] = format!("{prefix}{:05}", self.made).into();
        }
        metadata["uid"] = format!("uid-{}", self.made).into();
        metadata["creationTimestamp"] = format_time(self.now).into();
        metadata["generation"] = 1.into();
        let id = id_of(&object);
        assert!(!self.objects.contains_key(&id), "{id:?} exists");
        self.store(&id, object);
    }

    fn store(&mut self, id: &ObjectId, mut object: Value) {
        if let Some(known) = self.objects.get(id)
            && known["spec"] != object["spec"]
            && id.resource.plural != "pods"
        {
            let generation = known["metadata"]["generation"].as_i64().unwrap();
            object["metadata"]["generation"] = (generation + 1).into();
        }
        let json = object.to_string();
        self.objects.insert(id.clone(), object);
        self.reconciler.fold_owners(id.resource, &id.key, json.as_bytes()).unwrap();
        let (reconciler, json) = (&mut self.reconciler, json.as_bytes());
        match id.resource.plural {
            "pods" => drop(reconciler.fold_pod(&id.key, json, self.now).unwrap()),
            "nodes" => reconciler.fold_node(&NodeName::new(&*id.key.name), json).unwrap(),
            "services" => reconciler.fold_service(&id.key, json).unwrap(),
            "endpoints" => reconciler.fold_endpoints(&id.key, json).unwrap(),
            "endpointslices" => reconciler.fold_slice(&id.key, json).unwrap(),
            "persistentvolumes" => reconciler.fold_volume(&id.key.name, json).unwrap(),
            "storageclasses" => reconciler.fold_storage_class(&id.key.name, json).unwrap(),
            _ if id.resource == CLAIMS => reconciler.fold_claim(&id.key, json).unwrap(),
            _ if workload::is_workload(kind_of(id.resource)) => {
                reconciler.fold_workload(id.resource, &id.key, json).unwrap();
            }
            _ => {}
        }
    }

    fn forget(&mut self, id: &ObjectId) {
        let Some(last) = self.objects.remove(id) else { return };
        self.reconciler.forget_owners(id.resource, &id.key, last.to_string().as_bytes()).unwrap();
        match id.resource.plural {
            "pods" => self.reconciler.forget_pod(&id.key),
            "nodes" => {
                self.reconciler.forget_node(&NodeName::new(&*id.key.name), self.now);
            }
            "services" => self.reconciler.forget_service(&id.key),
            "endpoints" => self.reconciler.forget_endpoints(&id.key),
            "endpointslices" => self.reconciler.forget_slice(&id.key),
            "persistentvolumes" => self.reconciler.forget_volume(&id.key.name),
            _ if id.resource == CLAIMS => self.reconciler.forget_claim(&id.key),
            _ => self.reconciler.forget_workload(id.resource, &id.key),
        }
    }

    fn current(&self, id: &ObjectId, uid: &Arc<str>) -> Option<Value> {
        self.objects.get(id).filter(|object| object["metadata"]["uid"] == **uid).cloned()
    }
}

/// Names an object of the default namespace.
pub(crate) fn id(api_version: &str, kind: &str, name: &str) -> ObjectId {
    let kind = kind::by_kind(api_version, kind).unwrap();
    ObjectId { resource: Resource::of(kind), key: ObjectKey::new("default", name) }
}

fn id_of(object: &Value) -> ObjectId {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut id = id(&text(&object["apiVersion"]), &text(&object["kind"]), &text(&object["metadata"]["name"]));
    if let Some(namespace) = object["metadata"]["namespace"].as_str() {
        id.key.namespace = namespace.into();
    }
    id
}

fn kind_of(resource: Resource) -> &'static Kind {
    resource.kind().unwrap()
}

const CLAIMS: Resource = Resource::core("persistentvolumeclaims");

/// Turns after which something goes round in circles.
const TURNS_MAX: usize = 200;

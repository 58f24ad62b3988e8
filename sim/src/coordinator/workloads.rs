//! Carrying out what controllers of workloads and clients want of them, as the executor and the API service do.

use std::sync::Arc;

use dunlin_api::{Kind, Status, patch, pipeline::Target};
use dunlin_coordinator_core::{
    ObjectKey, blueprint,
    budget::Budget,
    controllers::{StatusChange, create::Creation, disruption::BudgetUpdate},
    deletion::{self, Manner},
    eviction::{self, Permit},
    pod_status, restore,
    view::{ObjectId, Resource},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Coordinator, api,
    carry_out::{delete, wish_of},
    ops::{Charge, Op, Then, Verdict},
};
use crate::{
    keys::{self, Place},
    store::Store,
};

impl Coordinator {
    /// What has to be created for an owner: nothing if the owner is another by now.
    pub(super) fn creations(
        &mut self,
        creation: &Creation,
        then: &dyn Fn() -> Then,
        now: Timestamp,
    ) -> Vec<Op> {
        let Creation { owner, uid, generation, what, .. } = creation;
        let (Some(stored), Some(kind)) = (self.store.get(&keys::object(owner)), owner.resource.kind()) else {
            return Vec::new();
        };
        let metadata = &stored.value["metadata"];
        let is_meant = metadata["uid"] == **uid
            && metadata["generation"].as_i64() == Some(*generation)
            && metadata["deletionTimestamp"].is_null();
        if !is_meant {
            return Vec::new();
        }
        let revision = what.template_from().and_then(|revision| self.store.get(&keys::object(revision)));
        let owner_object = match revision {
            Some(revision) => blueprint::with_template_of((*stored.value).clone(), &revision.value),
            None => (*stored.value).clone(),
        };
        let made = blueprint::build(kind, &owner_object, what);
        let made = made.into_iter().map(|made| {
            let resource = Resource::of(kind_of(made.api_version, made.kind));
            self.creation(resource, &owner.key.namespace, made.object, then(), now)
        });
        made.collect()
    }

    /// A new object that a controller makes.
    pub(super) fn creation(
        &mut self,
        resource: Resource,
        namespace: &str,
        object: Value,
        then: Then,
        now: Timestamp,
    ) -> Op {
        let kind = resource.kind().expect("controllers make what is served");
        let object = self.registrar.create(kind, namespace, object, now);
        let object = object.expect("what controllers make is valid");
        let id = ObjectId { resource, key: keys::name_of(&object) };
        Op::new(keys::object(&id), then, move |current| match current {
            // The name is taken: the change that took it asks again.
            Some(_) => Verdict::Refuse,
            None => Verdict::Put(object.clone()),
        })
    }

    /// A client's manifest: creates the object, or gives it this spec, these labels and annotations.
    pub(super) fn apply(&mut self, id: &ObjectId, manifest: Value, then: Then, now: Timestamp) -> Op {
        let kind = id.resource.kind().expect("clients apply what is served");
        let new = self.registrar.create(kind, &id.key.namespace, manifest.clone(), now);
        let new = new.expect("the clients' manifests are valid");
        Op::new(keys::object(id), then, move |current| match current {
            None => Verdict::Put(new.clone()),
            Some(current) if !current["metadata"]["deletionTimestamp"].is_null() => Verdict::Refuse,
            Some(current) => {
                let mut object = current.clone();
                let replicas = object["spec"]["replicas"].clone();
                object["spec"] = manifest["spec"].clone();
                if object["spec"]["replicas"].is_null() && !replicas.is_null() {
                    // What a manifest never said is an autoscaler's.
                    object["spec"]["replicas"] = replicas;
                }
                for field in ["labels", "annotations"] {
                    object["metadata"][field] = manifest["metadata"][field].clone();
                }
                api::update(kind, current, object, Target::Object, now).map_or(Verdict::Refuse, Verdict::Put)
            }
        })
    }
}

/// Changes an object by a merge patch.
pub(super) fn patch_object(
    id: &ObjectId,
    uid: &str,
    subresource: &str,
    patch: Value,
    then: Then,
    now: Timestamp,
) -> Op {
    let kind = id.resource.kind().expect("controllers patch what is served");
    let target = if subresource == "status" { Target::Status } else { Target::Object };
    rewrite(id, uid, then, now, move |current| {
        let mut new = current.clone();
        patch::merge(&mut new, patch.clone());
        // One that changes nothing is not written.
        if new == *current { Ok(new) } else { api::update(kind, current, new, target, now) }
    })
}

/// Changes an object's status.
pub(super) fn write_status(id: &ObjectId, uid: &str, change: StatusChange, then: Then, now: Timestamp) -> Op {
    let kind = id.resource.kind().expect("controllers write what is served");
    rewrite(id, uid, then, now, move |current| {
        let mut new = current.clone();
        change.carry_out(&mut new);
        // One that changes nothing is not written.
        if new == *current { Ok(new) } else { api::update(kind, current, new, Target::Status, now) }
    })
}

/// Gives an object the template that a revision of it keeps, if both are still what was looked at.
pub(super) fn restore_template(
    id: &ObjectId,
    uid: &str,
    generation: i64,
    (from, from_uid): (ObjectId, Arc<str>),
    then: Then,
    now: Timestamp,
) -> Op {
    let kind = id.resource.kind().expect("controllers restore what is served");
    let uid = uid.to_owned();
    Op::looking_around(keys::object(id), then, move |current, store| {
        let is_meant = |object: &Value| {
            object["metadata"]["uid"] == uid.as_str() && object["metadata"]["generation"] == generation
        };
        let (Some(current), Some(revision)) =
            (current.filter(|current| is_meant(current)), store.get(&keys::object(&from)))
        else {
            return Verdict::Gone;
        };
        let mut new = current.clone();
        if revision.value["metadata"]["uid"] != *from_uid || !restore::restore(&mut new, &revision.value) {
            return Verdict::Keep;
        }
        match api::update(kind, current, new, Target::Object, now) {
            Ok(new) => Verdict::Put(new),
            Err(status) => Verdict::Invalid(status.message().to_owned()),
        }
    })
}

/// Makes an object somebody's, who has not got another controller by now.
pub(super) fn adopt(
    id: &ObjectId,
    uid: &str,
    owner: &ObjectId,
    owner_uid: &str,
    then: Then,
    now: Timestamp,
) -> Op {
    let kind = owner.resource.kind().expect("owners are served");
    let reference = blueprint::controller_reference(kind, &owner.key.name, owner_uid);
    modify(id, uid, then, now, move |object| {
        let owners = owners_of(object);
        if !owners.iter().any(|owner| owner["controller"] == true) {
            let owners: Vec<Value> = owners.into_iter().chain([reference.clone()]).collect();
            object["metadata"]["ownerReferences"] = owners.into();
        }
    })
}

/// Takes owners from an object.
pub(super) fn disown(id: &ObjectId, uid: &str, owners: Vec<String>, then: Then, now: Timestamp) -> Op {
    modify(id, uid, then, now, move |object| {
        let left: Vec<Value> = owners_of(object)
            .into_iter()
            .filter(|owner| !owners.iter().any(|lost| owner["uid"] == lost.as_str()))
            .collect();
        put_list(object, "ownerReferences", left);
    })
}

/// Takes owners from an object, and gives it another.
pub(super) fn reown(
    id: &ObjectId,
    uid: &str,
    gone: Vec<Arc<str>>,
    owner: Option<(ObjectId, Arc<str>)>,
    then: Then,
    now: Timestamp,
) -> Op {
    modify(id, uid, then, now, move |object| {
        let owner = owner.as_ref().map(|(id, uid)| (id, &**uid));
        blueprint::reown(object, &gone, owner);
    })
}

pub(super) fn remove_finalizer(
    id: &ObjectId,
    uid: &str,
    finalizer: &'static str,
    then: Then,
    now: Timestamp,
) -> Op {
    modify(id, uid, then, now, move |object| {
        let finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let left = finalizers.into_iter().filter(|known| known != finalizer).collect();
        put_list(object, "finalizers", left);
    })
}

/// Deletes an object that is still the one that was looked at.
pub(super) fn delete_object(
    id: &ObjectId,
    uid: Option<&str>,
    propagation: deletion::Propagation,
    then: Then,
    now: Timestamp,
) -> Op {
    let manner = id.resource.kind().map_or(Manner::Plain, Manner::of);
    let wish = wish_of(uid, propagation);
    Op::new(keys::object(id), then, move |current| delete(manner, current, &wish, now))
}

/// Deletes an object because its owner goes.
pub(super) fn delete_dependent(
    id: &ObjectId,
    uid: &str,
    propagation: deletion::Propagation,
    then: Then,
    now: Timestamp,
) -> Op {
    let manner = id.resource.kind().map_or(Manner::Plain, Manner::of);
    let uid = uid.to_owned();
    Op::new(keys::object(id), then, move |current| {
        let Some(object) = current else { return Verdict::Gone };
        let wish = wish_of(Some(&uid), deletion::inherited(object, propagation));
        delete(manner, current, &wish, now)
    })
}

/// Writes a budget's status, unless an evictor or its author was faster.
pub(super) fn update_budget(update: BudgetUpdate, then: Then, now: Timestamp) -> Op {
    let BudgetUpdate { key, uid, generation, seen, status, .. } = update;
    let id = ObjectId { resource: keys::BUDGETS, key };
    modify(&id, &uid, then, now, move |object| {
        let current = Budget::from_object(object).expect("the simulator's budgets can be read");
        if current.generation == generation && current.status == seen {
            status.write(object, now);
        }
    })
}

/// `pods/eviction`: the pod is deleted and its budget charged in one transaction.
pub(super) fn evict(key: &ObjectKey, then: Then, heed: Heed, now: Timestamp) -> Op {
    let prefix = format!("{}{}/", keys::objects(keys::BUDGETS), key.namespace);
    Op::looking_around(keys::pod(key), then, move |current, store| {
        let Some(current) = current else { return Verdict::Gone };
        let mut pod = current.clone();
        let condition = ("True", "EvictionByEvictionAPI", "Eviction API: evicting");
        pod_status::set_condition(&mut pod, "DisruptionTarget", condition, now);
        let verdict = delete(Manner::Pod, Some(&pod), &wish_of(None, deletion::Propagation::Background), now);
        let charge = match charge(current, store, &prefix, now) {
            _ if heed == Heed::Nothing => None,
            Ok(charge) => charge,
            Err(()) => return Verdict::Refuse,
        };
        match charge {
            None => verdict,
            Some(charge) => Verdict::Charged(Box::new(verdict), charge),
        }
    })
}

/// Whether evictions ask budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    Budgets,
    /// A planted bug.
    Nothing,
}

fn charge(pod: &Value, store: &Store, prefix: &str, now: Timestamp) -> Result<Option<Charge>, ()> {
    if eviction::is_exempt(pod) {
        return Ok(None);
    }
    let found: Vec<_> = store.list(prefix).collect();
    let budgets = found.iter().map(|(key, stored)| {
        let budget = Budget::from_object(&stored.value).expect("the simulator's budgets can be read");
        ((*key).clone(), budget)
    });
    let budgets: Vec<_> = budgets.collect();
    let Some((position, permit)) = eviction::permit(pod, &budgets, now).map_err(drop)? else {
        return Ok(None);
    };
    let (key, stored) = found[position];
    let becomes = match permit {
        Permit::Free => None,
        Permit::Charged(status) => {
            let mut budget = (*stored.value).clone();
            status.write(&mut budget, now);
            Some(budget)
        }
    };
    Ok(Some(Charge { key: key.clone(), revision: stored.revision, becomes }))
}

/// A change of the object of this uid.
fn modify(id: &ObjectId, uid: &str, then: Then, now: Timestamp, change: impl Fn(&mut Value) + 'static) -> Op {
    rewrite(id, uid, then, now, move |current| {
        let mut new = current.clone();
        change(&mut new);
        Ok(new)
    })
}

/// What the object of this uid becomes, unless the API refuses it.
fn rewrite(
    id: &ObjectId,
    uid: &str,
    then: Then,
    now: Timestamp,
    rewritten: impl Fn(&Value) -> Result<Value, Status> + 'static,
) -> Op {
    let key = keys::object(id);
    let (manner, uid) = (Place::of(&key).manner(), uid.to_owned());
    Op::new(key, then, move |current| {
        let Some(current) = current.filter(|current| current["metadata"]["uid"] == uid.as_str()) else {
            return Verdict::Gone;
        };
        match rewritten(current) {
            Ok(new) if new == *current => Verdict::Keep,
            Ok(new) => deletion::settle(manner, new, now).into(),
            Err(status) => Verdict::Invalid(status.message().to_owned()),
        }
    })
}

fn owners_of(object: &Value) -> Vec<Value> {
    object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default()
}

fn put_list(object: &mut Value, field: &str, list: Vec<Value>) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    if list.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), json!(list));
    }
}

fn kind_of(api_version: &str, kind: &str) -> &'static Kind {
    dunlin_api::kind::by_kind(api_version, kind).expect("the registry has what controllers make")
}

//! What the garbage controller wants done to dependents and to their owners.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    deletion::{self, Propagation},
    view::ObjectId,
};
use serde_json::{Value, json};

use super::Executor;
use crate::service::{ObjectRef, User};

impl Executor {
    /// Deletes a dependent, and what depends on it in turn: what is asked here is not what a client means who asks for nothing, who keeps
    /// the pods of a Job.
    pub(super) async fn delete_dependent(
        &self,
        id: &ObjectId,
        uid: &str,
        propagation: Propagation,
    ) -> Result<(), Status> {
        let Some(target) = object(id) else { return Ok(()) };
        let latest = self.service.get(&collector(), target).await?;
        let policy = match deletion::inherited(&latest, propagation) {
            Propagation::Orphan => "Orphan",
            Propagation::Foreground => "Foreground",
            Propagation::Background | Propagation::Default => "Background",
        };
        // Somebody who asks for something else meanwhile is not overruled.
        let version = &latest["metadata"]["resourceVersion"];
        let options = json!({
            "preconditions": { "uid": uid, "resourceVersion": version }, "propagationPolicy": policy,
        });
        self.service.delete(&collector(), target, options).await.map(drop)
    }

    pub(super) async fn disown(&self, id: &ObjectId, uid: &str, owners: &[String]) -> Result<(), Status> {
        let is_lost = |owner: &Value| owners.iter().any(|uid| owner["uid"] == uid.as_str());
        self.remove_from(id, uid, "ownerReferences", is_lost).await
    }

    pub(super) async fn remove_finalizer(
        &self,
        id: &ObjectId,
        uid: &str,
        finalizer: &str,
    ) -> Result<(), Status> {
        self.remove_from(id, uid, "finalizers", |known| known == finalizer).await
    }

    /// Removes elements from a list in an object's metadata.
    async fn remove_from(
        &self,
        id: &ObjectId,
        uid: &str,
        list: &str,
        is_removed: impl Fn(&Value) -> bool + Send,
    ) -> Result<(), Status> {
        let Some(target) = object(id) else { return Ok(()) };
        let change = move |object: &mut Value| {
            let Some(metadata) = object["metadata"].as_object_mut() else { return false };
            let Some(elements) = metadata.get_mut(list).and_then(Value::as_array_mut) else { return false };
            let before = elements.len();
            elements.retain(|element| !is_removed(element));
            let changed = elements.len() < before;
            if elements.is_empty() {
                metadata.remove(list);
            }
            changed
        };
        self.service.modify(&collector(), target, "", Some(uid), change).await.map(drop).map_err(Status::from)
    }
}

/// The object meant; `None` when its kind is served no more.
fn object(id: &ObjectId) -> Option<ObjectRef<'_>> {
    let kind = id.resource.kind()?;
    Some(ObjectRef { kind, namespace: &id.key.namespace, name: &id.key.name })
}

fn collector() -> User {
    User::controller("generic-garbage-collector")
}

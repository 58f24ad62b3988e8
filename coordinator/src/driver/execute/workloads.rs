//! What controllers of workloads want made, changed and told.

use dunlin_api::{Kind, Status, kind, patch};
use dunlin_coordinator_core::{
    blueprint::{self, Made},
    controllers::{
        WorkloadAction,
        create::{Blueprint, Creation},
        tell::{self, Component},
    },
    view::ObjectId,
};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Executor, NOT_FOUND};
use crate::{
    events::{Occurrence, Regarding, Severity},
    service::{ObjectRef, User},
};

impl Executor {
    /// Does what a controller of workloads wants.
    pub(super) async fn do_for_workload(
        &self,
        by: Component,
        action: WorkloadAction,
        now: Timestamp,
    ) -> Result<(), Status> {
        match action {
            WorkloadAction::Create(creation) => self.create_for(by, &creation, now).await,
            WorkloadAction::Patch { id, uid, subresource, patch } => {
                self.merge(by, &id, &uid, subresource, &patch).await
            }
            WorkloadAction::DeleteOwned { id, uid, owner, owner_uid } => {
                self.delete_owned(by, &id, &uid, (&owner, &owner_uid), now).await
            }
            WorkloadAction::Adopt { id, uid, owner, owner_uid } => {
                self.adopt(by, &id, &uid, (&owner, &owner_uid)).await
            }
            WorkloadAction::DeleteExpired { id, uid } => self.delete_expired(by, &id, &uid).await,
            WorkloadAction::Release { id, uid, owner } => self.release(by, &id, &uid, &owner).await,
            WorkloadAction::Tell { about, uid, severity, reason, message } => {
                self.tell(by, (&about, &uid), (severity, reason, message), now);
                Ok(())
            }
        }
    }

    /// Creates what a controller asks for, unless the owner is another by now.
    async fn create_for(&self, by: Component, creation: &Creation, now: Timestamp) -> Result<(), Status> {
        let Creation { owner, uid, generation, what } = creation;
        let (Some(object), user) = (reference(owner), user(by)) else { return Ok(()) };
        let stored = self.service.get(&user, object).await?;
        let metadata = &stored["metadata"];
        let is_meant = metadata["uid"] == **uid
            && metadata["generation"].as_i64().unwrap_or_default() == *generation
            && metadata["deletionTimestamp"].is_null();
        if !is_meant {
            return Ok(());
        }
        let mut left = blueprint::build(object.kind, &stored, what);
        let mut at_once = 1;
        while !left.is_empty() {
            let batch: Vec<Made> = left.drain(..at_once.min(left.len())).collect();
            let made = stream::iter(batch)
                .map(|made| self.create_one(&user, &owner.key.namespace, made))
                .buffer_unordered(CREATED_AT_ONCE)
                .collect::<Vec<_>>()
                .await;
            for outcome in made {
                self.tell_creation(by, (owner, uid), what, &outcome, now);
                outcome?;
            }
            at_once = (2 * at_once).min(CREATED_AT_ONCE);
        }
        Ok(())
    }

    /// Merges a patch into an object; one that changes nothing is not written.
    async fn merge(
        &self,
        by: Component,
        id: &ObjectId,
        uid: &str,
        subresource: &str,
        patch: &Value,
    ) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        let change = |object: &mut Value| {
            let before = object.clone();
            patch::merge(object, patch.clone());
            *object != before
        };
        let changed = self.service.modify(&user(by), object, subresource, Some(uid), change).await;
        changed.map(drop).map_err(Status::from)
    }

    async fn delete_owned(
        &self,
        by: Component,
        id: &ObjectId,
        uid: &str,
        owner: (&ObjectId, &str),
        now: Timestamp,
    ) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        let options = json!({ "preconditions": { "uid": uid }, "propagationPolicy": "Background" });
        let what = noun(object.kind);
        let told = match self.service.delete(&user(by), object, options).await {
            Ok(_) => {
                Ok((tell::Severity::Normal, "SuccessfulDelete", format!("Deleted {what}: {}", object.name)))
            }
            Err(status) if status.code() == NOT_FOUND => return Ok(()),
            Err(status) => Err(status),
        };
        match told {
            Ok(told) => self.tell(by, owner, told, now),
            Err(status) => {
                let message = format!("Error deleting: {}", status.message());
                self.tell(by, owner, (tell::Severity::Warning, "FailedDelete", message), now);
                return Err(status);
            }
        }
        Ok(())
    }

    /// Deletes an object whose time is over; what it owns goes with it.
    async fn delete_expired(&self, by: Component, id: &ObjectId, uid: &str) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        let options = json!({ "preconditions": { "uid": uid }, "propagationPolicy": "Foreground" });
        self.service.delete(&user(by), object, options).await.map(drop)
    }

    async fn adopt(
        &self,
        by: Component,
        id: &ObjectId,
        uid: &str,
        (owner, owner_uid): (&ObjectId, &str),
    ) -> Result<(), Status> {
        let Some(kind) = owner.resource.kind() else { return Ok(()) };
        let reference = blueprint::controller_reference(kind, &owner.key.name, owner_uid);
        let patch = json!({ "metadata": { "uid": uid, "ownerReferences": [reference] } });
        self.patch_owners(by, id, &patch).await
    }

    async fn release(&self, by: Component, id: &ObjectId, uid: &str, owner: &str) -> Result<(), Status> {
        let gone = json!({ "$patch": "delete", "uid": owner });
        let patch = json!({ "metadata": { "uid": uid, "ownerReferences": [gone] } });
        self.patch_owners(by, id, &patch).await
    }

    async fn patch_owners(&self, by: Component, id: &ObjectId, patch: &Value) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        self.service.patch_strategically(&user(by), object, patch).await.map(drop)
    }

    /// Says something about an object.
    fn tell(
        &self,
        by: Component,
        (about, uid): (&ObjectId, &str),
        (severity, reason, message): (tell::Severity, &str, String),
        now: Timestamp,
    ) {
        let Some(object) = reference(about) else { return };
        self.recorder.record(Occurrence {
            user: user(by),
            regarding: Regarding {
                api_version: object.kind.api_version().into(),
                kind: object.kind.kind,
                namespace: object.namespace.to_owned(),
                name: object.name.to_owned(),
                uid: uid.to_owned(),
                field_path: String::new(),
            },
            severity: match severity {
                tell::Severity::Normal => Severity::Normal,
                tell::Severity::Warning => Severity::Warning,
            },
            reason: reason.to_owned(),
            message,
            component: by.name(),
            host: String::new(),
            at: now,
        });
    }

    async fn create_one(&self, user: &User, namespace: &str, made: Made) -> Result<Value, Status> {
        let kind =
            kind::by_kind(made.api_version, made.kind).expect("the registry has what controllers make");
        self.service.create(user, kind, namespace, made.object).await
    }

    /// Pods are told of one by one; what else is made, its controller tells of.
    fn tell_creation(
        &self,
        by: Component,
        (owner, uid): (&ObjectId, &str),
        what: &Blueprint,
        outcome: &Result<Value, Status>,
        now: Timestamp,
    ) {
        let told = match (outcome, what) {
            (Ok(made), Blueprint::Pods { .. } | Blueprint::IndexedPods { .. }) => {
                let name = made["metadata"]["name"].as_str().unwrap_or_default();
                (tell::Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"))
            }
            (Ok(made), Blueprint::Job { .. }) => {
                let name = made["metadata"]["name"].as_str().unwrap_or_default();
                (tell::Severity::Normal, "SuccessfulCreate", format!("Created job {name}"))
            }
            (Ok(_), Blueprint::ReplicaSet { .. }) => return,
            (Err(status), Blueprint::Pods { .. } | Blueprint::IndexedPods { .. }) => {
                (tell::Severity::Warning, "FailedCreate", format!("Error creating: {}", status.message()))
            }
            (Err(status), Blueprint::Job { .. }) => {
                (tell::Severity::Warning, "FailedCreate", format!("Error creating job: {}", status.message()))
            }
            (Err(status), Blueprint::ReplicaSet { name, .. }) => {
                let message = format!("Failed to create new replica set \"{name}\": {}", status.message());
                (tell::Severity::Warning, "ReplicaSetCreateError", message)
            }
        };
        self.tell(by, (owner, uid), told, now);
    }
}

fn user(by: Component) -> User {
    User::controller(by.account())
}

/// The object meant; `None` when its kind is served no more.
fn reference(id: &ObjectId) -> Option<ObjectRef<'_>> {
    Some(ObjectRef { kind: id.resource.kind()?, namespace: &id.key.namespace, name: &id.key.name })
}

/// What events call an object of a kind.
fn noun(kind: &Kind) -> &'static str {
    match kind.kind {
        "Pod" => "pod",
        "ReplicaSet" => "replica set",
        "Job" => "job",
        other => other,
    }
}

/// Objects of one plan created at once.
const CREATED_AT_ONCE: usize = 64;

//! What controllers of workloads want made, changed and told.

mod told;

use std::sync::Arc;

use dunlin_api::{Status, kind, patch};
use dunlin_coordinator_core::{
    blueprint::{self, Made},
    controllers::{
        StatusChange, WorkloadAction,
        create::{Blueprint, Creation},
        tell::{self, Component},
    },
    restore,
    view::{ObjectId, Resource},
    volume_claim,
};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ALREADY_EXISTS, Executor, NOT_FOUND};
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
            WorkloadAction::CreateObject { resource, namespace, object } => {
                self.create_object(by, resource, &namespace, object).await
            }
            WorkloadAction::Patch { id, uid, subresource, patch } => {
                self.merge(by, &id, &uid, subresource, &patch).await
            }
            WorkloadAction::WriteStatus { id, uid, change } => {
                self.write_status(by, &id, &uid, &change).await
            }
            WorkloadAction::DeleteOwned { id, uid, owner, owner_uid } => {
                self.delete_owned(by, &id, &uid, (&owner, &owner_uid), now).await
            }
            WorkloadAction::Adopt { id, uid, owner, owner_uid } => {
                self.adopt(by, &id, &uid, (&owner, &owner_uid)).await
            }
            WorkloadAction::RestoreTemplate { id, uid, generation, from, from_uid } => {
                self.restore_template(by, (&id, &uid, generation), (&from, &from_uid)).await
            }
            WorkloadAction::DeleteExpired { id, uid } => self.delete_expired(by, &id, &uid).await,
            WorkloadAction::Discard { id, uid } => self.discard(by, &id, &uid).await,
            WorkloadAction::Reown { id, uid, gone, owner } => {
                let owner = owner.as_ref().map(|(id, uid)| (id, &**uid));
                self.reown(by, &id, &uid, &gone, owner).await
            }
            WorkloadAction::Release { id, uid, owner } => self.release(by, &id, &uid, &owner).await,
            WorkloadAction::Guard { id, uid, finalizer } => {
                self.rewrite(by, &id, &uid, |object| volume_claim::guard(object, finalizer)).await
            }
            WorkloadAction::Unguard { id, uid, finalizer } => {
                self.rewrite(by, &id, &uid, |object| volume_claim::unguard(object, finalizer)).await
            }
            WorkloadAction::ClaimVolume { id, uid, claim, claim_uid } => {
                self.rewrite(by, &id, &uid, |volume| volume_claim::claim(volume, &claim, &claim_uid)).await
            }
            WorkloadAction::UnclaimVolume { id, uid, claim_uid } => {
                self.rewrite(by, &id, &uid, |volume| volume_claim::unclaim(volume, &claim_uid)).await
            }
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
        let stored = match what.template_from().and_then(reference) {
            Some(revision) => blueprint::with_template_of(stored, &self.service.get(&user, revision).await?),
            None => stored,
        };
        let asked = Asked { by, owner, uid, what, user: &user, now };
        let mut left = blueprint::build(object.kind, &stored, what);
        let mut at_once = 1;
        while !left.is_empty() {
            let batch: Vec<Made> = left.drain(..at_once.min(left.len())).collect();
            let made = stream::iter(batch)
                .map(|made| self.create_one(&asked, made))
                .buffer_unordered(CREATED_AT_ONCE)
                .collect::<Vec<_>>()
                .await;
            made.into_iter().collect::<Result<(), _>>()?;
            at_once = (2 * at_once).min(CREATED_AT_ONCE);
        }
        Ok(())
    }

    /// Creates an object as it is given.
    pub(super) async fn create_object(
        &self,
        by: Component,
        resource: Resource,
        namespace: &str,
        object: Value,
    ) -> Result<(), Status> {
        let Some(kind) = resource.kind() else { return Ok(()) };
        self.service.create(&user(by), kind, namespace, object).await.map(drop)
    }

    /// Merges a patch into an object; one that changes nothing is not written.
    pub(super) async fn merge(
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

    /// Changes an object's status; a change that finds everything as it is to be is not written.
    pub(super) async fn write_status(
        &self,
        by: Component,
        id: &ObjectId,
        uid: &str,
        change: &StatusChange,
    ) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        let carry_out = |object: &mut Value| {
            let before = object.clone();
            change.carry_out(object);
            *object != before
        };
        let changed = self.service.modify(&user(by), object, "status", Some(uid), carry_out).await;
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
        let name = object.name;
        match self.service.delete(&user(by), object, options).await {
            Ok(_) => {
                let told = told::of_deletion(by, &owner.0.key.name, (object.kind, name), Ok(()));
                self.tell(by, owner, told, now);
            }
            Err(status) if status.code() == NOT_FOUND => {}
            Err(status) => {
                let outcome = Err(status.message());
                let told = told::of_deletion(by, &owner.0.key.name, (object.kind, name), outcome);
                self.tell(by, owner, told, now);
                return Err(status);
            }
        }
        Ok(())
    }

    /// Deletes an object without a word.
    async fn discard(&self, by: Component, id: &ObjectId, uid: &str) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        let options = json!({ "preconditions": { "uid": uid } });
        self.service.delete(&user(by), object, options).await.map(drop)
    }

    async fn reown(
        &self,
        by: Component,
        id: &ObjectId,
        uid: &str,
        gone: &[Arc<str>],
        owner: Option<(&ObjectId, &str)>,
    ) -> Result<(), Status> {
        let change = |object: &mut Value| {
            let before = object["metadata"]["ownerReferences"].clone();
            blueprint::reown(object, gone, owner);
            object["metadata"]["ownerReferences"] != before
        };
        self.rewrite(by, id, uid, change).await
    }

    /// Changes an object; `change` says whether there is anything to write.
    async fn rewrite(
        &self,
        by: Component,
        id: &ObjectId,
        uid: &str,
        change: impl FnMut(&mut Value) -> bool + Send,
    ) -> Result<(), Status> {
        let Some(object) = reference(id) else { return Ok(()) };
        let changed = self.service.modify(&user(by), object, "", Some(uid), change).await;
        changed.map(drop).map_err(Status::from)
    }

    /// Gives an object the template of an earlier revision, unless it was changed since that was decided.
    async fn restore_template(
        &self,
        by: Component,
        (id, uid, generation): (&ObjectId, &str, i64),
        (from, from_uid): (&ObjectId, &str),
    ) -> Result<(), Status> {
        let (Some(object), Some(revision)) = (reference(id), reference(from)) else { return Ok(()) };
        let kept = self.service.get(&user(by), revision).await?;
        if kept["metadata"]["uid"] != from_uid {
            return Ok(());
        }
        let change = |object: &mut Value| {
            object["metadata"]["generation"] == generation && restore::restore(object, &kept)
        };
        let changed = self.service.modify(&user(by), object, "", Some(uid), change).await;
        changed.map(drop).map_err(Status::from)
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
        self.service.patch_strategically(&user(by), object, "", patch).await.map(drop)
    }

    /// Says something about an object.
    pub(super) fn tell(
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

    /// Creates an object after what it needs, and says so at its owner.
    async fn create_one(&self, asked: &Asked<'_>, made: Made) -> Result<(), Status> {
        for need in made.needs {
            let name = name_of(&need.object).to_owned();
            if let Err(status) = self.create_and_tell(asked, need.api_version, need.kind, need.object).await {
                let why = format!("failed to create PVC {name}: {}", status.message());
                self.tell_creation(asked, (made.kind, name_of(&made.object)), Err(&why));
                return Err(status);
            }
        }
        self.create_and_tell(asked, made.api_version, made.kind, made.object).await
    }

    async fn create_and_tell(
        &self,
        asked: &Asked<'_>,
        api_version: &str,
        kind: &str,
        object: Value,
    ) -> Result<(), Status> {
        let meant = name_of(&object).to_owned();
        let found = kind::by_kind(api_version, kind).expect("the registry has what controllers make");
        match self.service.create(asked.user, found, &asked.owner.key.namespace, object).await {
            Ok(made) => self.tell_creation(asked, (kind, name_of(&made)), Ok(())),
            // The owner's pod or claim of this name; or somebody else's, which its controller sees.
            Err(status) if !meant.is_empty() && status.reason() == ALREADY_EXISTS => {}
            Err(status) => {
                self.tell_creation(asked, (kind, &meant), Err(status.message()));
                return Err(status);
            }
        }
        Ok(())
    }

    fn tell_creation(&self, asked: &Asked<'_>, (kind, name): (&str, &str), outcome: Result<(), &str>) {
        let owner = &asked.owner.key.name;
        if let Some(told) = told::of_creation(asked.by, owner, asked.what, (kind, name), outcome) {
            self.tell(asked.by, (asked.owner, asked.uid), told, asked.now);
        }
    }
}

/// What something is created for.
struct Asked<'a> {
    by: Component,
    owner: &'a ObjectId,
    uid: &'a str,
    what: &'a Blueprint,
    user: &'a User,
    now: Timestamp,
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn user(by: Component) -> User {
    User::controller(by.account())
}

/// The object meant; `None` when its kind is served no more.
fn reference(id: &ObjectId) -> Option<ObjectRef<'_>> {
    Some(ObjectRef { kind: id.resource.kind()?, namespace: &id.key.namespace, name: &id.key.name })
}

/// Objects of one plan created at once.
const CREATED_AT_ONCE: usize = 64;

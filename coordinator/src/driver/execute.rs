//! Carries out what controllers and scheduler decided, through the API service.
//!
//! Every write names the uid it was decided for, so that a stale one is refused; an object that is gone needs nothing any more.

mod autoscale;
mod budget;
mod certificates;
mod garbage;
mod namespace;
mod nodes;
pub(super) mod scheduling;
mod security;
mod workloads;

use dunlin_api::{Kind, Status, kind};
use dunlin_coordinator_core::{
    ObjectKey,
    controllers::{Action, autoscaler::Measured},
    pod_status,
    view::Resource,
};
use dunlin_link::{PodUid, Revision};
use futures_util::{StreamExt as _, TryStreamExt as _, future::ready, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    events::Recorder,
    pki::Pki,
    service::{
        ApiService, ObjectRef, User,
        stored::{self, StoredKey},
    },
    store::{ListOptions, Store, StoreError},
};

/// Writes on behalf of controllers and scheduler.
pub(super) struct Executor {
    store: Store,
    service: ApiService,
    recorder: Recorder,
    pki: Pki,
    measured: mpsc::Sender<(ObjectKey, Measured)>,
}

/// A pod's condition to set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

impl Executor {
    pub(super) fn new(
        store: Store,
        service: ApiService,
        recorder: Recorder,
        pki: Pki,
        measured: mpsc::Sender<(ObjectKey, Measured)>,
    ) -> Self {
        Self { store, service, recorder, pki, measured }
    }

    /// Sets a condition of a pod; one that is set already is not written. Says whether it was not.
    async fn set_condition(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        condition: Condition<'_>,
        now: Timestamp,
        user: &User,
    ) -> Result<bool, Status> {
        let Condition { kind, status, reason, message } = condition;
        let mut changed = false;
        let set = |pod: &mut Value| {
            changed = pod_status::set_condition(pod, kind, (status, reason, message), now);
            changed
        };
        self.change_pod(user, key, uid, set).await?;
        Ok(changed)
    }

    /// Carries out a plan, its independent actions together: one that fails keeps no other from being done. What tells of their outcome
    /// comes after them.
    pub(super) async fn carry_out(&self, actions: Vec<Action>, now: Timestamp) -> Result<(), Status> {
        let (last, first): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action, Action::TellRemains { .. }));
        let done = self.together(first, now).await;
        done.and(self.together(last, now).await)
    }

    async fn together(&self, actions: Vec<Action>, now: Timestamp) -> Result<(), Status> {
        stream::iter(actions)
            .map(|action| self.one(action, now))
            .buffer_unordered(ACTIONS_AT_ONCE)
            .fold(Ok(()), |first: Result<(), Status>, next| ready(first.and(next)))
            .await
    }

    /// The store's revision: not before anything that was written here.
    pub(super) fn revision(&self) -> Revision {
        self.store.revision()
    }

    async fn one(&self, action: Action, now: Timestamp) -> Result<(), Status> {
        let result = match action {
            Action::MarkNodeUnknown { node, uid } => self.mark_node_unknown(&node, &uid, now).await,
            Action::MarkNodeKnown { node, uid } => self.mark_node_known(&node, &uid, now).await,
            Action::Taint { node, uid, add, remove } => self.taint(&node, &uid, &add, &remove, now).await,
            Action::MarkPodLost(key, uid) => self.mark_pod_lost(&key, &uid, now).await,
            Action::MarkPodFound(key, uid) => self.mark_pod_found(&key, &uid, now).await,
            Action::Evict(key, uid) => self.evict(&key, &uid, now).await,
            Action::CancelEviction(key, uid) => {
                self.tell_eviction(&key, &uid, format!("Cancelling deletion of Pod {key}"), now);
                Ok(())
            }
            Action::Remove(key, uid, why) => self.remove_pod(&key, &uid, why, now).await,
            Action::DeleteAll { namespace, resource } => self.delete_all(&namespace, resource).await,
            Action::TellRemains { name, uid, resources } => {
                self.tell_remains(&name, &uid, &resources, now).await
            }
            Action::FinalizeNamespace { name, .. } => {
                self.service.finalize_namespace(&User::controller(NAMESPACES), &name, &[]).await.map(drop)
            }
            Action::DeleteDependent { id, uid, propagation } => {
                self.delete_dependent(&id, &uid, propagation).await
            }
            Action::Disown { id, uid, owners } => self.disown(&id, &uid, &owners).await,
            Action::RemoveFinalizer { id, uid, finalizer } => {
                self.remove_finalizer(&id, &uid, finalizer).await
            }
            Action::CreateDefaultAccount { namespace } => self.create_account(&namespace).await,
            Action::PublishRootCa { namespace } => self.publish_root_ca(&namespace).await,
            Action::RemoveBootstrapToken { name, uid } => self.remove_bootstrap_token(&name, &uid).await,
            Action::UpdateBudget(update) => self.update_budget(*update, now).await,
            Action::SignCertificateRequest { name, uid } => self.sign_request(&name, &uid, now).await,
            Action::RemoveCertificateRequest { name, uid } => self.remove_request(&name, &uid).await,
            Action::AggregateRoles => self.aggregate_roles().await,
            Action::Measure { key, api_version, kind, name } => {
                self.measure(&key, (&api_version, &kind, &name)).await;
                Ok(())
            }
            Action::Rescale(rescale) => self.rescale(&rescale, now).await,
            Action::Workload(by, action) => self.do_for_workload(by, action, now).await,
        };
        match result {
            // Gone, or another object by now: the plan was for one that no longer needs it.
            Err(status) if status.code() == NOT_FOUND || status.code() == CONFLICT => Ok(()),
            result => result,
        }
    }

    async fn delete_all(&self, namespace: &str, resource: Resource) -> Result<(), Status> {
        // Objects of a kind that is served no more are out of reach until it is served again.
        let Some(kind) = resource.kind() else { return Ok(()) };
        // Events about the end of others may come while they are deleted; the next plan takes them.
        let prefix = stored::prefix(kind, namespace);
        let mut options = ListOptions { prefix, after: None, limit: Some(DELETED_AT_ONCE), at: None };
        loop {
            let unavailable = |error: StoreError| Status::service_unavailable(error.to_string());
            let page = self.store.list_part(options.clone()).await.map_err(unavailable)?;
            options.after = page.items.last().map(|item| item.key.clone());
            stream::iter(page.items.into_iter().map(|item| Ok(item.key)))
                .try_for_each_concurrent(ACTIONS_AT_ONCE, |key| async move { self.delete_stored(&key).await })
                .await?;
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn delete_stored(&self, key: &str) -> Result<(), Status> {
        let Some(StoredKey { kind, namespace, name }) = StoredKey::parse(key) else { return Ok(()) };
        match self
            .service
            .delete(&User::controller(NAMESPACES), ObjectRef { kind, namespace, name }, json!({}))
            .await
        {
            Err(status) if status.code() != NOT_FOUND => Err(status),
            _ => Ok(()),
        }
    }

    async fn create_account(&self, namespace: &str) -> Result<(), Status> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": namespace },
        });
        let kind = by_kind("ServiceAccount");
        let user = User::controller("service-account-controller");
        self.service.create(&user, kind, namespace, account).await.map(drop)
    }

    async fn delete_pod(&self, user: &User, key: &ObjectKey, options: Value) -> Result<(), Status> {
        let object = ObjectRef { kind: by_kind("Pod"), namespace: &key.namespace, name: &key.name };
        self.service.delete(user, object, options).await.map(drop)
    }

    async fn change_pod(
        &self,
        user: &User,
        key: &ObjectKey,
        uid: &PodUid,
        change: impl FnMut(&mut Value) -> bool + Send,
    ) -> Result<(), Status> {
        let object = ObjectRef { kind: by_kind("Pod"), namespace: &key.namespace, name: &key.name };
        self.service
            .modify(user, object, "status", Some(uid.as_str()), change)
            .await
            .map(drop)
            .map_err(Status::from)
    }
}

fn by_kind(name: &str) -> &'static Kind {
    kind::by_kind("v1", name).expect("the registry has the kinds that controllers write")
}

/// Actions of one plan carried out at once.
const ACTIONS_AT_ONCE: usize = 64;

/// Objects of one kind read at once to be deleted.
const DELETED_AT_ONCE: usize = 500;

/// The controller of namespaces.
const NAMESPACES: &str = "namespace-controller";

/// Reason of a status.
const ALREADY_EXISTS: &str = "AlreadyExists";
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

//! Deleting: at once, or by marking the object until its finalizers and its node are done with it.

mod decide;

use dunlin_api::{
    Kind, Status,
    kind::{Removed, SYSTEM_PRIORITY_CLASSES},
};
use dunlin_coordinator_core::deletion::{Manner, Propagation, Stop, Wish};
use futures_util::{TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    ApiService, ObjectRef, User,
    change::{Decision, Outcome},
    delete_options::DeleteOptions,
    list::Found,
    options::{DryRun, ListRequest},
    path::{ResourceRequest, Verb},
    stored::StoredKey,
    update::ModifyError,
};

pub(super) use self::decide::{decide, settle};

impl ApiService {
    /// Deletes an object: `options` is a `metav1.DeleteOptions`, or null. Answers the object as marked, or what Kubernetes answers
    /// for one that is gone.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn delete(&self, user: &User, object: ObjectRef<'_>, options: Value) -> Result<Value, Status> {
        let options = if options.is_null() { json!({}) } else { options };
        let options = DeleteOptions::from_body(&options)?;
        self.delete_with(user, &object.request(Verb::Delete, ""), &options).await
    }

    /// Removes a pod whose node confirmed that it stopped. `user` is the node, or a component of the coordinator.
    ///
    /// # Errors
    /// [`ModifyError::Gone`] when it is gone, also when its name belongs to another pod by now.
    pub async fn remove_stopped_pod(
        &self,
        user: &User,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), ModifyError> {
        let pod = ObjectRef { kind: super::get::pod_kind(), namespace, name };
        let wish = Wish {
            grace_seconds: Some(0),
            uid: Some(uid.to_owned()),
            resource_version: None,
            propagation: Propagation::Background,
            stop: Stop::Confirmed,
        };
        let options = DeleteOptions { wish, dry_run: DryRun::No };
        // A node may do this to its own pods and nothing else that deletes, so it is granted by what it may update.
        let grant = self.authorize(user, &pod.request(Verb::Update, "status")).await?;
        let request = pod.request(Verb::Delete, "");
        let now = self.clock().now();
        let decide = |current: &Value| {
            grant.check_current(user, &request, current).map_err(ModifyError::Gone)?;
            if current["metadata"]["uid"] != uid {
                let detail = format!("it is not the pod of UID {uid} any more");
                return Err(ModifyError::Gone(Status::conflict(pod.kind, name, &detail)));
            }
            if current["metadata"]["deletionTimestamp"].is_null() {
                return Err(Status::conflict(pod.kind, name, "the pod is not being deleted").into());
            }
            Ok(decide(pod, current, &options, now)?)
        };
        self.change(pod, DryRun::No, decide).await.map(drop)
    }

    /// Deletes what a list selects; answers the objects as they were.
    pub(super) async fn delete_collection(
        &self,
        user: &User,
        request: &ResourceRequest,
        list: &ListRequest,
        options: &DeleteOptions,
    ) -> Result<Found, Status> {
        self.authorize(user, request).await?;
        let mut found = self.find(request, list).await?;
        let keys = found.items.iter().filter_map(|item| StoredKey::parse(&item.key));
        let delete = |key: StoredKey<'_>| {
            let one = ObjectRef { kind: request.kind, namespace: key.namespace, name: key.name };
            let one = one.request(Verb::DeleteCollection, "");
            async move {
                match self.delete_with(user, &one, options).await {
                    Err(status) if status.reason() != "NotFound" => Err(status),
                    _ => Ok(()),
                }
            }
        };
        stream::iter(keys.map(Ok)).try_for_each_concurrent(DELETES_AT_ONCE, delete).await?;
        (found.token, found.remaining) = (None, None);
        Ok(found)
    }

    pub(super) async fn delete_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        options: &DeleteOptions,
    ) -> Result<Value, Status> {
        let grant = self.authorize(user, request).await?;
        let object = request.object();
        if Manner::of(object.kind) == Manner::Namespace && PROTECTED_NAMESPACES.contains(&object.name) {
            return Err(Status::forbidden(object.kind, object.name, "this namespace may not be deleted"));
        }
        if is_system_class(object) {
            let detail = "this is a system priority class and cannot be deleted";
            return Err(Status::forbidden(object.kind, object.name, detail));
        }
        let now = self.clock().now();
        let decide = |current: &Value| -> Result<Decision, Status> {
            grant.check_current(user, request, current)?;
            decide(object, current, options, now)
        };
        Ok(match self.change(object, options.dry_run, decide).await? {
            Outcome::Kept(current) => current,
            Outcome::Removed(last) if object.kind.removed == Removed::LastState => last,
            Outcome::Removed(last) => {
                let uid = last["metadata"]["uid"].as_str().unwrap_or_default();
                Status::deleted(object.kind, object.name, uid).0
            }
        })
    }
}

/// What is worth saying about a delete before it is done.
pub(super) fn warnings(kind: &Kind, options: &DeleteOptions) -> Vec<String> {
    let keeps_pods = kind.group == "batch" && kind.kind == "Job";
    let warns = keeps_pods && options.wish.propagation == Propagation::Default;
    warns.then(|| PODS_ARE_KEPT.to_owned()).into_iter().collect()
}

/// Whether it is a priority class that the cluster cannot be without.
fn is_system_class(object: ObjectRef<'_>) -> bool {
    object.kind.kind == "PriorityClass"
        && SYSTEM_PRIORITY_CLASSES.iter().any(|(name, _)| *name == object.name)
}

/// The words of Kubernetes, whose client prints them.
const PODS_ARE_KEPT: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                             remove them or set propagationPolicy=Orphan to suppress this warning";

/// Objects of a collection that are deleted together, so that they share the store's flushes.
const DELETES_AT_ONCE: usize = 32;

/// Namespaces that the cluster cannot be without.
const PROTECTED_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

//! What the controllers of nodes want done: conditions and taints of nodes, and what becomes of their pods.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    ObjectKey, controllers::pod_gc::Removal, node_lease, node_status, pod_status, view::Effect,
};
use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Condition, Executor, by_kind};
use crate::{
    events::{Occurrence, Regarding, Severity},
    service::{ObjectRef, User},
};

impl Executor {
    pub(super) async fn mark_node_unknown(
        &self,
        node: &NodeName,
        uid: &str,
        now: Timestamp,
    ) -> Result<(), Status> {
        let mark = |node: &mut Value| node_status::mark_unknown(node, now);
        self.change_node(node, "status", uid, mark).await?;
        let message = format!("Node {node} status is now: NodeNotReady");
        self.tell_node(node, uid, (Severity::Normal, "NodeNotReady", message), now);
        self.keep_contact(node).await;
        Ok(())
    }

    pub(super) async fn mark_node_known(
        &self,
        node: &NodeName,
        uid: &str,
        now: Timestamp,
    ) -> Result<(), Status> {
        self.change_node(node, "status", uid, |node| node_status::mark_known(node, now)).await
    }

    pub(super) async fn taint(
        &self,
        node: &NodeName,
        uid: &str,
        add: &[(&str, Effect)],
        remove: &[(&str, Effect)],
        now: Timestamp,
    ) -> Result<(), Status> {
        let change = |node: &mut Value| node_status::change_taints(node, add, remove, now);
        self.change_node(node, "", uid, change).await
    }

    pub(super) async fn mark_pod_lost(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        now: Timestamp,
    ) -> Result<(), Status> {
        let mut changed = false;
        let mark = |pod: &mut Value| {
            changed = pod_status::mark_node_lost(pod, now);
            changed
        };
        self.change_pod(&node_controller(), key, uid, mark).await?;
        if changed {
            let told = (Severity::Warning, "NodeNotReady", "Node is not ready".to_owned());
            self.tell_pod(key, uid, "node-controller", told, now);
        }
        Ok(())
    }

    pub(super) async fn mark_pod_found(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        now: Timestamp,
    ) -> Result<(), Status> {
        let mark = |pod: &mut Value| pod_status::mark_node_found(pod, now);
        self.change_pod(&node_controller(), key, uid, mark).await
    }

    pub(super) async fn evict(&self, key: &ObjectKey, uid: &PodUid, now: Timestamp) -> Result<(), Status> {
        let message = "Taint manager: deleting due to NoExecute taint";
        let condition =
            Condition { kind: "DisruptionTarget", status: "True", reason: "DeletionByTaintManager", message };
        self.set_condition(key, uid, condition, now, &node_controller()).await?;
        self.tell_eviction(key, uid, format!("Marking for deletion Pod {key}"), now);
        let options = json!({ "preconditions": { "uid": uid.as_str() } });
        self.delete_pod(&node_controller(), key, options).await
    }

    /// Says what becomes of a pod because of taints.
    pub(super) fn tell_eviction(&self, key: &ObjectKey, uid: &PodUid, message: String, now: Timestamp) {
        let told = (Severity::Normal, "TaintManagerEviction", message);
        self.tell_pod(key, uid, "taint-eviction-controller", told, now);
    }

    /// Removes a pod at once. One that did not end has failed, so that whoever counts its end does.
    pub(super) async fn remove_pod(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        why: Removal,
        now: Timestamp,
    ) -> Result<(), Status> {
        let user = User::controller("pod-garbage-collector");
        if why != Removal::Ended {
            let object = ObjectRef { kind: by_kind("Pod"), namespace: &key.namespace, name: &key.name };
            let patch = pod_status::failure_patch(uid.as_str(), why.condition(), now);
            self.service.patch_strategically(&user, object, "status", &patch).await?;
        }
        let options = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": uid.as_str() } });
        self.delete_pod(&user, key, options).await
    }

    /// Writes down when a node that fell silent was last heard of; while it is heard of, that is known without writing.
    async fn keep_contact(&self, node: &NodeName) {
        let Some(last) = self.service.contacts().ended(node) else { return };
        let object =
            ObjectRef { kind: node_lease::kind(), namespace: node_lease::NAMESPACE, name: node.as_str() };
        let renew = |lease: &mut Value| node_lease::renew(lease, last);
        // In the name of the node, whose word it is; without its Lease there is nothing to tell.
        if let Err(error) = self.service.modify(&User::node(node), object, "", None, renew).await {
            tracing::debug!(%node, %error, "when the node was last heard of cannot be stored");
        }
    }

    async fn change_node(
        &self,
        node: &NodeName,
        subresource: &str,
        uid: &str,
        change: impl FnMut(&mut Value) -> bool + Send,
    ) -> Result<(), Status> {
        let object = ObjectRef { kind: by_kind("Node"), namespace: "", name: node.as_str() };
        self.service
            .modify(&node_controller(), object, subresource, Some(uid), change)
            .await
            .map(drop)
            .map_err(Status::from)
    }

    fn tell_node(
        &self,
        node: &NodeName,
        uid: &str,
        (severity, reason, message): (Severity, &str, String),
        now: Timestamp,
    ) {
        let regarding = Regarding {
            api_version: "v1".into(),
            kind: "Node",
            namespace: String::new(),
            name: node.as_str().to_owned(),
            uid: uid.to_owned(),
            field_path: String::new(),
        };
        self.recorder.record(Occurrence {
            user: node_controller(),
            regarding,
            severity,
            reason: reason.to_owned(),
            message,
            component: "node-controller",
            host: String::new(),
            at: now,
        });
    }

    fn tell_pod(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        component: &'static str,
        (severity, reason, message): (Severity, &str, String),
        now: Timestamp,
    ) {
        self.recorder.record(Occurrence {
            user: node_controller(),
            regarding: Regarding {
                api_version: "v1".into(),
                kind: "Pod",
                namespace: key.namespace.to_string(),
                name: key.name.to_string(),
                uid: uid.as_str().to_owned(),
                field_path: String::new(),
            },
            severity,
            reason: reason.to_owned(),
            message,
            component,
            host: String::new(),
            at: now,
        });
    }
}

/// Who looks after nodes and evicts from them.
fn node_controller() -> User {
    User::controller("node-controller")
}

//! `pods/binding` and `namespaces/finalize`: subresources that are no part of what they change.

use dunlin_api::{
    Status,
    pipeline::{self, Ownership},
};
use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ApiService, ObjectRef, User,
    change::Decision,
    delete::settle,
    options::WriteOptions,
    path::{ResourceRequest, Verb},
};

impl ApiService {
    /// Binds a pod to a node: sets `spec.nodeName` and the PodScheduled condition together. `uid` guards against a pod that took
    /// the name meanwhile.
    ///
    /// # Errors
    /// Conflict when the pod is bound, being deleted, or another one.
    pub async fn bind(
        &self,
        user: &User,
        namespace: &str,
        name: &str,
        uid: &str,
        node: &NodeName,
    ) -> Result<(), Status> {
        let pod = ObjectRef { kind: super::get::pod_kind(), namespace, name };
        let binding = json!({"metadata": {"name": name, "uid": uid}, "target": {"kind": "Node", "name": node.as_str()}});
        let request = pod.request(Verb::Create, "binding");
        self.bind_with(user, &request, &binding, &WriteOptions::internal(user)).await
    }

    /// Carries out a `Binding`.
    pub(super) async fn bind_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        self.authorize(user, request).await?;
        self.bind_granted(request, binding, options).await
    }

    /// Carries out a `Binding` of the pod that it names itself, which is granted.
    pub(super) async fn bind_named(
        &self,
        request: &ResourceRequest,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        let pod = ObjectRef { kind: super::get::pod_kind(), namespace: &request.namespace, name };
        self.bind_granted(&pod.request(Verb::Create, "binding"), binding, options).await
    }

    async fn bind_granted(
        &self,
        request: &ResourceRequest,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let target = check_binding(request, binding)?;
        let (now, now_text) = (self.clock().now(), self.clock().now_text());
        let object = request.object();
        let conflict = |detail: &str| {
            let mut status = Status::conflict(object.kind, object.name, detail);
            let message =
                format!("Operation cannot be fulfilled on pods/binding \"{}\": {detail}", object.name);
            status.0["message"] = message.into();
            status.0["details"]["kind"] = "pods/binding".into();
            status
        };
        let decide = |current: &Value| -> Result<Decision, Status> {
            let (metadata, spec) = (&current["metadata"], &current["spec"]);
            let wanted = binding["metadata"]["uid"].as_str().unwrap_or_default();
            if !wanted.is_empty() && metadata["uid"] != wanted {
                return Err(conflict(&format!(
                    "Precondition failed: UID in precondition: {wanted}, UID in object meta: {}",
                    metadata["uid"].as_str().unwrap_or_default()
                )));
            }
            if !metadata["deletionTimestamp"].is_null() {
                return Err(conflict(&format!(
                    "pod {} is being deleted, cannot be assigned to a host",
                    object.name
                )));
            }
            if let Some(node) = spec["nodeName"].as_str().filter(|node| !node.is_empty()) {
                return Err(conflict(&format!("pod {} is already assigned to node \"{node}\"", object.name)));
            }
            let mut pod = bound(current, binding, target, &now_text);
            track(request, options, current, &mut pod, now);
            Ok(Decision::Put(pod))
        };
        self.change(object, options.dry_run, decide).await.map(drop)
    }

    /// Replaces the finalizers in a namespace's spec; with none left a namespace that is being deleted is gone.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn finalize_namespace(
        &self,
        user: &User,
        name: &str,
        finalizers: &[&str],
    ) -> Result<Value, Status> {
        let kind = dunlin_api::kind::by_kind("v1", "Namespace").expect("the registry has namespaces");
        let request = ObjectRef { kind, namespace: "", name }.request(Verb::Update, "finalize");
        let wanted = json!({"spec": {"finalizers": finalizers}});
        self.finalize_with(user, &request, &wanted, &WriteOptions::internal(user)).await
    }

    pub(super) async fn finalize_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        namespace: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        self.authorize(user, request).await?;
        let finalizers = namespace["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
        let now = self.clock().now();
        let decide = |current: &Value| -> Result<Decision, Status> {
            super::update::check_version(request, current, namespace)?;
            let mut new = current.clone();
            if finalizers.is_empty() {
                new["spec"].as_object_mut().map(|spec| spec.remove("finalizers"));
            } else {
                new["spec"]["finalizers"] = finalizers.clone().into();
            }
            track(request, options, current, &mut new, now);
            Ok(settle(request.object(), new, now))
        };
        self.change(request.object(), options.dry_run, decide).await.map(super::change::Outcome::into_object)
    }
}

/// Notes whose the fields are that a subresource changed.
fn track(
    request: &ResourceRequest,
    options: &WriteOptions,
    current: &Value,
    new: &mut Value,
    now: Timestamp,
) {
    if let Ownership::Tracked(manager) = options.ownership() {
        pipeline::track(request.kind, &request.subresource, current, new, manager, now);
    }
}

/// The node that a binding names.
fn check_binding<'b>(request: &ResourceRequest, binding: &'b Value) -> Result<&'b str, Status> {
    let name = binding["metadata"]["name"].as_str().unwrap_or_default();
    if name != request.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
    if !namespace.is_empty() && namespace != request.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let target = &binding["target"];
    let kind = target["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        let error = dunlin_api::field::FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]);
        return Err(Status::invalid(request.kind, name, &[error]));
    }
    target["name"].as_str().filter(|node| !node.is_empty()).ok_or_else(|| {
        let error = dunlin_api::field::FieldError::required("target.name", "");
        Status::invalid(request.kind, name, &[error])
    })
}

fn bound(current: &Value, binding: &Value, node: &str, now: &str) -> Value {
    let mut pod = current.clone();
    pod["spec"]["nodeName"] = node.into();
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    pod["status"]["conditions"] = conditions.into();
    pod
}

//! Admission: what Kubernetes' built-in plugins set and refuse about a new object, as functions of the object and what surrounds it.
//!
//! Whoever creates an object asks what it [`needs`] of its surroundings, looks that up, and hands it to the pipeline with the
//! [`Creation`]. The plugins run in Kubernetes' order: service account, priority, tolerations, runtime class; and when the object is
//! known to be valid, [`pod_security`]. What a node may not do is the authorizer's, and whether the namespace takes the object is asked
//! where that can be held against changes.

pub mod pod_security;
mod priority;
mod runtime_class;
mod service_account;
mod toleration_seconds;

use serde_json::Value;

use crate::{
    Kind, Status,
    kind::pod::mirror_of,
    pipeline::Creation,
    value::{object_mut, text},
};

pub use self::priority::PriorityClass;

/// What of the cluster decides about a new object; nothing, where nobody looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// The service account that the pod names.
    pub service_account: Option<Value>,
    /// The class that the pod names, or the default one when it names none.
    pub priority_class: Option<PriorityClass>,
    /// The RuntimeClass that the pod names.
    pub runtime_class: Option<Value>,
    /// What Pod Security holds the object against.
    pub around: pod_security::Around,
}

/// What is to be looked up for a new object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs<'a> {
    /// The pod's service account, unless it may have none.
    pub service_account: Option<&'a str>,
    /// The pod's class; empty is the default one.
    pub priority_class: &'a str,
    /// The pod's RuntimeClass, if it names one.
    pub runtime_class: Option<&'a str>,
}

/// What is to be looked up before `object` is created; `None` when nothing is.
pub fn needs<'a>(kind: &Kind, object: &'a Value) -> Option<Needs<'a>> {
    if !kind.group.is_empty() || kind.kind != "Pod" {
        return None;
    }
    let spec = &object["spec"];
    let service_account = match (text(spec, "serviceAccountName"), text(spec, "serviceAccount")) {
        _ if mirror_of(object).is_some() => None,
        ("", "") => Some(service_account::DEFAULT),
        ("", old) => Some(old),
        (name, _) => Some(name),
    };
    let runtime_class = Some(text(spec, "runtimeClassName")).filter(|name| !name.is_empty());
    Some(Needs { service_account, priority_class: text(spec, "priorityClassName"), runtime_class })
}

/// Admits a new pod.
pub(crate) fn admit_pod(kind: &Kind, pod: &mut Value, creation: &Creation<'_>) -> Result<(), Status> {
    let name = text(&pod["metadata"], "name").to_owned();
    service_account::admit(pod, creation);
    let spec = object_mut(pod, "spec");
    priority::admit(spec, creation.surroundings.priority_class.as_ref())
        .map_err(|why| Status::forbidden(kind, &name, &why))?;
    toleration_seconds::admit(spec);
    runtime_class::admit(spec, creation.surroundings.runtime_class.as_ref())
        .map_err(|why| Status::forbidden(kind, &name, &why))
}

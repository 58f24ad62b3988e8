//! Who may do what. Pure: attributes and objects in, a decision out; what needs the store is told by the [`Grant`].
//!
//! Administrators and the coordinator's own components may do everything. A node may do what running its pods takes, and nothing to
//! what is not its own. Nobody else may touch objects.

mod mirrors;

use std::{collections::BTreeSet, fmt};

use dunlin_api::{Kind, Status, kind::pod::mirror_of};
use dunlin_link::{NodeName, labels::is_own_label};
use serde_json::Value;

use super::{
    User,
    path::{ResourceRequest, Verb},
};

/// What a request is allowed, once its attributes are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// Everything.
    Full,
    /// The node's own Node, without what would widen the node's rights.
    OwnNode(NodeName),
    /// Pods bound to the node.
    BoundPods(NodeName),
    /// Mirrors of the node's own static pods, which name no other object.
    OwnMirrors(NodeName),
    /// ConfigMaps and Secrets that pods bound to the node name.
    NamedConfig(NodeName),
    /// Events about the node and pods bound to it.
    OwnEvents(NodeName),
}

/// Decides by the attributes of a request.
///
/// # Errors
/// 403 with Kubernetes' message.
pub(super) fn authorize(user: &User, request: &ResourceRequest) -> Result<Grant, Status> {
    if user.is_trusted() {
        return Ok(Grant::Full);
    }
    let Some(node) = user.node_name() else { return Err(refuse(user, request, "")) };
    let main = request.subresource.is_empty();
    let status = request.subresource == "status";
    let (group, plural) = (request.kind.group, request.kind.plural);
    let grant = match (group, plural, request.verb) {
        ("", "nodes", Verb::Create) if main => Some(Grant::OwnNode(node)),
        ("", "nodes", Verb::Get | Verb::Update | Verb::Patch)
            if (main || status) && request.name == node.as_str() =>
        {
            Some(Grant::OwnNode(node))
        }
        ("", "pods", Verb::Get | Verb::List | Verb::Watch) if main || status => Some(Grant::BoundPods(node)),
        ("", "pods", Verb::Update | Verb::Patch) if status => Some(Grant::BoundPods(node)),
        ("", "pods", Verb::Create | Verb::Delete) if main => Some(Grant::OwnMirrors(node)),
        ("", "configmaps" | "secrets", Verb::Get) if main => Some(Grant::NamedConfig(node)),
        ("", "events", Verb::Create) if main => Some(Grant::OwnEvents(node)),
        _ => None,
    };
    grant.ok_or_else(|| refuse(user, request, ""))
}

impl Grant {
    /// Checks an object that is read, or the current state of one that is changed.
    pub(super) fn check_current(
        &self,
        user: &User,
        request: &ResourceRequest,
        object: &Value,
    ) -> Result<(), Status> {
        match self {
            Self::BoundPods(node) if object["spec"]["nodeName"] != node.as_str() => {
                Err(refuse(user, request, &no_relation(node)))
            }
            Self::OwnMirrors(node)
                if object["spec"]["nodeName"] != node.as_str() || mirror_of(object).is_none() =>
            {
                let why = format!("node '{node}' may only delete mirror pods that are bound to it");
                Err(refuse(user, request, &why))
            }
            _ => Ok(()),
        }
    }

    /// Checks an object that is about to be created.
    pub(super) fn check_new(
        &self,
        user: &User,
        request: &ResourceRequest,
        object: &Value,
    ) -> Result<(), Status> {
        match self {
            Self::OwnNode(node) if object["metadata"]["name"] != node.as_str() => {
                Err(refuse(user, request, &format!("node '{node}' may only create its own Node")))
            }
            Self::OwnNode(node) => check_labels(node, request.kind, &Value::Null, object),
            Self::OwnMirrors(node) => mirrors::check_new(node, object)
                .map_err(|why| Status::forbidden(request.kind, &name_of(object), &why)),
            _ => Ok(()),
        }
    }

    /// Checks a change of an object.
    pub(super) fn check_change(
        &self,
        request: &ResourceRequest,
        old: &Value,
        new: &Value,
    ) -> Result<(), Status> {
        match self {
            Self::OwnNode(node) => {
                if old["spec"]["taints"] != new["spec"]["taints"] {
                    let detail = format!("node \"{node}\" is not allowed to modify taints");
                    return Err(Status::forbidden(request.kind, &request.name, &detail));
                }
                check_labels(node, request.kind, old, new)
            }
            Self::BoundPods(node) if old["metadata"]["labels"] != new["metadata"]["labels"] => {
                let detail = format!("node \"{node}\" cannot update labels through pod status");
                Err(Status::forbidden(request.kind, &request.name, &detail))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a list or watch asks for no more than it may see; `bound_to` is the node that its field selector names.
    pub(super) fn check_list(
        &self,
        user: &User,
        request: &ResourceRequest,
        bound_to: Option<&str>,
    ) -> Result<(), Status> {
        match self {
            Self::BoundPods(node) if bound_to != Some(node.as_str()) => {
                let detail = "can only list or watch pods with spec.nodeName field selector";
                Err(refuse(user, request, &format!("node '{node}' {detail}")))
            }
            _ => Ok(()),
        }
    }
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Refuses a node that adds, changes or removes labels of its own Node that only administrators give.
fn check_labels(node: &NodeName, kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
    let labels = |object: &Value| object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let (old, new) = (labels(old), labels(new));
    let changed = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
    let refused: BTreeSet<&str> = changed.map(String::as_str).filter(|key| !is_own_label(key)).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let refused = refused.into_iter().collect::<Vec<_>>().join(", ");
    let detail = format!("node \"{node}\" is not allowed to modify labels: {refused}");
    Err(Status::forbidden(kind, node.as_str(), &detail))
}

/// Whether a pod names a ConfigMap or Secret, anywhere that makes a node need it.
pub(super) fn names_config(pod: &Value, kind: &Kind, name: &str) -> bool {
    let (references, volume, volume_name): (&[&str], _, _) = match kind.kind {
        "Secret" => (&["secretRef", "secretKeyRef"], "secret", "secretName"),
        _ => (&["configMapRef", "configMapKeyRef"], "configMap", "name"),
    };
    let spec = &pod["spec"];
    let in_volumes = list(&spec["volumes"]).iter().any(|entry| {
        let sources = list(&entry["projected"]["sources"]);
        entry[volume][volume_name] == name || sources.iter().any(|source| source[volume]["name"] == name)
    });
    let pulls =
        kind.kind == "Secret" && list(&spec["imagePullSecrets"]).iter().any(|entry| entry["name"] == name);
    let in_containers = ["initContainers", "containers", "ephemeralContainers"].iter().any(|containers| {
        list(&spec[*containers]).iter().any(|container| {
            let mut entries = list(&container["envFrom"]).iter().chain(list(&container["env"]));
            entries.any(|entry| {
                references
                    .iter()
                    .any(|field| entry[*field]["name"] == name || entry["valueFrom"][*field]["name"] == name)
            })
        })
    });
    in_volumes || pulls || in_containers
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The reason that Kubernetes' node authorizer gives.
pub(super) fn no_relation(node: &NodeName) -> String {
    format!("no relationship found between node '{node}' and this object")
}

/// 403 for a request; `why` may be empty.
pub(super) fn refuse(user: &User, request: &ResourceRequest, why: &str) -> Status {
    let detail = format!("User \"{}\" cannot {}{}", user.name, Asked(request), Why(why));
    Status::forbidden(request.kind, &request.name, &detail)
}

struct Asked<'a>(&'a ResourceRequest);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResourceRequest { verb, kind, namespace, subresource, .. } = self.0;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(
            f,
            "{} resource \"{}{slash}{subresource}\" in API group \"{}\"",
            verb.as_str(),
            kind.plural,
            kind.group
        )?;
        match namespace.as_str() {
            "" => write!(f, " at the cluster scope"),
            namespace => write!(f, " in the namespace \"{namespace}\""),
        }
    }
}

struct Why<'a>(&'a str);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

#[cfg(test)]
mod tests;

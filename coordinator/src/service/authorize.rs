//! Who may do what, in the order of Kubernetes: the cluster's administrators and the coordinator's own components everything, a node
//! what running its pods takes, and everybody what roles give them.
//!
//! [`node`] and what a [`Grant`] checks are functions of their arguments; [`access`] asks the store what they need.

mod access;
mod guard;
mod mirrors;
mod node;
mod signers;

use std::fmt;

use dunlin_api::{Kind, Status, kind::pod::mirror_of};
use dunlin_coordinator_core::authorizer::{Attributes, Target};
use dunlin_link::{NodeName, labels::is_own_label};
use serde_json::Value;

pub(super) use self::access::Decision;
use self::{guard::RoleGuard, signers::SignerGuard};
use super::{User, path::ResourceRequest};

/// What a request is allowed, and what is still to be checked once its object is known.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    scope: Scope,
    guard: Option<Guard>,
}

/// What is looked at in what is written, beyond that it may be.
#[derive(Clone, Debug)]
enum Guard {
    /// That nobody hands out rights that they do not have.
    Roles(RoleGuard),
    /// That whoever decides on certificates may do so for their signer.
    Signers(SignerGuard),
}

impl Guard {
    fn check(&self, kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
        match self {
            Self::Roles(guard) => guard.check(kind, old, new),
            Self::Signers(guard) => guard.check(kind, old, new),
        }
    }
}

/// Which objects a request is allowed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All.
    Full,
    /// The node's own Node, without what would widen the node's rights.
    OwnNode(NodeName),
    /// An object that has the node's name.
    OwnName(NodeName),
    /// Pods bound to the node.
    BoundPods(NodeName),
    /// Mirrors of the node's own static pods, which name no other object.
    OwnMirrors(NodeName),
    /// Events about the node and pods bound to it.
    OwnEvents(NodeName),
    /// Tokens for pods bound to the node.
    BoundTokens(NodeName),
}

impl Grant {
    /// Everything that was asked.
    pub(super) const FULL: Self = Self { scope: Scope::Full, guard: None };

    /// Which objects it is for.
    pub(super) const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Checks an object that is read, or the current state of one that is changed.
    pub(super) fn check_current(
        &self,
        user: &User,
        request: &ResourceRequest,
        object: &Value,
    ) -> Result<(), Status> {
        match &self.scope {
            Scope::BoundPods(node) if object["spec"]["nodeName"] != node.as_str() => {
                Err(refuse(user, request, &no_relation(node)))
            }
            Scope::OwnEvents(node) if !is_told_by(object, node) => {
                Err(refuse(user, request, &no_relation(node)))
            }
            Scope::OwnMirrors(node)
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
        match &self.scope {
            Scope::OwnNode(node) if object["metadata"]["name"] != node.as_str() => {
                return Err(refuse(user, request, &format!("node '{node}' may only create its own Node")));
            }
            Scope::OwnName(node) if object["metadata"]["name"] != node.as_str() => {
                let why = format!(
                    "can only access {} with the same name as the requesting node",
                    node::shown(request.kind)
                );
                return Err(Status::forbidden(request.kind, &name_of(object), &why));
            }
            Scope::OwnNode(node) => check_labels(node, request.kind, &Value::Null, object)?,
            Scope::OwnMirrors(node) => mirrors::check_new(node, object)
                .map_err(|why| Status::forbidden(request.kind, &name_of(object), &why))?,
            _ => {}
        }
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check(request.kind, &Value::Null, object))
    }

    /// Checks a change of an object.
    pub(super) fn check_change(
        &self,
        request: &ResourceRequest,
        old: &Value,
        new: &Value,
    ) -> Result<(), Status> {
        match &self.scope {
            Scope::OwnNode(node) => {
                if old["spec"]["taints"] != new["spec"]["taints"] {
                    let detail = format!("node \"{node}\" is not allowed to modify taints");
                    return Err(Status::forbidden(request.kind, &request.name, &detail));
                }
                check_labels(node, request.kind, old, new)?;
            }
            Scope::BoundPods(node) if old["metadata"]["labels"] != new["metadata"]["labels"] => {
                let detail = format!("node \"{node}\" cannot update labels through pod status");
                return Err(Status::forbidden(request.kind, &request.name, &detail));
            }
            _ => {}
        }
        self.guard.as_ref().map_or(Ok(()), |guard| guard.check(request.kind, old, new))
    }

    /// Checks that a list or watch asks for no more than it may see: `selected` tells the value that its field selector names for
    /// a field.
    pub(super) fn check_list<'s>(
        &self,
        user: &User,
        request: &ResourceRequest,
        selected: impl Fn(&str) -> Option<&'s str>,
    ) -> Result<(), Status> {
        match &self.scope {
            Scope::BoundPods(node) if selected("spec.nodeName") != Some(node.as_str()) => {
                let detail = "can only list or watch pods with spec.nodeName field selector";
                Err(refuse(user, request, &format!("node '{node}' {detail}")))
            }
            Scope::OwnNode(node)
                if request.name != node.as_str() && selected("metadata.name") != Some(node.as_str()) =>
            {
                let why = format!("node '{node}' cannot read all nodes, only its own Node object");
                Err(refuse(user, request, &why))
            }
            _ => Ok(()),
        }
    }
}

/// Whether an event was told by a node, in either form.
fn is_told_by(event: &Value, node: &NodeName) -> bool {
    event["source"]["host"] == node.as_str() || event["reportingInstance"] == node.as_str()
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Refuses a node that adds, changes or removes labels of its own Node that only administrators give.
fn check_labels(node: &NodeName, kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
    let labels = |object: &Value| object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let (old, new) = (labels(old), labels(new));
    let changed = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
    let mut refused: Vec<&str> = changed.map(String::as_str).filter(|key| !is_own_label(key)).collect();
    if refused.is_empty() {
        return Ok(());
    }
    refused.sort_unstable();
    refused.dedup();
    let detail = format!("node \"{node}\" is not allowed to modify labels: {}", refused.join(", "));
    Err(Status::forbidden(kind, node.as_str(), &detail))
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
    let detail = format!("User \"{}\" cannot {}{}", user.name, Asked(request.attributes()), Why(why));
    Status::forbidden(request.kind, &request.name, &detail)
}

/// 403 for what only a right is about, and no object; `why` may be empty.
pub(super) fn refuse_right(user: &User, asked: Attributes<'_>, why: &str) -> Status {
    let detail = format!("User \"{}\" cannot {}{}", user.name, Asked(asked), Why(why));
    match asked.target {
        Target::Resource { group, resource, name, .. } => {
            Status::forbidden_resource(group, resource, name, &detail)
        }
        Target::Path(path) => refuse_path(user, asked.verb, path, why),
    }
}

/// 403 for a path that is no object's; `why` may be empty.
fn refuse_path(user: &User, verb: &str, path: &str, why: &str) -> Status {
    let asked = Attributes { verb, target: Target::Path(path) };
    let message = format!("forbidden: User \"{}\" cannot {}{}", user.name, Asked(asked), Why(why));
    let mut status = Status::failure(403, "Forbidden", message);
    status.0["details"] = serde_json::json!({});
    status
}

struct Asked<'a>(Attributes<'a>);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.0.verb;
        match self.0.target {
            Target::Path(path) => write!(f, "{verb} path \"{path}\""),
            Target::Resource { group, resource, subresource, namespace, .. } => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                write!(f, "{verb} resource \"{resource}{slash}{subresource}\" in API group \"{group}\"")?;
                match namespace {
                    "" => write!(f, " at the cluster scope"),
                    namespace => write!(f, " in the namespace \"{namespace}\""),
                }
            }
        }
    }
}

struct Why<'a>(&'a str);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl ResourceRequest {
    /// What authorizers look at. A namespace lies in itself.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        let is_namespace = self.kind.group.is_empty() && self.kind.plural == "namespaces";
        let namespace = if is_namespace { &self.name } else { &self.namespace };
        let target = Target::Resource {
            group: self.kind.group,
            resource: self.kind.plural,
            subresource: &self.subresource,
            namespace,
            name: &self.name,
        };
        Attributes { verb: self.verb.as_str(), target }
    }
}

#[cfg(test)]
mod tests;

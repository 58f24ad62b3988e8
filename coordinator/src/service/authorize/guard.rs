//! Nobody hands out rights that they do not have: what a change of roles and bindings is checked against.

use std::sync::Arc;

use dunlin_api::{Kind, Status};
use dunlin_coordinator_core::authorizer::{self, Attributes, Index, PolicyRule, RoleRef, Target, covers};
use serde_json::Value;

use crate::service::{User, followed::Followed};

/// Checks what one request writes of roles and bindings.
#[derive(Clone, Debug)]
pub(in crate::service) struct RoleGuard {
    user: User,
    /// Of the request.
    namespace: String,
    /// As of when the request was authorized.
    roles: Arc<Followed<Index>>,
}

impl RoleGuard {
    /// A guard for what `user` writes in a namespace, or in the cluster when that is empty; `None` for kinds that hand out nothing.
    pub(super) fn new(
        user: &User,
        kind: &Kind,
        namespace: &str,
        roles: &Arc<Followed<Index>>,
    ) -> Option<Self> {
        (kind.group == authorizer::GROUP).then(|| Self {
            user: user.clone(),
            namespace: namespace.to_owned(),
            roles: Arc::clone(roles),
        })
    }

    /// Checks a new role or binding, or a change of one; `old` is null for a new one.
    ///
    /// # Errors
    /// 403 with the rights that the user lacks; 404 when a binding names a role that is not there.
    pub(super) fn check(&self, kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
        if !old.is_null() && differ_for_collection_only(old, new) {
            return Ok(());
        }
        match kind.kind {
            "Role" | "ClusterRole" => self.check_role(kind, old, new),
            "RoleBinding" | "ClusterRoleBinding" => self.check_binding(kind, new),
            _ => Ok(()),
        }
    }

    fn check_role(&self, kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
        // A role that is about to be made has no name yet that a right could be for.
        let name = if old.is_null() { "" } else { name_of(new) };
        if self.may("escalate", kind.plural, name) {
            return Ok(());
        }
        let aggregates = |role: &Value| !role["aggregationRule"].is_null();
        if (aggregates(old) || aggregates(new)) && self.lacks(&covers::everything()).is_some() {
            let of = if old.is_null() { "the " } else { "" };
            let detail = format!("must have cluster-admin privileges to use {of}aggregationRule");
            return Err(Status::forbidden(kind, name_of(new), &detail));
        }
        let rules: Vec<PolicyRule> = serde_json::from_value(new["rules"].clone()).unwrap_or_default();
        self.lacks(&rules).map_or(Ok(()), |why| Err(Status::forbidden(kind, name_of(new), &why)))
    }

    fn check_binding(&self, kind: &Kind, new: &Value) -> Result<(), Status> {
        let role = &new["roleRef"];
        let text = |field: &str| role[field].as_str().unwrap_or_default();
        let plural = if text("kind") == "Role" { "roles" } else { "clusterroles" };
        if self.may("bind", plural, text("name")) {
            return Ok(());
        }
        let role = RoleRef::new(text("kind"), text("name"));
        let rules =
            self.roles.peek(|index| index.rules_of(&role, &self.namespace).map(authorizer::Rules::unpack));
        let rules = rules.ok_or_else(|| {
            let mut status = Status::failure(404, "NotFound", role.not_found());
            status.0["details"] = serde_json::json!({
                "name": text("name"), "group": authorizer::GROUP, "kind": text("kind").to_lowercase(),
            });
            status
        })?;
        self.lacks(&rules).map_or(Ok(()), |why| Err(Status::forbidden(kind, name_of(new), &why)))
    }

    /// Whether a role gives the user this verb on a role.
    fn may(&self, verb: &str, resource: &str, name: &str) -> bool {
        let target = Target::Resource {
            group: authorizer::GROUP,
            resource,
            subresource: "",
            namespace: &self.namespace,
            name,
        };
        self.roles.peek(|index| index.allows(self.user.who(), &Attributes { verb, target }).is_ok())
    }

    /// What the user lacks of these rights, in Kubernetes' words; `None` when it is nothing.
    fn lacks(&self, wanted: &[PolicyRule]) -> Option<String> {
        let (owned, missing) = self.roles.peek(|index| index.rules_for(self.user.who(), &self.namespace));
        let lacking = covers::missing(&owned, wanted);
        if lacking.is_empty() {
            return None;
        }
        let mut text = format!(
            "user \"{}\" (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            self.user.name,
            covers::quoted(&self.user.groups),
            covers::describe(lacking)
        );
        if !missing.is_empty() {
            text.push_str(&format!("; resolution errors: [{missing}]"));
        }
        Some(text)
    }
}

/// Whether a change is only what garbage collection does: finalizers and owners.
fn differ_for_collection_only(old: &Value, new: &Value) -> bool {
    let stripped = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| {
                !["finalizers", "ownerReferences", "managedFields", "resourceVersion"]
                    .contains(&field.as_str())
            });
        }
        object
    };
    stripped(old) == stripped(new)
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

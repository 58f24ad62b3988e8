//! Asks the authorizers in their order, with what they need from the store.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    ObjectKey,
    authorizer::{Attributes, Index, PolicyRule, Target, Unresolved},
};
use dunlin_link::NodeName;

use super::{
    Grant, Guard, RoleGuard, Scope, SignerGuard, no_relation,
    node::{self, Opinion},
    refuse, refuse_path, refuse_right,
};
use crate::{
    service::{
        ApiService, User,
        change::decode,
        followed::Projection,
        get::pod_kind,
        path::ResourceRequest,
        store_failed,
        stored::{self, StoredKey},
    },
    store::ListOptions,
};

/// What the authorizers say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) enum Decision {
    /// It may be done, within this; why, where Kubernetes says why.
    Allowed(Scope, String),
    /// Nobody allows it; why, as far as anybody says why.
    Refused(String),
}

impl ApiService {
    /// Decides on a request for objects.
    ///
    /// # Errors
    /// 403 with Kubernetes' message.
    pub(in crate::service) async fn authorize(
        &self,
        user: &User,
        request: &ResourceRequest,
    ) -> Result<Grant, Status> {
        if user.is_trusted() {
            return Ok(Grant::FULL);
        }
        let roles = &self.inner.roles;
        let guard = RoleGuard::new(user, request.kind, &request.namespace, roles).map(Guard::Roles);
        let guard = guard.or_else(|| SignerGuard::new(user, request, roles).map(Guard::Signers));
        if guard.is_some() {
            // The guard looks at the roles as they are now.
            self.with_roles(|_| ()).await?;
        }
        match self.decide(user, &request.attributes()).await? {
            Decision::Allowed(scope, _) => Ok(Grant { scope, guard }),
            Decision::Refused(why) => Err(refuse(user, request, &why)),
        }
    }

    /// Decides on what a path asks for that is not served.
    ///
    /// # Errors
    /// 403 with Kubernetes' message.
    pub(in crate::service) async fn authorize_unserved(
        &self,
        user: &User,
        asked: Attributes<'_>,
    ) -> Result<(), Status> {
        match self.decide(user, &asked).await? {
            Decision::Allowed(..) => Ok(()),
            Decision::Refused(why) => Err(refuse_right(user, asked, &why)),
        }
    }

    /// Decides on a request for something that is no object.
    ///
    /// # Errors
    /// 403 with Kubernetes' message.
    pub(in crate::service) async fn authorize_path(
        &self,
        user: &User,
        verb: &str,
        path: &str,
    ) -> Result<(), Status> {
        let asked = Attributes { verb, target: Target::Path(path) };
        match self.decide(user, &asked).await? {
            Decision::Allowed(..) => Ok(()),
            Decision::Refused(why) => Err(refuse_path(user, verb, path, &why)),
        }
    }

    /// What the authorizers say, also of somebody who does not ask.
    pub(in crate::service) async fn decide(
        &self,
        user: &User,
        asked: &Attributes<'_>,
    ) -> Result<Decision, Status> {
        if user.is_trusted() || is_always_allowed(asked) {
            return Ok(Decision::Allowed(Scope::Full, String::new()));
        }
        let mut reasons = Vec::new();
        let node = user.node_name();
        if let Some(node) = &node {
            match node::opinion(node, asked) {
                Opinion::Granted(scope) => return Ok(Decision::Allowed(scope, String::new())),
                Opinion::IfNamed(scope) if self.is_named(node, asked).await? => {
                    return Ok(Decision::Allowed(scope, String::new()));
                }
                Opinion::IfNamed(_) => reasons.push(no_relation(node)),
                Opinion::Silent(why) => reasons.extend((!why.is_empty()).then_some(why)),
            }
        }
        let allowed = self
            .with_roles(|index| match index.allows(user.who(), asked) {
                Ok(granted) => Ok(granted.to_string()),
                Err(missing) => Err(missing),
            })
            .await?;
        match (allowed, node) {
            (Ok(reason), None) => Ok(Decision::Allowed(Scope::Full, reason)),
            (Ok(reason), Some(node)) => Ok(match node::restriction(&node, asked) {
                Ok(scope) => Decision::Allowed(scope, reason),
                Err(why) => Decision::Refused(why),
            }),
            (Err(missing), _) => {
                reasons.extend((!missing.is_empty()).then(|| format!("RBAC: {missing}")));
                Ok(Decision::Refused(reasons.join("\n")))
            }
        }
    }

    /// All rules that count for a user in a namespace, and the roles that are missing.
    pub(in crate::service) async fn rules_for(
        &self,
        user: &User,
        namespace: &str,
    ) -> Result<(Vec<PolicyRule>, Unresolved), Status> {
        self.with_roles(|index| index.rules_for(user.who(), namespace)).await
    }

    async fn with_roles<R>(&self, look: impl FnOnce(&Index) -> R) -> Result<R, Status> {
        self.inner.roles.look(self.store(), look).await.map_err(store_failed)
    }

    /// Whether a pod bound to `node` names the object asked for.
    async fn is_named(&self, node: &NodeName, asked: &Attributes<'_>) -> Result<bool, Status> {
        let Target::Resource { resource, namespace, name, .. } = asked.target else { return Ok(false) };
        if namespace.is_empty() || name.is_empty() {
            return Ok(false);
        }
        let prefix = stored::prefix(pod_kind(), namespace);
        let mut options = ListOptions { prefix, after: None, limit: Some(PODS_AT_ONCE), at: None };
        loop {
            let page = self.store().list_part(options.clone()).await.map_err(store_failed)?;
            for item in &page.items {
                let pod = decode(item)?;
                if pod["spec"]["nodeName"] == node.as_str() && node::names(&pod, resource, name) {
                    return Ok(true);
                }
            }
            options.at = Some(page.revision);
            options.after = page.items.last().map(|item| item.key.clone());
            if !page.more {
                return Ok(false);
            }
        }
    }
}

impl Projection for Index {
    fn put(&mut self, key: StoredKey<'_>, json: &[u8]) {
        let object = ObjectKey::new(key.namespace, key.name);
        if let Err(error) = self.apply(key.kind.plural, &object, json) {
            tracing::error!(kind = key.kind.kind, key = %object, %error, "a stored object cannot be decoded");
        }
    }

    fn remove(&mut self, key: StoredKey<'_>) {
        self.forget(key.kind.plural, &ObjectKey::new(key.namespace, key.name));
    }
}

/// Whether everybody may ask this, whatever roles say and whether or not they can be read: who asks whether a coordinator is well would
/// take a refusal for a no.
fn is_always_allowed(asked: &Attributes<'_>) -> bool {
    matches!(asked.target, Target::Path(path) if ALWAYS_ALLOWED_PATHS.contains(&path))
}

/// What `--authorization-always-allow-paths` of Kubernetes is by default: exactly these, and nothing below them.
const ALWAYS_ALLOWED_PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Pods looked at in one read.
const PODS_AT_ONCE: usize = 500;

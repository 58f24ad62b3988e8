//! Bearer tokens: whose they are, if they count now. Tokens of service accounts, and bootstrap tokens.
//!
//! A signature may be remembered; that the account is there, and all that the token is bound to, is looked up each time, so that a
//! token ends with what it is for.

mod bootstrap;

use dunlin_api::{Status, kind};
use dunlin_coordinator_core::account::token::{Bound, Claims, Named, TokenError};
use serde_json::Value;

use super::{ApiService, CREDENTIAL_ID, ObjectRef, User, change::decode};

/// Who shows a token.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The user.
    pub user: User,
    /// For whom of those asked about the token is; empty for tokens that are for the API only.
    pub audiences: Vec<String>,
}

/// Why a token does not count. The text is for reviews of tokens; who shows the token is told nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// By what it says itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What it is bound to is not there, or another one by now.
    #[error("{0}")]
    Unbound(String),
    /// The store cannot tell.
    #[error("failed to look up what the token is bound to")]
    Lookup(#[source] Status),
}

impl ApiService {
    /// Who shows `token`, if it is for one of `audiences`; without any, if it is for the API.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn authenticate_token(&self, token: &str, audiences: &[String]) -> Result<Bearer, Rejected> {
        if let Some((id, secret)) = bootstrap::parts(token) {
            return self.bootstrap_user(id, secret, audiences).await;
        }
        let keys = self.inner.attached.account_keys.get().ok_or(TokenError::Foreign)?;
        let claims = keys.verify(token)?;
        if claims.iss != ISSUER {
            return Err(TokenError::Foreign.into());
        }
        let own = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() { &own[..] } else { audiences };
        let audiences = claims.check(self.clock().now(), wanted)?;
        self.check_bound(&claims.kubernetes).await?;
        Ok(Bearer { user: user_of(&claims), audiences })
    }

    /// Checks that everything a token is bound to is there, and the same as when it was issued.
    async fn check_bound(&self, bound: &Bound) -> Result<(), Rejected> {
        let Bound { namespace, serviceaccount, secret, pod, node, .. } = bound;
        self.check_one("ServiceAccount", "service account", namespace, serviceaccount).await?;
        if let Some(secret) = secret {
            self.check_one("Secret", "secret", namespace, secret).await?;
        }
        if let Some(pod) = pod {
            return self.check_one("Pod", "pod", namespace, pod).await;
        }
        // The node of a pod is told only; a token that is for a node ends with it.
        match node {
            Some(node) => self.check_one("Node", "node", "", node).await,
            None => Ok(()),
        }
    }

    async fn check_one(
        &self,
        kind: &str,
        called: &str,
        namespace: &str,
        named: &Named,
    ) -> Result<(), Rejected> {
        let kind = kind::by_kind("v1", kind).expect("the registry has what tokens are bound to");
        let object = ObjectRef { kind, namespace, name: &named.name };
        let shown =
            if namespace.is_empty() { named.name.clone() } else { format!("{namespace}/{}", named.name) };
        let found = self.read_value(object).await.map_err(Rejected::Lookup)?;
        let found = found.ok_or_else(|| Rejected::Unbound(format!("{called} {shown} not found")))?;
        let found = decode(&found).map_err(Rejected::Lookup)?;
        let deleted = dunlin_api::time::parse_time(&found["metadata"]["deletionTimestamp"]);
        if deleted.is_some_and(|at| at < self.clock().now() - DELETION_LEEWAY) {
            return Err(Rejected::Unbound(format!("{called} {shown} has been deleted")));
        }
        let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
        if uid == named.uid {
            Ok(())
        } else {
            Err(Rejected::Unbound(format!("{called} UID ({uid}) does not match claim ({})", named.uid)))
        }
    }

    /// The object's current state, or nothing.
    pub(super) async fn find_core(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Status> {
        self.find_of("v1", kind, (namespace, name)).await
    }

    /// The current state of an object of one of our kinds, or nothing. Whatever belongs to no namespace has an empty one.
    pub(super) async fn find_of(
        &self,
        api_version: &str,
        kind: &str,
        (namespace, name): (&str, &str),
    ) -> Result<Option<Value>, Status> {
        let kind =
            kind::by_kind(api_version, kind).expect("the registry has the kinds that are asked for here");
        let found = self.read_value(ObjectRef { kind, namespace, name }).await?;
        found.as_ref().map(decode).transpose()
    }
}

/// The user that a token's claims make.
fn user_of(claims: &Claims) -> User {
    let Bound { namespace, serviceaccount, pod, node, .. } = &claims.kubernetes;
    let mut user = User::service_account(namespace, &serviceaccount.name, &serviceaccount.uid);
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            let key = format!("authentication.kubernetes.io/{key}");
            user.extra.insert(key, vec![value.to_owned()]);
        }
    };
    for (key, named) in [("pod", pod), ("node", node)] {
        if let Some(named) = named {
            add(&format!("{key}-name"), &named.name);
            add(&format!("{key}-uid"), &named.uid);
        }
    }
    if claims.jti.is_empty() { user } else { user.with_extra(CREDENTIAL_ID, format!("JTI={}", claims.jti)) }
}

/// Who issues tokens, and whom tokens for the API are for.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How long tokens go on to count after the deletion of what they are bound to began, as in Kubernetes: what is being deleted may
/// have something left to do.
const DELETION_LEEWAY: std::time::Duration = std::time::Duration::from_secs(60);

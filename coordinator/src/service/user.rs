//! Who asks.

use std::collections::BTreeMap;

use dunlin_api::pipeline::Requester;
use dunlin_coordinator_core::{account, authorizer::Who};
use dunlin_link::NodeName;
use serde_json::{Value, json};

/// Who asks: what a client certificate or a token says, or a component of the coordinator itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// For instance `system:node:n1`, `admin`, `system:kube-scheduler`.
    pub name: String,
    /// What tells this user from another one of the name, where there is such a thing.
    pub uid: String,
    /// For instance `system:masters`, `system:nodes`.
    pub groups: Vec<String>,
    /// What else its credentials say, for instance the pod that a token is for.
    pub extra: BTreeMap<String, Vec<String>>,
    origin: Origin,
}

/// Where it is known from who asks. A name proves nothing: anybody may have been given a certificate for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A client's credentials.
    Client,
    /// The coordinator's own code.
    Component,
}

impl User {
    /// A user by a client's credentials.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.into(),
            uid: String::new(),
            groups: groups.into_iter().collect(),
            extra: BTreeMap::new(),
            origin: Origin::Client,
        }
    }

    /// The scheduler, with the rights of its default roles.
    pub fn scheduler() -> Self {
        Self::new(SCHEDULER, []).authenticated()
    }

    /// The coordinator itself, for what no controller of its own does.
    pub fn controller_manager() -> Self {
        Self { origin: Origin::Component, ..Self::new(CONTROLLER_MANAGER, []) }
    }

    /// One of the controllers, as the service account whose rights it has: those of its default role and no more.
    pub fn controller(name: &str) -> Self {
        Self::service_account("kube-system", name, "")
    }

    /// A node's session.
    pub fn node(node: &NodeName) -> Self {
        Self::new(format!("{NODE_PREFIX}{node}"), [NODES.to_owned()]).authenticated()
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let user = Self::new(account::user(namespace, name), account::groups(namespace));
        Self { uid: uid.to_owned(), ..user.authenticated() }
    }

    /// Whoever showed nothing.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED.to_owned()])
    }

    /// The same user, as one whose credentials were looked at and found good.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        if !self.is_in(AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// The same user, in the group of those who are known or of those who are not, unless its groups say so already.
    #[must_use]
    pub(super) fn classified(mut self) -> Self {
        let is_anonymous = self.is_anonymous();
        let known = |group: &str| group == UNAUTHENTICATED || !is_anonymous && group == AUTHENTICATED;
        if !self.groups.iter().any(|group| known(group)) {
            let group = if is_anonymous { UNAUTHENTICATED } else { AUTHENTICATED };
            self.groups.push(group.to_owned());
        }
        self
    }

    /// The same user, with this said by its credentials too.
    #[must_use]
    pub fn with_extra(mut self, key: &str, value: impl Into<String>) -> Self {
        self.extra.insert(key.to_owned(), vec![value.into()]);
        self
    }

    /// Who asks, for authorizers.
    pub(super) fn who(&self) -> Who<'_> {
        Who { name: &self.name, groups: &self.groups }
    }

    /// Whether this is whoever showed nothing.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Whether its credentials were looked at and found good.
    pub(super) fn is_authenticated(&self) -> bool {
        self.is_in(AUTHENTICATED) || self.is_trusted()
    }

    /// Whether everything is allowed.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_in(MASTERS) || self.origin == Origin::Component
    }

    /// What it is as a manager of fields, when it is a component that asks from within the coordinator.
    pub(super) fn component(&self) -> &'static str {
        match self.name.as_str() {
            SCHEDULER => "dunlin-scheduler",
            name if name.starts_with(NODE_PREFIX) => "dunlin-node",
            _ => "dunlin-controllers",
        }
    }

    /// Whether this is an administrator, or a part of the cluster that runs outside the coordinator.
    pub(super) fn is_system(&self) -> bool {
        self.is_in(MASTERS) || self.is_in(SYSTEM_ACCOUNTS) || self.name.starts_with(COMPONENT_PREFIX)
    }

    /// The node that asks, when it is one.
    pub(super) fn node_name(&self) -> Option<NodeName> {
        let name = self.name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty())?;
        self.is_in(NODES).then(|| NodeName::new(name))
    }

    /// What objects say of whoever asked for them.
    pub(super) fn as_requester(&self) -> Requester {
        let extra = if self.extra.is_empty() { Value::Null } else { json!(self.extra) };
        Requester { name: self.name.clone(), uid: self.uid.clone(), groups: self.groups.clone(), extra }
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|member| member == group)
    }
}

/// What a user's extra says of the certificate or token that was shown.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";
const SYSTEM_ACCOUNTS: &str = "system:serviceaccounts:kube-system";
const COMPONENT_PREFIX: &str = "system:kube-";
const NODE_PREFIX: &str = "system:node:";
const SCHEDULER: &str = "system:kube-scheduler";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

//! Who asks.

use dunlin_api::pipeline::Requester;
use dunlin_link::NodeName;

/// Who asks: from a client certificate's subject (CN is the name, O are groups), or a component of the coordinator itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// For instance `system:node:n1`, `admin`, `system:kube-scheduler`.
    pub name: String,
    /// For instance `system:masters`, `system:nodes`.
    pub groups: Vec<String>,
}

impl User {
    /// The scheduler.
    pub fn scheduler() -> Self {
        Self { name: SCHEDULER.to_owned(), groups: Vec::new() }
    }

    /// The controllers.
    pub fn controller_manager() -> Self {
        Self { name: CONTROLLER_MANAGER.to_owned(), groups: Vec::new() }
    }

    /// A node's session.
    pub fn node(node: &NodeName) -> Self {
        Self { name: format!("{NODE_PREFIX}{node}"), groups: vec![NODES.to_owned()] }
    }

    /// Whoever showed nothing.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()] }
    }

    /// Whether this is whoever showed nothing.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Whether everything is allowed.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_in(MASTERS) || self.name == SCHEDULER || self.name == CONTROLLER_MANAGER
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

    /// Whether this is one that watches over the cluster.
    pub(super) fn is_monitor(&self) -> bool {
        self.is_in(MONITORING)
    }

    /// The node that asks, when it is one.
    pub(super) fn node_name(&self) -> Option<NodeName> {
        let name = self.name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty())?;
        self.is_in(NODES).then(|| NodeName::new(name))
    }

    /// What objects say of whoever asked for them.
    pub(super) fn as_requester(&self) -> Requester {
        Requester { name: self.name.clone(), groups: self.groups.clone(), ..Requester::default() }
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|member| member == group)
    }
}

const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const MASTERS: &str = "system:masters";
const MONITORING: &str = "system:monitoring";
const NODES: &str = "system:nodes";
const SYSTEM_ACCOUNTS: &str = "system:serviceaccounts:kube-system";
const COMPONENT_PREFIX: &str = "system:kube-";
const NODE_PREFIX: &str = "system:node:";
const SCHEDULER: &str = "system:kube-scheduler";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

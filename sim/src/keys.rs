//! Where things lie in the modelled store.

use dunlin_coordinator_core::{
    ObjectKey,
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    deletion::Manner,
    view::{
        ObjectId, Resource,
        services::SERVICES,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS, REPLICA_SETS},
    },
};
use dunlin_link::{NodeName, pod::ConfigKind};
use serde_json::Value;

/// What a key of the store names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Pod(ObjectKey),
    Node(NodeName),
    Config(ConfigKind, ObjectKey),
    /// A workload or a Service, what one is made of, or a budget.
    Object(ObjectId),
    Record,
}

impl Place {
    pub(crate) fn of(key: &str) -> Self {
        let named =
            |rest: &str| rest.split_once('/').map(|(namespace, name)| ObjectKey::new(namespace, name));
        let under = |prefix: &str| key.strip_prefix(prefix);
        if let Some(pod) = under(PODS).and_then(named) {
            Self::Pod(pod)
        } else if let Some(name) = under(NODES) {
            Self::Node(NodeName::new(name))
        } else if let Some(map) = under(CONFIG_MAPS).and_then(named) {
            Self::Config(ConfigKind::ConfigMap, map)
        } else if let Some(secret) = under(SECRETS).and_then(named) {
            Self::Config(ConfigKind::Secret, secret)
        } else {
            let object = RESOURCES.into_iter().find_map(|resource| {
                let rest = under(&objects(resource))?;
                Some(ObjectId { resource, key: named(rest)? })
            });
            object.map_or(Self::Record, Self::Object)
        }
    }

    /// How what lies there ends.
    pub(crate) fn manner(&self) -> Manner {
        match self {
            Self::Pod(_) => Manner::Pod,
            Self::Object(id) => id.resource.kind().map_or(Manner::Plain, Manner::of),
            Self::Node(_) | Self::Config(..) | Self::Record => Manner::Plain,
        }
    }
}

pub(crate) fn pod(key: &ObjectKey) -> String {
    format!("{PODS}{}/{}", key.namespace, key.name)
}

pub(crate) fn node(name: &NodeName) -> String {
    format!("{NODES}{name}")
}

pub(crate) fn config(kind: ConfigKind, key: &ObjectKey) -> String {
    let prefix = match kind {
        ConfigKind::ConfigMap => CONFIG_MAPS,
        ConfigKind::Secret => SECRETS,
    };
    format!("{prefix}{}/{}", key.namespace, key.name)
}

/// Namespace and name of an object.
pub(crate) fn name_of(object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    ObjectKey::new(text("namespace"), text("name"))
}

/// Of any object that a controller names.
pub(crate) fn object(id: &ObjectId) -> String {
    format!("{}{}/{}", objects(id.resource), id.key.namespace, id.key.name)
}

/// What the keys of a kind's objects begin with.
pub(crate) fn objects(resource: Resource) -> String {
    format!("/registry/{}/", resource.plural)
}

/// Kinds that have objects here besides pods, nodes and configuration.
const RESOURCES: [Resource; 12] = [
    REPLICA_SETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    DAEMON_SETS,
    CONTROLLER_REVISIONS,
    JOBS,
    CRON_JOBS,
    BUDGETS,
    HORIZONTAL_POD_AUTOSCALERS,
    SERVICES,
    ENDPOINTS,
    ENDPOINT_SLICES,
];

/// StatefulSets.
pub(crate) const STATEFUL_SETS: Resource = Resource { group: "apps", plural: "statefulsets" };

/// DaemonSets.
pub(crate) const DAEMON_SETS: Resource = Resource { group: "apps", plural: "daemonsets" };

/// ControllerRevisions.
pub(crate) const CONTROLLER_REVISIONS: Resource = Resource { group: "apps", plural: "controllerrevisions" };

/// PodDisruptionBudgets.
pub(crate) const BUDGETS: Resource = Resource { group: "policy", plural: "poddisruptionbudgets" };

/// Endpoints.
pub(crate) const ENDPOINTS: Resource = Resource::core("endpoints");

/// EndpointSlices.
pub(crate) const ENDPOINT_SLICES: Resource = Resource { group: "discovery.k8s.io", plural: "endpointslices" };

pub(crate) const PODS_RESOURCE: Resource = Resource::core("pods");
pub(crate) const PODS: &str = "/registry/pods/";
pub(crate) const TERM: &str = "/dunlin/term";
pub(crate) const NODES: &str = "/registry/nodes/";
const CONFIG_MAPS: &str = "/registry/configmaps/";
const SECRETS: &str = "/registry/secrets/";

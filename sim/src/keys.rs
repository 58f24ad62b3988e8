//! Where things lie in the modelled store.

use dunlin_coordinator_core::ObjectKey;
use dunlin_link::{NodeName, pod::ConfigKind};

/// What a key of the store names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Pod(ObjectKey),
    Node(NodeName),
    Config(ConfigKind, ObjectKey),
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
            Self::Record
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

pub(crate) const PODS: &str = "/registry/pods/";
pub(crate) const TERM: &str = "/dunlin/term";
const NODES: &str = "/registry/nodes/";
const CONFIG_MAPS: &str = "/registry/configmaps/";
const SECRETS: &str = "/registry/secrets/";

//! What a pod belongs to: its labels and its controller. The same for all replicas of a workload, so held once for all of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value};

use super::decode::Meta;

/// Labels and controller of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affiliation {
    /// `metadata.labels`.
    pub labels: Map<String, Value>,
    /// The owner that manages it.
    pub controller: Option<Controller>,
}

/// The one of `metadata.ownerReferences` that manages an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name, in the namespace of what it manages.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Affiliation {
    pub(super) fn of(metadata: &mut Meta) -> Self {
        let labels = std::mem::take(&mut metadata.labels);
        let labels = labels.into_iter().map(|(key, value)| (key, value.into())).collect();
        Self { labels, controller: Controller::of(metadata) }
    }
}

impl Controller {
    pub(super) fn of(metadata: &mut Meta) -> Option<Self> {
        let owners = std::mem::take(&mut metadata.owner_references);
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        let OwnerReference { api_version, kind, name, uid, .. } = owner;
        Some(Self { api_version, kind, name, uid })
    }
}

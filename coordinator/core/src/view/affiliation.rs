//! What a pod belongs to: its labels and its controller. The same for all replicas of a workload, so held once for all of them.

use std::collections::BTreeMap;

use dunlin_api::kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::{Resource, decode::Meta};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Labels and controller of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affiliation {
    /// `metadata.labels`.
    pub labels: Labels,
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
        let owners = std::mem::take(&mut metadata.owner_references);
        Self { labels, controller: Controller::among(owners) }
    }
}

impl Controller {
    /// The kind, if it is served here.
    pub fn resource(&self) -> Option<Resource> {
        kind::by_kind(&self.api_version, &self.kind).map(Resource::of)
    }

    pub(super) fn among(owners: Vec<OwnerReference>) -> Option<Self> {
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        let OwnerReference { api_version, kind, name, uid, .. } = owner;
        Some(Self { api_version, kind, name, uid })
    }
}

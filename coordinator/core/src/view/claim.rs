//! PersistentVolumeClaims in the view: that they are there, whose they are, and whether they have their volumes.

use std::collections::BTreeMap;

use dunlin_api::kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, de::IgnoredAny};

use super::{DecodeError, ObjectKey, Resource, View};

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `metadata.uid`.
    pub uid: String,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// `metadata.ownerReferences`.
    pub owners: Vec<ClaimOwner>,
    /// `spec.volumeName`.
    pub volume: Option<String>,
    /// `spec.storageClassName`.
    pub class: Option<String>,
    /// Whether it has its volume.
    pub state: ClaimState,
}

/// Whether a claim has its volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Not yet.
    Unbound,
    /// It has.
    Bound,
    /// It had, and the volume is gone.
    Lost,
}

/// An owner of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimOwner {
    /// Its kind; `None` for one that is not served here.
    pub resource: Option<Resource>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the controller.
    pub controls: bool,
}

impl View {
    /// Folds in a PersistentVolumeClaim as stored.
    ///
    /// # Errors
    /// When `json` is not one; the view is then unchanged.
    pub fn apply_claim(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.claims.insert(key.clone(), Claim::decode(json)?);
        Ok(())
    }

    /// Forgets a claim.
    pub fn delete_claim(&mut self, key: &ObjectKey) {
        self.claims.remove(key);
    }

    /// A claim.
    pub fn claim(&self, key: &ObjectKey) -> Option<&Claim> {
        self.claims.get(key)
    }
}

impl Claim {
    /// Whether the object of this uid controls it.
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| owner.controls && owner.uid == uid)
    }

    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, spec, status } = serde_json::from_slice(json)?;
        let state = match status.phase.as_str() {
            "Lost" => ClaimState::Lost,
            "Bound" => ClaimState::Bound,
            _ if metadata.annotations.contains_key(BIND_COMPLETED) => ClaimState::Bound,
            _ => ClaimState::Unbound,
        };
        Ok(Self {
            uid: metadata.uid,
            deleting: metadata.deletion_timestamp.is_some(),
            owners: metadata.owner_references.into_iter().map(ClaimOwner::of).collect(),
            volume: Some(spec.volume_name).filter(|name| !name.is_empty()),
            class: spec.storage_class_name,
            state,
        })
    }
}

impl ClaimOwner {
    fn of(owner: OwnerReference) -> Self {
        let OwnerReference { api_version, kind, name, uid, controller, .. } = owner;
        let resource = kind::by_kind(&api_version, &kind).map(Resource::of);
        Self { resource, name, uid, controls: controller == Some(true) }
    }
}

#[derive(Deserialize)]
struct Shape {
    metadata: MetaShape,
    #[serde(default)]
    spec: SpecShape,
    #[serde(default)]
    status: StatusShape,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecShape {
    volume_name: String,
    storage_class_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusShape {
    phase: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetaShape {
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
    owner_references: Vec<OwnerReference>,
    annotations: BTreeMap<String, IgnoredAny>,
}

/// The annotation by which Kubernetes tells that binding a claim is over.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

//! PersistentVolumeClaims in the view, as far as StatefulSets look at them: that they are there, and whose they are.

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
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let MetaShape { uid, deletion_timestamp, owner_references } =
            serde_json::from_slice::<Shape>(json)?.metadata;
        let deleting = deletion_timestamp.is_some();
        Ok(Self { uid, deleting, owners: owner_references.into_iter().map(ClaimOwner::of).collect() })
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
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetaShape {
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
    owner_references: Vec<OwnerReference>,
}

//! PersistentVolumeClaims in the view: what they ask for, whose they are, and whether they have their volumes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dunlin_api::{Quantity, kind, selector::LabelSelector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{DecodeError, ObjectKey, Resource, View, volumes::Asked};

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// `metadata.uid`.
    pub uid: String,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Whether a finalizer keeps it as long as a pod uses it.
    pub protected: bool,
    /// `metadata.ownerReferences`.
    pub owners: Vec<ClaimOwner>,
    /// `spec.volumeName`.
    pub volume: Option<String>,
    /// `spec.storageClassName`.
    pub class: Option<String>,
    /// What it asks of a volume.
    pub asked: Asked,
    /// `spec.selector`, which the labels of its volume have to match.
    pub selector: Option<LabelSelector>,
    /// Whether it has its volume.
    pub state: ClaimState,
    /// What annotations say of it.
    pub notes: ClaimNotes,
    /// `status`.
    pub status: ClaimStatus,
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

/// Annotations by which the binder and others tell each other how far a claim is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimNotes {
    /// Binding it is over.
    pub is_complete: bool,
    /// Its volume was chosen by the binder, and not by whoever wrote the claim.
    pub is_chosen: bool,
    /// The scheduler has chosen a node for which a volume is to be made.
    pub has_node: bool,
    /// Who is to make a volume for it.
    pub provisioner: Option<String>,
}

/// `status` of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimStatus {
    /// `phase`.
    pub phase: String,
    /// `accessModes`.
    pub modes: BTreeSet<String>,
    /// `capacity.storage`.
    pub capacity: Option<Quantity>,
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

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_key: HashMap<ObjectKey, Claim>,
    /// Those that wait for a volume.
    unbound: BTreeSet<ObjectKey>,
    /// By the volume that they name.
    by_volume: HashMap<String, BTreeSet<ObjectKey>>,
}

impl View {
    /// Folds in a PersistentVolumeClaim as stored; answers what was known before.
    ///
    /// # Errors
    /// When `json` is not one; the view is then unchanged.
    pub fn apply_claim(&mut self, key: &ObjectKey, json: &[u8]) -> Result<Option<Claim>, DecodeError> {
        let claim = Claim::decode(json)?;
        let before = self.delete_claim(key);
        let claims = &mut self.claims;
        if claim.state == ClaimState::Unbound {
            claims.unbound.insert(key.clone());
        }
        if let Some(volume) = &claim.volume {
            claims.by_volume.entry(volume.clone()).or_default().insert(key.clone());
        }
        claims.by_key.insert(key.clone(), claim);
        Ok(before)
    }

    /// Forgets a claim; answers what was known of it.
    pub fn delete_claim(&mut self, key: &ObjectKey) -> Option<Claim> {
        let claims = &mut self.claims;
        let before = claims.by_key.remove(key)?;
        claims.unbound.remove(key);
        if let Some(volume) = &before.volume
            && let Some(named) = claims.by_volume.get_mut(volume)
        {
            named.remove(key);
            if named.is_empty() {
                claims.by_volume.remove(volume);
            }
        }
        Some(before)
    }

    /// A claim.
    pub fn claim(&self, key: &ObjectKey) -> Option<&Claim> {
        self.claims.by_key.get(key)
    }

    /// Claims that wait for a volume.
    pub fn unbound_claims(&self) -> impl Iterator<Item = (&ObjectKey, &Claim)> {
        self.claims.unbound.iter().filter_map(|key| Some((key, self.claims.by_key.get(key)?)))
    }

    /// Claims that name a volume.
    pub fn claims_naming(&self, volume: &str) -> impl Iterator<Item = &ObjectKey> {
        self.claims.by_volume.get(volume).into_iter().flatten()
    }
}

impl Claim {
    /// Whether the object of this uid controls it.
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| owner.controls && owner.uid == uid)
    }

    /// Its class; one that is empty is none.
    pub fn class(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }

    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, spec, status } = serde_json::from_slice(json)?;
        let annotation = |name: &str| metadata.annotations.get(name).and_then(Value::as_str);
        let notes = ClaimNotes {
            is_complete: metadata.annotations.contains_key(BIND_COMPLETED),
            is_chosen: metadata.annotations.contains_key(BOUND_BY_CONTROLLER),
            has_node: metadata.annotations.contains_key(SELECTED_NODE),
            provisioner: annotation(PROVISIONER).map(str::to_owned),
        };
        let state = match status.phase.as_str() {
            "Lost" => ClaimState::Lost,
            "Bound" => ClaimState::Bound,
            _ if notes.is_complete => ClaimState::Bound,
            _ => ClaimState::Unbound,
        };
        let quantity =
            |text: Option<&String>| -> Option<Quantity> { text.and_then(|text| text.parse().ok()) };
        let asked = Asked {
            storage: quantity(spec.resources.requests.get("storage")),
            modes: spec.access_modes,
            volume_mode: spec.volume_mode,
            attributes: spec.volume_attributes_class_name.unwrap_or_default(),
        };
        Ok(Self {
            uid: metadata.uid,
            deleting: metadata.deletion_timestamp.is_some(),
            protected: metadata.finalizers.iter().any(|finalizer| finalizer == PROTECTION),
            owners: metadata.owner_references.into_iter().map(ClaimOwner::of).collect(),
            volume: Some(spec.volume_name).filter(|name| !name.is_empty()),
            class: spec.storage_class_name,
            asked,
            // The API has checked it.
            selector: LabelSelector::from_object(&spec.selector).ok().filter(|_| spec.selector.is_object()),
            state,
            notes,
            status: ClaimStatus {
                phase: status.phase,
                modes: status.access_modes,
                capacity: quantity(status.capacity.get("storage")),
            },
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
    access_modes: BTreeSet<String>,
    volume_mode: String,
    volume_attributes_class_name: Option<String>,
    selector: Value,
    resources: ResourcesShape,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResourcesShape {
    requests: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusShape {
    phase: String,
    access_modes: BTreeSet<String>,
    capacity: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetaShape {
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
    finalizers: Vec<String>,
    owner_references: Vec<OwnerReference>,
    annotations: BTreeMap<String, Value>,
}

/// The finalizer that keeps a claim as long as a pod uses it.
pub(crate) const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// The annotation by which Kubernetes tells that binding a claim is over.
pub(crate) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// The annotation by which it tells that it chose the other side, of a claim as of a volume.
pub(crate) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// The annotation by which the scheduler asks for a volume that a node can use.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The annotation that names who is to make a volume.
pub(crate) const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

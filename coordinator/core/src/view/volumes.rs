//! What the view holds of volumes and their classes: what decides where a pod can go, and which claim gets which volume.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use dunlin_api::Quantity;
use k8s_openapi::api::core::v1;
use serde::{Deserialize, de::IgnoredAny};

use super::{Claim, DecodeError, Labels, NodeTerm, ObjectKey, View, claim::BOUND_BY_CONTROLLER};

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeInfo {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Whether a finalizer keeps it as long as a claim has it.
    pub protected: bool,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Nodes that can use it; `None` is all.
    pub required: Option<Arc<[NodeTerm]>>,
    /// What it offers.
    pub offered: Asked,
    /// `spec.storageClassName`.
    pub class: String,
    /// `spec.claimRef`: the claim that has it, or for which it is kept.
    pub claim: Option<ClaimRef>,
    /// Whether the binder chose that claim, and not whoever wrote the volume.
    pub is_chosen: bool,
    /// `status.phase`.
    pub phase: String,
}

/// What a claim asks for and a volume offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How much room there is; `None` when nothing is said.
    pub storage: Option<Quantity>,
    /// `accessModes`.
    pub modes: BTreeSet<String>,
    /// `volumeMode`.
    pub volume_mode: String,
    /// `volumeAttributesClassName`, or empty.
    pub attributes: String,
}

/// The claim that a volume names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRef {
    /// Its key.
    pub key: ObjectKey,
    /// Its uid; empty while the volume is only kept for whatever claim has the name.
    pub uid: String,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassInfo {
    /// When claims of it get their volumes.
    pub mode: BindingMode,
    /// Who makes volumes of it.
    pub provisioner: String,
}

/// When a claim gets its volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindingMode {
    /// At once.
    #[default]
    Immediate,
    /// When a pod that needs it is placed.
    WaitForFirstConsumer,
}

/// All volumes and classes.
#[derive(Debug, Default)]
pub(super) struct Storage {
    volumes: BTreeMap<Arc<str>, VolumeInfo>,
    classes: BTreeMap<String, ClassInfo>,
    /// Volumes by the claim that they name.
    by_claim: HashMap<ObjectKey, BTreeSet<Arc<str>>>,
}

impl View {
    /// Folds in a PersistentVolume as stored; answers what was known before.
    ///
    /// # Errors
    /// When `json` is not one; the view then knows none of the name.
    pub fn apply_volume(&mut self, name: &Arc<str>, json: &[u8]) -> Result<Option<VolumeInfo>, DecodeError> {
        let before = self.delete_volume(name);
        let info = VolumeInfo::decode(json)?;
        if let Some(claim) = &info.claim {
            self.storage.by_claim.entry(claim.key.clone()).or_default().insert(Arc::clone(name));
        }
        self.storage.volumes.insert(Arc::clone(name), info);
        Ok(before)
    }

    /// Forgets a PersistentVolume; answers what was known of it.
    pub fn delete_volume(&mut self, name: &str) -> Option<VolumeInfo> {
        let before = self.storage.volumes.remove(name)?;
        if let Some(claim) = &before.claim
            && let Some(named) = self.storage.by_claim.get_mut(&claim.key)
        {
            named.remove(name);
            if named.is_empty() {
                self.storage.by_claim.remove(&claim.key);
            }
        }
        Some(before)
    }

    /// Folds in a StorageClass as stored.
    ///
    /// # Errors
    /// When `json` is not one; the view then knows none of the name.
    pub fn apply_storage_class(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        self.storage.classes.remove(name);
        self.storage.classes.insert(name.to_owned(), ClassInfo::decode(json)?);
        Ok(())
    }

    /// Forgets a StorageClass.
    pub fn delete_storage_class(&mut self, name: &str) {
        self.storage.classes.remove(name);
    }

    /// A PersistentVolume.
    pub fn volume(&self, name: &str) -> Option<&VolumeInfo> {
        self.storage.volumes.get(name)
    }

    /// All PersistentVolumes, by name.
    pub fn volumes(&self) -> impl Iterator<Item = (&Arc<str>, &VolumeInfo)> {
        self.storage.volumes.iter()
    }

    /// Volumes that name a claim.
    pub fn volumes_naming(&self, claim: &ObjectKey) -> impl Iterator<Item = &Arc<str>> {
        self.storage.by_claim.get(claim).into_iter().flatten()
    }

    /// A StorageClass.
    pub fn storage_class(&self, name: &str) -> Option<&ClassInfo> {
        self.storage.classes.get(name)
    }

    /// When a claim gets its volume.
    pub fn binding_mode(&self, claim: &Claim) -> BindingMode {
        self.storage_class(claim.class()).map(|class| class.mode).unwrap_or_default()
    }
}

impl VolumeInfo {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let VolumeShape { metadata, spec, status } = serde_json::from_slice(json)?;
        let required = spec.node_affinity.and_then(|affinity| affinity.required);
        let terms = |selector: v1::NodeSelector| selector.node_selector_terms.into_iter().map(NodeTerm::of);
        let offered = Asked {
            storage: spec.capacity.get("storage").and_then(|text| text.parse().ok()),
            modes: spec.access_modes,
            volume_mode: spec.volume_mode,
            attributes: spec.volume_attributes_class_name.unwrap_or_default(),
        };
        let claim = spec
            .claim_ref
            .map(|claim| ClaimRef { key: ObjectKey::new(&claim.namespace, &claim.name), uid: claim.uid });
        Ok(Self {
            uid: metadata.uid.into(),
            deleting: metadata.deletion_timestamp.is_some(),
            protected: metadata.finalizers.iter().any(|finalizer| finalizer == VOLUME_PROTECTION),
            labels: metadata.labels,
            required: required.map(|selector| terms(selector).collect()),
            offered,
            class: spec.storage_class_name,
            claim,
            is_chosen: metadata.annotations.contains_key(BOUND_BY_CONTROLLER),
            phase: status.phase,
        })
    }
}

impl ClaimRef {
    /// Whether it means this very claim.
    pub fn is(&self, key: &ObjectKey, claim: &Claim) -> bool {
        self.key == *key && self.uid == claim.uid
    }

    /// Whether it means this claim, or whatever has the claim's name.
    pub fn admits(&self, key: &ObjectKey, claim: &Claim) -> bool {
        self.key == *key && (self.uid.is_empty() || self.uid == claim.uid)
    }
}

impl ClassInfo {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ClassShape = serde_json::from_slice(json)?;
        let mode = match shape.volume_binding_mode.as_str() {
            "WaitForFirstConsumer" => BindingMode::WaitForFirstConsumer,
            _ => BindingMode::Immediate,
        };
        Ok(Self { mode, provisioner: shape.provisioner })
    }
}

#[derive(Deserialize)]
struct VolumeShape {
    #[serde(default)]
    metadata: MetaShape,
    #[serde(default)]
    spec: VolumeSpecShape,
    #[serde(default)]
    status: StatusShape,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetaShape {
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
    finalizers: Vec<String>,
    labels: Labels,
    annotations: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeSpecShape {
    node_affinity: Option<v1::VolumeNodeAffinity>,
    capacity: BTreeMap<String, String>,
    access_modes: BTreeSet<String>,
    volume_mode: String,
    storage_class_name: String,
    volume_attributes_class_name: Option<String>,
    claim_ref: Option<ClaimRefShape>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimRefShape {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusShape {
    phase: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassShape {
    #[serde(default)]
    volume_binding_mode: String,
    #[serde(default)]
    provisioner: String,
}

/// The finalizer that keeps a volume as long as a claim has it.
pub(crate) const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

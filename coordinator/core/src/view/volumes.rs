//! What the view holds of volumes and their classes, as far as they decide where a pod can go.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1;
use serde::Deserialize;

use super::{Claim, DecodeError, NodeTerm, View};

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Nodes that can use it; `None` is all.
    pub required: Option<Arc<[NodeTerm]>>,
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
    volumes: BTreeMap<String, VolumeInfo>,
    classes: BTreeMap<String, BindingMode>,
}

impl View {
    /// Folds in a PersistentVolume as stored.
    ///
    /// # Errors
    /// When `json` is not one; the view then knows none of the name.
    pub fn apply_volume(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        self.storage.volumes.remove(name);
        self.storage.volumes.insert(name.to_owned(), VolumeInfo::decode(json)?);
        Ok(())
    }

    /// Forgets a PersistentVolume.
    pub fn delete_volume(&mut self, name: &str) {
        self.storage.volumes.remove(name);
    }

    /// Folds in a StorageClass as stored.
    ///
    /// # Errors
    /// When `json` is not one; the view then knows none of the name.
    pub fn apply_storage_class(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        self.storage.classes.remove(name);
        self.storage.classes.insert(name.to_owned(), BindingMode::decode(json)?);
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

    /// When a claim gets its volume.
    pub fn binding_mode(&self, claim: &Claim) -> BindingMode {
        let class = claim.class.as_ref().and_then(|class| self.storage.classes.get(class));
        class.copied().unwrap_or_default()
    }
}

impl VolumeInfo {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: VolumeShape = serde_json::from_slice(json)?;
        let required = shape.spec.node_affinity.and_then(|affinity| affinity.required);
        let terms = |selector: v1::NodeSelector| selector.node_selector_terms.into_iter().map(NodeTerm::of);
        Ok(Self { required: required.map(|selector| terms(selector).collect()) })
    }
}

impl BindingMode {
    fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: ClassShape = serde_json::from_slice(json)?;
        Ok(match shape.volume_binding_mode.as_str() {
            "WaitForFirstConsumer" => Self::WaitForFirstConsumer,
            _ => Self::Immediate,
        })
    }
}

#[derive(Deserialize)]
struct VolumeShape {
    #[serde(default)]
    spec: VolumeSpecShape,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeSpecShape {
    node_affinity: Option<v1::VolumeNodeAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassShape {
    #[serde(default)]
    volume_binding_mode: String,
}

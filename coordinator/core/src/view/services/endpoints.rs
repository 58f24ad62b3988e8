//! Endpoints, of which a digest is enough where a controller here made them; others are mirrored into slices.

use k8s_openapi::api::core::v1::EndpointSubset;
use serde::Deserialize;

use super::{
    super::{
        DecodeError,
        workload::{Meta, MetaShape},
    },
    digest::digest,
};

/// What is looked at of Endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoints {
    /// `metadata`.
    pub meta: Meta,
    /// Of `subsets`.
    pub digest: u64,
    /// `subsets`, of those that no controller here made.
    pub subsets: Vec<EndpointSubset>,
}

#[derive(Deserialize)]
struct Shape {
    metadata: MetaShape,
    #[serde(default)]
    subsets: Option<Vec<EndpointSubset>>,
}

impl Endpoints {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, subsets } = serde_json::from_slice(json)?;
        let subsets = subsets.unwrap_or_default();
        let mut endpoints = Self { meta: metadata.into(), digest: subsets_digest(&subsets), subsets };
        if endpoints.is_own() {
            endpoints.subsets = Vec::new();
        }
        Ok(endpoints)
    }

    /// Whether the controller here made them.
    pub fn is_own(&self) -> bool {
        self.meta.labels.get(MANAGED_BY).is_some_and(|manager| manager == CONTROLLER)
    }
}

/// A digest of subsets. Which version of a pod they were made of makes no difference.
pub fn subsets_digest(subsets: &[EndpointSubset]) -> u64 {
    let mut subsets = subsets.to_vec();
    for subset in &mut subsets {
        let addresses = [&mut subset.addresses, &mut subset.not_ready_addresses];
        for address in addresses.into_iter().flatten().flatten() {
            if let Some(target) = &mut address.target_ref {
                target.resource_version = None;
            }
        }
    }
    digest(&subsets)
}

/// Label of Endpoints: who made them.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// What it says of those that are made of pods.
pub(crate) const CONTROLLER: &str = "endpoint-controller";

//! EndpointSlices that a controller here looks after.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};
use serde::Deserialize;

use super::{
    super::{
        DecodeError,
        workload::{Meta, MetaShape},
    },
    EndpointDigest,
};

/// What is looked at of an EndpointSlice.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// `metadata`.
    pub meta: Meta,
    /// Who looks after it.
    pub manager: Manager,
    /// `addressType`.
    pub address_type: String,
    /// `ports`.
    pub ports: Vec<EndpointPort>,
    /// `endpoints`.
    pub endpoints: Vec<EndpointDigest>,
}

/// Who looks after an EndpointSlice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Who makes slices of pods.
    Slices,
    /// Who makes slices of Endpoints.
    Mirroring,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    metadata: MetaShape,
    #[serde(default)]
    address_type: String,
    #[serde(default)]
    ports: Option<Vec<EndpointPort>>,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

impl Manager {
    /// What its slices' label says.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slices => "endpointslice-controller.k8s.io",
            Self::Mirroring => "endpointslicemirroring-controller.k8s.io",
        }
    }

    fn of(meta: &Meta) -> Option<Self> {
        let label = meta.labels.get(MANAGED_BY)?;
        [Self::Slices, Self::Mirroring].into_iter().find(|manager| manager.name() == label)
    }
}

impl Slice {
    /// `None` when nobody here looks after it.
    pub(super) fn decode(json: &[u8]) -> Result<Option<Self>, DecodeError> {
        let shape: Shape = serde_json::from_slice(json)?;
        let meta = Meta::from(shape.metadata);
        let Some(manager) = Manager::of(&meta) else { return Ok(None) };
        let endpoints = shape.endpoints.unwrap_or_default();
        Ok(Some(Self {
            meta,
            manager,
            address_type: shape.address_type,
            ports: shape.ports.unwrap_or_default(),
            endpoints: endpoints.iter().map(EndpointDigest::of).collect(),
        }))
    }

    /// The Service that its label names.
    pub fn service(&self) -> Option<&str> {
        self.meta.labels.get(SERVICE_NAME).map(String::as_str)
    }
}

/// Label of a slice: who looks after it.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Label of a slice: whose it is.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

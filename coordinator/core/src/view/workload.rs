//! Workloads, as far as their number of replicas is concerned.

use serde::Deserialize;

use super::{
    affiliation::Controller,
    decode::{DecodeError, Meta},
};

/// An object of a kind that has the subresource `scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `metadata.uid`.
    pub uid: String,
    /// How many pods there should be.
    pub replicas: i64,
    /// The workload that manages this one.
    pub controller: Option<Controller>,
}

impl Workload {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { mut metadata, spec } = serde_json::from_slice(json)?;
        let controller = Controller::of(&mut metadata);
        Ok(Self { uid: metadata.uid, replicas: spec.replicas, controller })
    }
}

#[derive(Deserialize)]
struct Shape {
    metadata: Meta,
    #[serde(default)]
    spec: SpecShape,
}

#[derive(Default, Deserialize)]
struct SpecShape {
    #[serde(default)]
    replicas: i64,
}

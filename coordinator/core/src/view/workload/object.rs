//! The outline that all workloads have: what they say of themselves, what is wanted, and what was found.

use serde::Deserialize;

use super::meta::MetaShape;

/// An object, of whose spec and status a kind reads what it looks at.
#[derive(Deserialize)]
#[serde(bound(deserialize = "Spec: Deserialize<'de>, Status: Deserialize<'de> + Default"))]
pub(super) struct ObjectShape<Spec, Status> {
    pub(super) metadata: MetaShape,
    pub(super) spec: Spec,
    #[serde(default)]
    pub(super) status: Status,
}

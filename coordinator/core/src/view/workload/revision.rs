//! ControllerRevisions: what the pod template of a StatefulSet or DaemonSet was.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::DecodeError,
    meta::{Meta, MetaShape},
    template::TemplateDigest,
};

/// What is looked at of a ControllerRevision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// `metadata`.
    pub meta: Meta,
    /// `revision`: its place in the history.
    pub number: i64,
    /// The pod template that it keeps; `None` when it keeps something else.
    pub template: Option<TemplateDigest>,
}

#[derive(Deserialize)]
struct Shape<'a> {
    metadata: MetaShape,
    #[serde(default)]
    revision: i64,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct DataShape<'a> {
    #[serde(borrow)]
    spec: DataSpecShape<'a>,
}

#[derive(Deserialize)]
struct DataSpecShape<'a> {
    #[serde(borrow)]
    template: &'a RawValue,
}

impl Revision {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, revision, data } = serde_json::from_slice(json)?;
        // Whoever has the right may keep anything in one, for purposes of their own.
        let data = data.and_then(|data| serde_json::from_str::<DataShape<'_>>(data.get()).ok());
        let template = data.and_then(|data| TemplateDigest::of_kept(data.spec.template));
        Ok(Self { meta: metadata.into(), number: revision, template })
    }
}

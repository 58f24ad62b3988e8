//! ControllerRevisions: what the pod template of a StatefulSet or DaemonSet was.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::DecodeError,
    DAEMON_SETS,
    daemon_set::Placing,
    meta::{Meta, MetaShape},
    template::TemplateDigest,
};
use crate::controllers::auto_rollback;

/// What is looked at of a ControllerRevision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// `metadata`.
    pub meta: Meta,
    /// `revision`: its place in the history.
    pub number: i64,
    /// The pod template that it keeps; `None` when it keeps something else.
    pub template: Option<TemplateDigest>,
    /// Where pods of a DaemonSet run that are made of it; only for one that may be gone back to.
    pub placing: Option<Arc<Placing>>,
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
        let template = data.as_ref().and_then(|data| TemplateDigest::of_kept(data.spec.template));
        let meta = Meta::from(metadata);
        let is_of_daemons =
            meta.controller.as_ref().is_some_and(|controller| controller.resource() == Some(DAEMON_SETS));
        let is_stable = meta.annotation(auto_rollback::STABLE).is_some();
        let placing = data.filter(|_| is_of_daemons && is_stable);
        let placing = placing.and_then(|data| Placing::of(data.spec.template).ok()).map(Arc::new);
        Ok(Self { meta, number: revision, template, placing })
    }
}

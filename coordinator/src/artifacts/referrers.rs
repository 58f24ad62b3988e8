//! Which manifests say that they belong to another one.

use dunlin_link::Digest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::images::ManifestRecord;

/// What of a manifest tells whom it belongs to, and what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attached {
    subject: Option<Named>,
    #[serde(default)]
    artifact_type: String,
    config: Option<Named>,
    #[serde(default)]
    annotations: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    #[serde(default)]
    media_type: String,
    digest: String,
}

/// Whom a manifest says it belongs to, and the descriptor by which it is told of there; `None` where it belongs to none.
pub(super) fn description(record: &ManifestRecord) -> Option<(Digest, Value)> {
    let attached: Attached = serde_json::from_str(&record.text).ok()?;
    let subject = attached.subject.as_ref()?.digest.parse().ok()?;
    Some((subject, attached.descriptor(record)))
}

/// The manifest that a manifest says it belongs to.
pub(crate) fn subject(text: &[u8]) -> Option<Digest> {
    serde_json::from_slice::<Attached>(text).ok()?.subject?.digest.parse().ok()
}

impl Attached {
    fn descriptor(self, record: &ManifestRecord) -> Value {
        let of_config = self.config.map(|config| config.media_type).unwrap_or_default();
        let kind = if self.artifact_type.is_empty() { of_config } else { self.artifact_type };
        json!({
            "mediaType": record.media_type, "digest": Digest::of(record.text.as_bytes()).to_string(),
            "size": record.text.len(), "artifactType": kind, "annotations": self.annotations,
        })
    }
}

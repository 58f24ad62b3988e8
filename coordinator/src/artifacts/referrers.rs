//! Which manifests say that they belong to another one.

use dunlin_link::Digest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Artifacts,
    images::{ManifestRecord, PutError, all, manifest_key_prefix},
};

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

impl Artifacts {
    /// Descriptors of the manifests in a repository that refer to `subject`, in the order of their digests.
    pub(crate) async fn referrers(&self, repository: &str, subject: Digest) -> Result<Vec<Value>, PutError> {
        let page = self.store.list(all(manifest_key_prefix(repository))).await?;
        let subject = subject.to_string();
        let descriptors = page.items.iter().filter_map(|item| {
            let record: ManifestRecord = serde_json::from_slice(&item.value).ok()?;
            let attached: Attached = serde_json::from_str(&record.text).ok()?;
            (attached.subject.as_ref()?.digest == subject).then(|| attached.descriptor(&record))
        });
        Ok(descriptors.collect())
    }
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

//! A pod template, as far as two are compared.

use std::collections::BTreeMap;

use dunlin_link::Digest;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// Says whether two pod templates are the same, apart from the label that a Deployment adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateDigest([u8; 16]);

impl TemplateDigest {
    /// That of a template as stored, whose fields are in the order of their names.
    pub fn of(template: &Value) -> Self {
        let mut template = template.clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove(HASH_LABEL);
        }
        let digest = Digest::of(template.to_string().as_bytes());
        let (half, _) = digest.as_bytes().split_at(16);
        Self(half.try_into().unwrap_or_default())
    }

    pub(super) fn of_raw(template: &RawValue) -> Result<Self, serde_json::Error> {
        Ok(Self::of(&serde_json::from_str(template.get())?))
    }

    /// The value of `pod-template-hash`, which tells revisions apart in names. `collisions` is how often it met one already.
    pub fn hash_label(self, collisions: i64) -> String {
        let count = collisions.to_le_bytes();
        let salt: &[u8] = if collisions == 0 { &[] } else { &count };
        let hash = self
            .0
            .iter()
            .chain(salt)
            .fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME));
        hash.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct LabelsShape {
    #[serde(default)]
    metadata: LabelsMetaShape,
}

#[derive(Default, Deserialize)]
struct LabelsMetaShape {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl LabelsShape {
    pub(super) fn of_raw(template: &RawValue) -> Result<BTreeMap<String, String>, serde_json::Error> {
        Ok(serde_json::from_str::<Self>(template.get())?.metadata.labels)
    }
}

/// The label that tells the ReplicaSets of one Deployment, and their pods, apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Kubernetes' alphabet for what goes into names: no vowels, nothing that looks like another.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a of 32 bits.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_label_that_a_deployment_adds_makes_no_difference() {
        let plain = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"image": "i"}]}});
        let mut labelled = plain.clone();
        labelled["metadata"]["labels"][HASH_LABEL] = "x".into();
        assert_eq!(TemplateDigest::of(&plain), TemplateDigest::of(&labelled));
        let raw = |value: &Value| RawValue::from_string(value.to_string()).unwrap();
        assert_eq!(TemplateDigest::of_raw(&raw(&plain)).unwrap(), TemplateDigest::of(&plain));
        assert_eq!(TemplateDigest::of_raw(&raw(&labelled)).unwrap(), TemplateDigest::of(&plain));
        let other = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"image": "j"}]}});
        assert_ne!(TemplateDigest::of(&plain), TemplateDigest::of(&other));
    }

    #[test]
    fn a_collision_changes_the_hash() {
        let digest = TemplateDigest::of(&json!({}));
        let hashes: std::collections::BTreeSet<_> = (0..50).map(|count| digest.hash_label(count)).collect();
        assert_eq!(hashes.len(), 50);
        assert!(hashes.iter().all(|hash| hash.bytes().all(|byte| SAFE.contains(&byte)) && hash.len() <= 10));
    }
}

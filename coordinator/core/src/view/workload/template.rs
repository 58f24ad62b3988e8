//! A pod template, as far as two are compared.

use std::collections::BTreeMap;

use dunlin_link::Digest;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

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
        Self::of_text(&template.to_string())
    }

    /// That of a template with all its labels, as revisions keep it.
    pub fn whole(template: &Value) -> Self {
        Self::of_text(&template.to_string())
    }

    /// That of the template that a revision keeps as a patch; `None` when it is no template.
    pub(super) fn of_kept(template: &RawValue) -> Option<Self> {
        let mut template: Value = serde_json::from_str(template.get()).ok()?;
        let patch = template.as_object_mut()?.remove(PATCH);
        (patch? == REPLACE).then(|| Self::whole(&template))
    }

    fn of_text(text: &str) -> Self {
        let digest = Digest::of(text.as_bytes());
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
        safe(hash)
    }
}

impl RevisionHash {
    /// That of a template as stored, whose fields are in the order of their names.
    pub(super) fn of(template: Value) -> Self {
        let data = kept(template).to_string();
        // As Go writes JSON, so that the name is that which Kubernetes gives.
        let data = data.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        Self(fnv(FNV_OFFSET, data.as_bytes()))
    }

    /// What tells revisions apart in names. `collisions` is how often it met one already.
    pub fn label(self, collisions: i64) -> String {
        safe(fnv(self.0, collisions.to_string().as_bytes()))
    }
}

/// How a revision keeps a template: as a patch of its owner.
pub(crate) fn kept(mut template: Value) -> Value {
    template[PATCH] = REPLACE.into();
    json!({ "spec": { "template": template } })
}

/// The template that a revision keeps.
pub(crate) fn restored(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove(PATCH);
    }
    template
}

/// A hash in Kubernetes' alphabet for what goes into names.
fn safe(hash: u32) -> String {
    hash.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

/// FNV-1 of 32 bits, continued.
fn fnv(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ u32::from(*byte))
}

/// What names of a StatefulSet's revisions are made of: Kubernetes' hash of what such a revision keeps, but for the collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevisionHash(u32);

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

/// Says in a patch how it is meant.
const PATCH: &str = "$patch";
const REPLACE: &str = "replace";

/// Of FNV of 32 bits.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

#[cfg(test)]
mod tests {
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
    fn a_revision_is_named_as_kubernetes_names_it() {
        let container = json!({
            "image": "test", "imagePullPolicy": "Always", "name": "test", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        let template = json!({
            "metadata": {"annotations": {"test": "value"}, "labels": {"app": "foo"}},
            "spec": {
                "containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
                "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
            },
        });
        let hash = RevisionHash::of(template.clone());
        assert_eq!(hash.label(0), "776999688b");
        assert_ne!(hash.label(1), hash.label(0));
        let revision = json!({ "data": kept(template.clone()) });
        assert_eq!(restored(&revision), template);
        let raw = RawValue::from_string(revision["data"]["spec"]["template"].to_string()).unwrap();
        assert_eq!(TemplateDigest::of_kept(&raw), Some(TemplateDigest::whole(&template)));
        let raw = RawValue::from_string(template.to_string()).unwrap();
        assert_eq!(TemplateDigest::of_kept(&raw), None, "what does not replace is not the whole template");
    }

    #[test]
    fn a_collision_changes_the_hash() {
        let digest = TemplateDigest::of(&json!({}));
        let hashes: std::collections::BTreeSet<_> = (0..50).map(|count| digest.hash_label(count)).collect();
        assert_eq!(hashes.len(), 50);
        assert!(hashes.iter().all(|hash| hash.bytes().all(|byte| SAFE.contains(&byte)) && hash.len() <= 10));
    }
}

//! What manifests name, and whom they belong to, as keys of their own, so that nobody looks through all manifests of a repository:
//!
//! - `/dunlin/held/REPOSITORY@BLOB/MANIFEST`: the manifest names this content;
//! - `/dunlin/referrers/REPOSITORY@SUBJECT/MANIFEST`: it says that it belongs to that one; the value describes it.
//!
//! They are written and removed with the manifest, in the same transaction.

use bytes::Bytes;
use dunlin_link::Digest;
use dunlin_registry::manifest::{Manifest, ManifestError};
use serde_json::Value;

use super::{
    Artifacts,
    images::{ManifestRecord, PutError, manifest_key_prefix, tag_key},
    referrers::description,
};
use crate::store::ListOptions;

/// The keys of one manifest, with their values.
pub(super) fn entries(
    repository: &str,
    digest: Digest,
    record: &ManifestRecord,
) -> Result<Vec<(String, Bytes)>, ManifestError> {
    let manifest = Manifest::parse(record.text.as_bytes(), &record.media_type)?;
    let mut entries: Vec<_> = manifest
        .descriptors()
        .iter()
        .map(|named| (format!("{}{digest}", held_prefix(repository, named.digest)), Bytes::new()))
        .collect();
    // A layer may be named twice.
    entries.sort();
    entries.dedup();
    if let Some((subject, description)) = description(record) {
        let key = format!("{}{digest}", referrers_prefix(repository, subject));
        entries.push((key, Bytes::from(description.to_string())));
    }
    Ok(entries)
}

impl Artifacts {
    /// Whether a manifest of the repository names a blob.
    pub(super) async fn is_held(&self, repository: &str, blob: Digest) -> Result<bool, PutError> {
        let page = self.store.list(first(held_prefix(repository, blob))).await?;
        Ok(!page.items.is_empty())
    }

    /// The manifests of the repository that name some content.
    pub(super) async fn holders(&self, repository: &str, content: Digest) -> Result<Vec<Digest>, PutError> {
        let prefix = held_prefix(repository, content);
        let options = ListOptions { limit: Some(KEYS_OF_REPOSITORY_MAX), ..first(prefix.clone()) };
        let page = self.store.list(options).await?;
        let holder = |key: &str| key.strip_prefix(&prefix)?.parse().ok();
        Ok(page.items.iter().filter_map(|item| holder(&item.key)).collect())
    }

    /// Descriptors of the manifests in a repository that refer to `subject`, in the order of their digests.
    pub(crate) async fn referrers(&self, repository: &str, subject: Digest) -> Result<Vec<Value>, PutError> {
        let prefix = referrers_prefix(repository, subject);
        let options = ListOptions { limit: Some(KEYS_OF_REPOSITORY_MAX), ..first(prefix) };
        let page = self.store.list(options).await?;
        Ok(page.items.iter().filter_map(|item| serde_json::from_slice(&item.value).ok()).collect())
    }

    /// Refuses one more manifest, or one more tag, of a repository that has as many as it may have.
    pub(super) async fn check_room(
        &self,
        repository: &str,
        tag: Option<&str>,
        digest: Digest,
    ) -> Result<(), PutError> {
        let manifests = manifest_key_prefix(repository);
        let mut added = vec![(format!("{manifests}{digest}"), manifests)];
        added.extend(tag.map(|tag| (tag_key(repository, tag), tag_key(repository, ""))));
        for (key, prefix) in added {
            if self.store.get(&key).await?.is_none() && self.is_full(prefix).await? {
                return Err(PutError::TooMany(KEYS_OF_REPOSITORY_MAX));
            }
        }
        Ok(())
    }

    async fn is_full(&self, prefix: String) -> Result<bool, PutError> {
        let page = self.store.list(first(prefix)).await?;
        let others = page.remaining.map_or(usize::MAX, |keys| usize::try_from(keys).unwrap_or(usize::MAX));
        Ok(page.items.len().saturating_add(others) >= KEYS_OF_REPOSITORY_MAX)
    }
}

fn first(prefix: String) -> ListOptions {
    ListOptions { prefix, after: None, limit: Some(1), at: None }
}

/// No repository has an `@` in its name.
fn held_prefix(repository: &str, blob: Digest) -> String {
    format!("/dunlin/held/{repository}@{blob}/")
}

fn referrers_prefix(repository: &str, subject: Digest) -> String {
    format!("/dunlin/referrers/{repository}@{subject}/")
}

/// Manifests of a repository, and its tags: each is a value of the store, which is the cluster's, and answers hold all of them.
pub(super) const KEYS_OF_REPOSITORY_MAX: usize = 1000;

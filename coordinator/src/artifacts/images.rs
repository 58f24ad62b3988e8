//! Images in the coordinator's own registry: manifests as tools pushed them, tags, and the modules that they lead nodes to.
//!
//! A manifest is a key of the store, with its text. A tag names a manifest; where that is of a WASM module, the name that leads nodes to
//! it ([`NAMES_PREFIX`]) moves in the same transaction, so that the two never disagree. Nodes follow the tag to everything else that runs.
//! A module that was pushed without a manifest is shown with one that follows from it.

use std::{collections::BTreeSet, io};

use bytes::Bytes;
use dunlin_coordinator_core::{
    dispatch::{NAMES_PREFIX, TAGS_PREFIX},
    image::pinned_name,
};
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::LOCAL_REGISTRY};
use dunlin_registry::{
    image::Content,
    manifest::{Manifest, ManifestError, Platform},
    media,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Artifacts, Entry, Module, ModuleName, UploadError, index, name_key, named_module, platforms};
use crate::store::{ListOptions, StoreError, Txn, TxnOutcome};

/// A manifest as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) text: String,
}

/// Why a manifest was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PutError {
    /// It is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is no text.
    #[error("it is not text")]
    NotText,
    /// It is not the one that the path names.
    #[error("the manifest has digest {actual}, the path names {expected}")]
    OtherDigest {
        /// By the path.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// It names content that was not pushed.
    #[error("{0} was not pushed")]
    UnknownBlob(Digest),
    /// It is a WASM artifact whose module cannot run anywhere.
    #[error(transparent)]
    Module(#[from] UploadError),
    /// The repository is full.
    #[error("the repository has {0} manifests or tags already; delete some")]
    TooMany(usize),
    /// The store failed.
    #[error("failed to record the manifest")]
    Store(#[from] StoreError),
    /// A blob cannot be read.
    #[error("failed to read a blob")]
    Disk(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestRecord {
    pub(super) media_type: String,
    pub(super) text: String,
}

impl Artifacts {
    /// Keeps a manifest under its digest, and under a tag where one is given. Everything that it names has to be there.
    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        (tag, expected): (Option<&str>, Option<Digest>),
        (media_type, content): (&str, Vec<u8>),
    ) -> Result<Digest, PutError> {
        let digest = Digest::of(&content);
        if let Some(expected) = expected
            && expected != digest
        {
            return Err(PutError::OtherDigest { expected, actual: digest });
        }
        let manifest = Manifest::parse(&content, media_type)?;
        self.check_room(repository, tag, digest).await?;
        let Checked { module, platforms } = self.check_content(repository, &manifest).await?;
        let text = String::from_utf8(content).map_err(|_| PutError::NotText)?;
        let record = ManifestRecord { media_type: declared(&text, media_type), text };
        let json = serde_json::to_vec(&record).expect("two strings always make JSON");
        let (mut puts, mut gone) = (index::entries(repository, digest, &record)?, Vec::new());
        puts.push((manifest_key(repository, digest), Bytes::from(json)));
        let entry = module.map(|module| Bytes::from(Entry::of(&module).to_json()));
        puts.extend(entry.iter().map(|entry| (pinned_key(repository, digest), entry.clone())));
        let platforms = platforms::record(&platforms);
        puts.extend(
            platforms.iter().map(|record| (platforms::of_digest(repository, digest), record.clone())),
        );
        if let Some(tag) = tag {
            puts.push((tag_key(repository, tag), digest.to_string().into_bytes().into()));
            let name = name_key(&ModuleName::of(repository, tag));
            match entry {
                Some(entry) => puts.push((name, entry)),
                None => gone.push(name),
            }
            let key = platforms::of_tag(repository, tag);
            match platforms {
                Some(record) => puts.push((key, record)),
                None => gone.push(key),
            }
        }
        self.commit(&puts, &gone).await?;
        Ok(digest)
    }

    /// The manifest that a tag means.
    pub(crate) async fn manifest_of_tag(
        &self,
        repository: &str,
        tag: &str,
    ) -> Result<Option<StoredManifest>, PutError> {
        if let Some(found) = self.store.get(&tag_key(repository, tag)).await? {
            let digest = std::str::from_utf8(&found.value).ok().and_then(|text| text.parse().ok());
            return match digest {
                Some(digest) => self.manifest(repository, digest).await,
                None => Ok(None),
            };
        }
        let key = name_key(&ModuleName::of(repository, tag));
        let named = self.store.get(&key).await?;
        Ok(named
            .and_then(|named| named_module(&named.key, &named.value).ok())
            .map(|module| shown_as(&module)))
    }

    /// The manifest of a digest in a repository.
    pub(crate) async fn manifest(
        &self,
        repository: &str,
        digest: Digest,
    ) -> Result<Option<StoredManifest>, PutError> {
        if let Some(found) = self.store.get(&manifest_key(repository, digest)).await? {
            let record: ManifestRecord = serde_json::from_slice(&found.value).map_err(ManifestError::from)?;
            return Ok(Some(StoredManifest { digest, media_type: record.media_type, text: record.text }));
        }
        let modules = self.named_in(repository).await?;
        Ok(modules.iter().map(|(_, module)| shown_as(module)).find(|shown| shown.digest == digest))
    }

    /// Removes a manifest and the tags that mean it; answers whether there was one.
    pub(crate) async fn remove_manifest(&self, repository: &str, digest: Digest) -> Result<bool, PutError> {
        let mut is_there = false;
        for tag in self.tags_of(repository, digest).await? {
            is_there |= self.remove_tag_of(repository, &tag, digest).await?;
        }
        let mut keys = vec![
            manifest_key(repository, digest),
            pinned_key(repository, digest),
            platforms::of_digest(repository, digest),
        ];
        if let Some(found) = self.store.get(&keys[0]).await? {
            let record = serde_json::from_slice(&found.value).map_err(ManifestError::from)?;
            keys.extend(index::entries(repository, digest, &record)?.into_iter().map(|(key, _)| key));
        }
        Ok(self.commit(&[], &keys).await?.is_some() || is_there)
    }

    /// Removes a tag if it means this manifest; answers whether it did. One that is moved meanwhile stays.
    pub(super) async fn remove_tag_of(
        &self,
        repository: &str,
        tag: &str,
        digest: Digest,
    ) -> Result<bool, PutError> {
        let keys = keys_of_tag(repository, tag);
        loop {
            let (compares, writes) = self.removal(&keys).await?;
            // What it means is looked at after the revisions that the transaction compares.
            let meant = self.manifest_of_tag(repository, tag).await?;
            if writes.is_empty() || meant.is_none_or(|meant| meant.digest != digest) {
                return Ok(false);
            }
            if let TxnOutcome::Committed(_) = self.store.txn(Txn { compares, writes }).await? {
                return Ok(true);
            }
        }
    }

    /// Removes a tag, and the name of its module; answers whether there was one.
    pub(crate) async fn remove_tag(&self, repository: &str, tag: &str) -> Result<bool, PutError> {
        let keys = keys_of_tag(repository, tag);
        Ok(self.commit(&[], &keys).await?.is_some())
    }

    /// The tags of a repository that mean a manifest, as far as that was so a moment ago.
    async fn tags_of(&self, repository: &str, digest: Digest) -> Result<BTreeSet<String>, PutError> {
        let (prefix, text) = (tag_key(repository, ""), digest.to_string());
        let page = self.store.list(all(prefix.clone())).await?;
        let tags = page.items.iter().filter(|item| item.value == text.as_bytes());
        let mut tags: BTreeSet<_> =
            tags.filter_map(|item| item.key.strip_prefix(&prefix)).map(str::to_owned).collect();
        let modules = self.named_in(repository).await?.into_iter();
        tags.extend(modules.filter(|(_, module)| shown_as(module).digest == digest).map(|(tag, _)| tag));
        Ok(tags)
    }

    /// The tags of a repository, in order.
    pub(crate) async fn tags(&self, repository: &str) -> Result<BTreeSet<String>, PutError> {
        let prefix = tag_key(repository, "");
        let page = self.store.list(all(prefix.clone())).await?;
        let of_manifests =
            page.items.iter().filter_map(|item| item.key.strip_prefix(&prefix)).map(str::to_owned);
        let mut tags: BTreeSet<_> = of_manifests.collect();
        tags.extend(self.named_in(repository).await?.into_iter().map(|(tag, _)| tag));
        Ok(tags)
    }

    /// Whether a blob is a repository's, to be read and named there: one of its manifests names it, or it was just pushed to it.
    pub(crate) async fn has_blob(&self, repository: &str, blob: Digest) -> Result<bool, PutError> {
        if self.blobs.is_given(repository, blob)
            || Self::shown_config(blob).is_some()
            || self.is_held(repository, blob).await?
        {
            return Ok(true);
        }
        let modules = self.named_in(repository).await?;
        Ok(modules.iter().any(|(_, module)| module.digest == blob))
    }

    /// The content of the config that modules without one of their own are shown with, if this is its digest.
    pub(crate) fn shown_config(digest: Digest) -> Option<&'static str> {
        (Digest::of(CONFIG.as_bytes()) == digest).then_some(CONFIG)
    }

    /// Whether everything that a manifest names is there, and what it leads to.
    async fn check_content(&self, repository: &str, manifest: &Manifest) -> Result<Checked, PutError> {
        let image = match manifest {
            Manifest::Index(entries) => {
                for entry in entries {
                    if self.manifest(repository, entry.digest).await?.is_none() {
                        return Err(PutError::UnknownBlob(entry.digest));
                    }
                }
                let platforms = self.platforms_of_index(repository, entries).await?;
                return Ok(Checked { module: None, platforms });
            }
            Manifest::Image(image) => image,
        };
        for blob in manifest.descriptors() {
            let is_there = self.blobs.read(blob.digest, 0).await?.is_some()
                || self.open_module(blob.digest, 0).await?.is_some()
                || Self::shown_config(blob.digest).is_some();
            if !is_there || !self.has_blob(repository, blob.digest).await? {
                return Err(PutError::UnknownBlob(blob.digest));
            }
        }
        let layer = match Content::of(image) {
            Ok(Content::Module(layer)) => layer,
            Ok(Content::Archives) => {
                let platforms = self.platforms_of_image(image).await?;
                return Ok(Checked { module: None, platforms });
            }
            // What is neither WASM nor an image is kept for whoever pushed it.
            Err(_) => return Ok(Checked { module: None, platforms: Vec::new() }),
        };
        if layer.size > MODULE_BYTES_MAX {
            return Err(UploadError::TooLarge { bytes_max: MODULE_BYTES_MAX }.into());
        }
        let module = match self.blobs.read(layer.digest, 0).await? {
            Some((_, file)) => {
                let module = self.upload(file, Some(layer.digest)).await?;
                self.blobs.remove(layer.digest).await?;
                module
            }
            None => {
                let found = super::content::inspect(&self.modules, layer.digest).await?;
                found.ok_or(PutError::UnknownBlob(layer.digest))?
            }
        };
        // Of one that has files beside its module nodes need those, too, so they follow its manifest.
        let has_files = image.layers.iter().any(|layer| media::compression(&layer.media_type).is_some());
        Ok(Checked { module: (!has_files).then_some(module), platforms: Vec::new() })
    }

    /// The modules that are named in a repository, by tag.
    pub(super) async fn named_in(&self, repository: &str) -> Result<Vec<(String, Module)>, PutError> {
        let prefix = format!("{NAMES_PREFIX}{LOCAL_REGISTRY}/{repository}:");
        let page = self.store.list(all(prefix.clone())).await?;
        let named = page.items.iter().filter_map(|item| {
            let tag = item.key.strip_prefix(&prefix)?.to_owned();
            Some((tag, named_module(&item.key, &item.value).ok()?))
        });
        Ok(named.collect())
    }
}

/// What a manifest leads to whose content is all there.
struct Checked {
    /// If it is of one.
    module: Option<Module>,
    /// Of the machines that run it, if that is Linux alone.
    platforms: Vec<Platform>,
}

/// The manifest that a module is shown with that was pushed without one: always the same for the same module.
pub(super) fn shown_as(module: &Module) -> StoredManifest {
    let config = json!({
        "mediaType": media::WASM_CONFIG, "digest": Digest::of(CONFIG.as_bytes()).to_string(), "size": CONFIG.len(),
    });
    let layer = json!({
        "mediaType": media::WASM, "digest": module.digest.to_string(), "size": module.bytes,
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": [layer],
    });
    let text = manifest.to_string();
    StoredManifest { digest: Digest::of(text.as_bytes()), media_type: media::MANIFEST.to_owned(), text }
}

fn all(prefix: String) -> ListOptions {
    ListOptions { prefix, after: None, limit: None, at: None }
}

fn manifest_key(repository: &str, digest: Digest) -> String {
    format!("{}{digest}", manifest_key_prefix(repository))
}

/// No repository has an `@` in its name.
pub(super) fn manifest_key_prefix(repository: &str) -> String {
    format!("{MANIFESTS_PREFIX}{repository}@")
}

/// Where the module of a manifest is recorded, for pods that name it by digest.
fn pinned_key(repository: &str, digest: Digest) -> String {
    format!("{NAMES_PREFIX}{}", pinned_name(repository, digest))
}

/// All that is recorded under a tag.
pub(super) fn keys_of_tag(repository: &str, tag: &str) -> [String; 3] {
    [tag_key(repository, tag), name_key(&ModuleName::of(repository, tag)), platforms::of_tag(repository, tag)]
}

pub(super) fn tag_key(repository: &str, tag: &str) -> String {
    format!("{TAGS_PREFIX}{repository}:{tag}")
}

/// The media type of a manifest that was found to be one: what it says itself comes first, so that nobody can have it served as
/// something else.
fn declared(text: &str, outside: &str) -> String {
    let inside = serde_json::from_str::<Shape>(text).ok().map(|shape| shape.media_type);
    inside.filter(|inside| !inside.is_empty()).unwrap_or_else(|| outside.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    media_type: String,
}

/// Largest manifest that is taken: real ones have a few KiB, and each is a value of the store.
pub(crate) const PUSHED_MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Manifests, by repository and digest.
pub(super) const MANIFESTS_PREFIX: &str = "/dunlin/manifests/";
/// Config of modules without one.
const CONFIG: &str = r#"{"architecture":"wasm","os":"wasip1"}"#;

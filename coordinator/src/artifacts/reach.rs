//! What nodes are given of images in the coordinator's own registry: what one of their pods names, and what that names in turn.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{Digest, assignment::Desired, reference::Reference};
use tokio::fs::File;

use super::{
    Artifacts, OpenModule,
    images::{PutError, StoredManifest, shown_as},
};

/// Something of an image.
#[derive(Debug)]
pub enum Content {
    /// A manifest, or a config that was never pushed.
    Text {
        /// Of a manifest.
        media_type: String,
        /// All of it.
        text: String,
    },
    /// A layer, a config or a module that an image holds.
    File(OpenModule<File>),
    /// A module that a pod names by its own digest.
    Module,
}

impl Artifacts {
    /// Something that `named` of a repository is made of, files from `offset` on; `None` where it is no part of these, or not here.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub(crate) async fn content(
        &self,
        repository: &str,
        (digest, offset): (Digest, u64),
        named: &BTreeSet<Digest>,
    ) -> Result<Option<Content>, PutError> {
        let is_named = named.contains(&digest);
        let is_held = self.is_held_by(repository, digest, named).await?;
        if !is_named && !is_held {
            return Ok(None);
        }
        if let Some(module) = self.open_module(digest, offset).await? {
            return Ok(Some(if is_named { Content::Module } else { Content::File(module) }));
        }
        // A blob belongs to a repository by a manifest that names it, never by a pod that does.
        if is_held && let Some((bytes, content)) = self.blobs.read(digest, offset).await? {
            return Ok(Some(Content::File(OpenModule { bytes, content })));
        }
        if let Some(StoredManifest { media_type, text, .. }) = self.manifest(repository, digest).await? {
            return Ok(Some(Content::Text { media_type, text }));
        }
        let config = Self::shown_config(digest);
        Ok(config.map(|text| Content::Text { media_type: String::new(), text: text.to_owned() }))
    }

    /// Whether content is one of `named`, is named by one, or by one of an index among them.
    pub(crate) async fn is_part(
        &self,
        repository: &str,
        content: Digest,
        named: &BTreeSet<Digest>,
    ) -> Result<bool, PutError> {
        Ok(named.contains(&content) || self.is_held_by(repository, content, named).await?)
    }

    /// The same without those themselves.
    async fn is_held_by(
        &self,
        repository: &str,
        content: Digest,
        named: &BTreeSet<Digest>,
    ) -> Result<bool, PutError> {
        let holders = self.holders(repository, content).await?;
        if holders.iter().any(|holder| named.contains(holder)) {
            return Ok(true);
        }
        for holder in holders {
            if self.holders(repository, holder).await?.iter().any(|index| named.contains(index)) {
                return Ok(true);
            }
        }
        // Manifests that modules are shown with name their content, too.
        let modules = self.named_in(repository).await?;
        let mut shown = modules.iter().filter(|(_, module)| named.contains(&shown_as(module).digest));
        Ok(shown.any(|(_, module)| module.digest == content || Self::shown_config(content).is_some()))
    }

    /// Whether a module is a part of what a node's pods name.
    pub(crate) async fn is_part_of(&self, desired: &Desired, module: Digest) -> Result<bool, PutError> {
        for (repository, named) in named_by(desired) {
            if self.is_part(&repository, module, &named).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The images of the coordinator's own registry that pods name, by repository.
pub(crate) fn named_by(desired: &Desired) -> BTreeMap<String, BTreeSet<Digest>> {
    let mut named = BTreeMap::<_, BTreeSet<Digest>>::new();
    for (reference, digest) in desired.pods.values().flat_map(|pod| pod.assignment.images()) {
        let Some(digest) = digest else { continue };
        if let Some(image) = reference.parse::<Reference>().ok().filter(Reference::is_local) {
            named.entry(image.repository).or_default().insert(digest);
        }
    }
    named
}

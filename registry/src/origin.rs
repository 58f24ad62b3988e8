//! Where the parts of an image come from: a registry that speaks HTTP, or whoever else has its content.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};

use crate::error::PullError;

/// Has the content of one repository.
#[async_trait]
pub trait Origin: fmt::Debug + Send + Sync {
    /// A manifest, by tag or digest.
    ///
    /// # Errors
    /// When it cannot be had.
    async fn manifest(&self, asked: &str, image: &Reference) -> Result<ManifestText, PullError>;

    /// A blob from `offset` on; from its beginning where it cannot be gone on with.
    ///
    /// # Errors
    /// When it cannot be had.
    async fn blob(&self, digest: Digest, offset: u64, image: &Reference) -> Result<Blob, PullError>;
}

/// A manifest as it came.
#[derive(Clone, Debug)]
pub struct ManifestText {
    /// As its sender says, or empty.
    pub media_type: String,
    /// The digest that its sender says it has.
    pub announced: Option<Digest>,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// A blob that is on its way.
pub struct Blob {
    /// Where it begins.
    pub offset: u64,
    /// Who sends it.
    pub registry: String,
    /// The rest of it.
    pub content: Box<dyn Chunks>,
}

/// Content that comes in pieces.
#[async_trait]
pub trait Chunks: Send {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When it breaks off.
    async fn chunk(&mut self) -> Result<Option<Bytes>, PullError>;
}

impl Blob {
    /// All of it.
    ///
    /// # Errors
    /// When it breaks off, or is larger than `bytes_max`.
    pub async fn whole(&mut self, what: &'static str, bytes_max: u64) -> Result<Vec<u8>, PullError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.content.chunk().await? {
            let bytes = (whole.len() + chunk.len()) as u64;
            if bytes > bytes_max {
                return Err(PullError::TooLarge { what, bytes, bytes_max });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, registry, content: _ } = self;
        f.debug_struct("Blob").field("offset", offset).field("registry", registry).finish_non_exhaustive()
    }
}

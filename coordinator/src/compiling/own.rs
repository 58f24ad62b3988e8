//! The coordinator's own registry, asked for an image as any other: by digests that pods of its nodes name.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_link::{
    Digest,
    reference::{LOCAL_REGISTRY, Reference},
};
use dunlin_registry::{
    PullError,
    origin::{Blob, Chunks, ManifestText, Origin},
};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::artifacts::{Artifacts, PutError};

/// One repository.
#[derive(Debug)]
pub(super) struct Own {
    artifacts: Artifacts,
    repository: String,
}

impl Own {
    pub(super) fn new(artifacts: Artifacts, repository: &str) -> Self {
        Self { artifacts, repository: repository.to_owned() }
    }

    async fn open(&self, digest: Digest, offset: u64) -> io::Result<Option<File>> {
        if let Some((_, file)) = self.artifacts.blobs().read(digest, offset).await? {
            return Ok(Some(file));
        }
        Ok(self.artifacts.open_module(digest, offset).await?.map(|module| module.content))
    }
}

#[async_trait]
impl Origin for Own {
    async fn manifest(&self, asked: &str, image: &Reference) -> Result<ManifestText, PullError> {
        let not_found = || PullError::NotFound { image: image.to_string() };
        let digest = asked.parse().map_err(|_| not_found())?;
        let failed = |error: PutError| PullError::Refused { why: error.to_string() };
        let found = self.artifacts.manifest(&self.repository, digest).await.map_err(failed)?;
        let found = found.ok_or_else(not_found)?;
        Ok(ManifestText { media_type: found.media_type, announced: None, bytes: found.text.into_bytes() })
    }

    async fn blob(&self, digest: Digest, offset: u64, image: &Reference) -> Result<Blob, PullError> {
        let found = self.open(digest, offset).await.map_err(PullError::Disk)?;
        let file = found.ok_or_else(|| PullError::NotFound { image: format!("{digest} of {image}") })?;
        Ok(Blob { offset, registry: LOCAL_REGISTRY.to_owned(), content: Box::new(Pieces(file)) })
    }
}

struct Pieces(File);

#[async_trait]
impl Chunks for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, PullError> {
        let mut piece = vec![0; PIECE_BYTES];
        let length = self.0.read(&mut piece).await.map_err(PullError::Disk)?;
        piece.truncate(length);
        Ok((length > 0).then(|| piece.into()))
    }
}

/// Read at a time.
const PIECE_BYTES: usize = 64 << 10;

//! Images of the coordinator's own registry, whose content comes over the link. Nodes are told their digests; what these are, only the
//! coordinator knows before they are here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_link::{
    Digest,
    reference::{LOCAL_REGISTRY, Reference},
};
use dunlin_registry::{
    PullError, Resolved,
    manifest::MANIFEST_BYTES_MAX,
    origin::{Blob, Chunks, ManifestText, Origin},
};

use super::{Came, Images, ModuleFiles, pull::platforms};
use crate::session::{Content, Incoming, NoContent, Role, SessionHandle};

/// What became of asking the coordinator for an image.
#[derive(Debug)]
pub(crate) enum OwnPull {
    /// It is a module, which comes by another way.
    Module,
    /// The image is here, and how much was sent of it.
    Here { came: Came, bytes: u64 },
    /// It is not, in words.
    Failed {
        why: String,
        /// What the disk should have free for the next attempt.
        wants_free: Option<u64>,
    },
}

/// The coordinator, asked for one image.
#[derive(Debug)]
struct Coordinator {
    session: SessionHandle,
    repository: String,
    image: Digest,
    /// How long a manifest waits for a session; `None` for as long as it takes.
    patience: Option<Duration>,
    /// Whether that turned out to be a module.
    is_module: AtomicBool,
}

/// What an image of the coordinator's is.
pub(super) enum Looked {
    Module,
    Image(Box<Resolved>),
}

impl Images {
    /// Makes an image present that the coordinator has under `digest`, and that a pod calls `name`. Waits for a session.
    pub(crate) async fn pull_own(
        &self,
        (name, digest): (&Reference, Digest),
        session: &SessionHandle,
        modules: &ModuleFiles,
    ) -> OwnPull {
        let failed = |error: &PullError| OwnPull::Failed {
            why: self.failure(error),
            wants_free: Self::wanted_free(error),
        };
        let resolved = match self.look_at_own((name, digest), session, None).await {
            Ok(Looked::Image(resolved)) => resolved,
            Ok(Looked::Module) => return OwnPull::Module,
            Err(error) => return failed(&error),
        };
        let permit = self.pulls.acquire().await;
        let brought = self.bring(&resolved, modules).await;
        drop(permit);
        match brought {
            Ok(mut brought) => {
                let (came, bytes) = (brought.take_came(), brought.bytes);
                let name = Reference { digest: name.digest.map(|_| digest), ..name.clone() };
                match self.remember(name, brought).await {
                    Ok(()) => OwnPull::Here { came, bytes },
                    Err(error) => {
                        let why = format!("failed to keep the image's name: {error}");
                        OwnPull::Failed { why, wants_free: None }
                    }
                }
            }
            Err(error) => failed(&error),
        }
    }

    /// What the coordinator has under a digest.
    pub(super) async fn look_at_own(
        &self,
        (name, digest): (&Reference, Digest),
        session: &SessionHandle,
        patience: Option<Duration>,
    ) -> Result<Looked, PullError> {
        let coordinator = Arc::new(Coordinator {
            session: session.clone(),
            repository: name.repository.clone(),
            image: digest,
            patience,
            is_module: AtomicBool::new(false),
        });
        let image = Reference { tag: None, digest: Some(digest), ..name.clone() };
        let origin = Arc::clone(&coordinator) as Arc<dyn Origin>;
        match Resolved::from(origin, &image, &platforms(&self.containers)).await {
            Ok(resolved) => Ok(Looked::Image(Box::new(resolved))),
            Err(_) if coordinator.is_module.load(Ordering::Relaxed) => Ok(Looked::Module),
            Err(error) => Err(error),
        }
    }
}

impl Coordinator {
    async fn open(
        &self,
        (digest, role): (Digest, Role),
        offset: u64,
        patience: Option<Duration>,
    ) -> Result<Incoming, PullError> {
        let opened = self.session.open_content((&self.repository, digest, role), offset, patience);
        match opened.await.map_err(pull_error)? {
            Content::Found(incoming) => Ok(incoming),
            Content::Module => {
                if digest == self.image {
                    self.is_module.store(true, Ordering::Relaxed);
                }
                Err(PullError::Refused { why: format!("{digest} is a module") })
            }
        }
    }
}

#[async_trait]
impl Origin for Coordinator {
    async fn manifest(&self, asked: &str, image: &Reference) -> Result<ManifestText, PullError> {
        let not_found = |_| PullError::NotFound { image: image.to_string() };
        let asked = (asked.parse().map_err(not_found)?, Role::Image);
        let mut incoming = self.open(asked, 0, self.patience).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = incoming.chunk().await.map_err(pull_error)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > MANIFEST_BYTES_MAX {
                let (what, bytes) = ("the manifest", bytes.len() as u64);
                return Err(PullError::TooLarge { what, bytes, bytes_max: MANIFEST_BYTES_MAX });
            }
        }
        Ok(ManifestText { media_type: incoming.media_type, announced: None, bytes })
    }

    async fn blob(&self, digest: Digest, offset: u64, _image: &Reference) -> Result<Blob, PullError> {
        let incoming = self.open((digest, Role::Part), offset, Some(BLOB_PATIENCE)).await?;
        Ok(Blob { offset, registry: LOCAL_REGISTRY.to_owned(), content: Box::new(incoming) })
    }
}

#[async_trait]
impl Chunks for Incoming {
    async fn chunk(&mut self) -> Result<Option<Bytes>, PullError> {
        Self::chunk(self).await.map_err(pull_error)
    }
}

fn pull_error(error: NoContent) -> PullError {
    let (registry, why) = (LOCAL_REGISTRY.to_owned(), error.to_string());
    match error {
        NoContent::Nobody => PullError::Unreachable { registry, why },
        NoContent::Broken => PullError::Broken { registry, why },
        NoContent::Refused(why) => PullError::Refused { why },
    }
}

/// How long a layer waits for the next session before the pull counts as failed: it keeps others from being pulled. The next attempt goes
/// on with what has come.
const BLOB_PATIENCE: Duration = Duration::from_secs(60);

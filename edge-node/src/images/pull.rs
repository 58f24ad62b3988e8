//! Pulls: a registry is asked what an image is now, and what that holds is made present and remembered.

use std::{fs, io, path::PathBuf, sync::Arc, time::Instant};

use dunlin_edge_node_core::{
    node::{PullKey, PullOrder, PullSecret},
    pod::PulledImage,
};
use dunlin_link::{
    Digest,
    reference::{Reference, Source},
    with_causes,
};
use dunlin_registry::{Keyring, PullError, manifest::Platform};
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{
    Containers, ImageContent, Images, Pin, Pins,
    bring::{Brought, file},
    layers,
};

/// What is here now, for the agent to take note of.
#[derive(Debug)]
pub(crate) struct Came {
    /// A module, and how long it is.
    pub(crate) module: Option<(Digest, u64)>,
    /// Keep it until then.
    pub(crate) pins: Vec<Pin>,
}

/// A pull that came to its end.
#[derive(Debug)]
pub(crate) struct PullEnded {
    pub(crate) key: PullKey,
    /// The module that came, and how long it is.
    pub(crate) module: Option<(Digest, u64)>,
    pub(crate) answer: PulledImage,
    /// What the disk should have free for the next attempt.
    pub(crate) wants_free: Option<u64>,
    /// Keep what came until it is known to be needed.
    pub(crate) pins: Vec<Pin>,
}

/// Where modules are, for a pull.
#[derive(Clone, Debug)]
pub(crate) struct ModuleFiles {
    /// Their folder.
    pub(crate) folder: PathBuf,
    /// Keep from being swept away what is fetched.
    pub(crate) pins: Pins,
}

impl Images {
    /// Pulls an image that no pod asked for; answers its digest.
    ///
    /// # Errors
    /// In words, when it cannot be had.
    pub(crate) async fn pull_for_person(
        &self,
        image: &Reference,
        keyring: &Keyring,
        modules: &ModuleFiles,
    ) -> Result<(Digest, Came), String> {
        let permit = self.pulls.acquire().await.map_err(|error| error.to_string())?;
        let mut brought = self.attempt(image, keyring, modules).await.map_err(|error| with_causes(&error))?;
        drop(permit);
        let (digest, came) = (brought.image, brought.take_came());
        let remembered = self.remember(image.clone(), brought).await;
        remembered.map_err(|error| format!("failed to keep the image's name: {error}"))?;
        Ok((digest, came))
    }

    /// Asks the registry what an image is now, and makes that present; at most [`PULLS_MAX`] at a time.
    pub(crate) fn pull(
        &self,
        order: PullOrder,
        image: Reference,
        modules: ModuleFiles,
    ) -> impl Future<Output = PullEnded> + Send + use<> {
        let images = self.clone();
        async move {
            let started = Instant::now();
            let permit = Arc::clone(&images.pulls).acquire_owned().await;
            let attempt = images.attempt(&image, &keyring(&order.secrets), &modules).await;
            drop(permit);
            let failed = |why: String| (None, PulledImage::Failed(why), Vec::new());
            let mut wants_free = None;
            let (module, answer, pins) = match attempt {
                Ok(mut brought) => {
                    let Came { module, pins } = brought.take_came();
                    let (digest, size_bytes) = (brought.image, brought.bytes);
                    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    match images.remember(image, brought).await {
                        Ok(()) => (module, PulledImage::Fetched { digest, took_ms, size_bytes }, pins),
                        Err(error) => failed(format!("failed to keep the image's name: {error}")),
                    }
                }
                Err(error) => {
                    wants_free = Self::wanted_free(&error);
                    let last = order.last.filter(|_| error.is_outage());
                    match last.and_then(|last| Some((last, images.keep(last, &modules)?))) {
                        Some((digest, Came { module, pins })) => {
                            (module, PulledImage::Kept { digest, why: with_causes(&error) }, pins)
                        }
                        None => failed(images.failure(&error)),
                    }
                }
            };
            PullEnded { key: order.key, module, answer, wants_free, pins }
        }
    }

    async fn attempt(
        &self,
        image: &Reference,
        keyring: &Keyring,
        modules: &ModuleFiles,
    ) -> Result<Brought, PullError> {
        if image.source == Source::Disk {
            return self.take_file(image, modules).await;
        }
        let resolved = self.client.resolve(image, keyring, &platforms(&self.containers)).await?;
        self.bring(&resolved, modules).await
    }

    pub(super) async fn remember(&self, name: Reference, brought: Brought) -> io::Result<()> {
        let images = self.clone();
        spawn_blocking(move || images.known().remember(&name, brought)).await.map_err(io::Error::other)?
    }

    /// Why an image cannot be had; of one for Linux also why that is of no use here.
    pub(super) fn failure(&self, error: &PullError) -> String {
        match (&self.containers, error) {
            (Containers::Refused(why), PullError::Platform { .. }) => {
                format!("{}; this node runs no Linux containers: {why}", with_causes(error))
            }
            _ => with_causes(error),
        }
    }

    /// Keeps what an image holds, if all of it is here.
    pub(super) fn keep(&self, image: Digest, modules: &ModuleFiles) -> Option<Came> {
        match self.content_of(&image) {
            ImageContent::Module(module) => {
                let pins = vec![modules.pins.hold(module)];
                let bytes = fs::metadata(file(&modules.folder, module)).ok()?.len();
                Some(Came { module: Some((module, bytes)), pins })
            }
            ImageContent::Linux(content) => {
                let pins = content.layers.iter().map(|layer| self.store.pins.hold(*layer)).collect();
                let runs = self.containers == Containers::Run && self.store.has(&content.layers);
                runs.then_some(Came { module: None, pins })
            }
            ImageContent::Guest(_) => Some(Came { module: None, pins: Vec::new() }),
        }
    }

    /// What has to be free for another attempt, when this one failed for want of room.
    pub(super) fn wanted_free(error: &PullError) -> Option<u64> {
        match error {
            PullError::NoRoom { needed, .. } => Some(needed.saturating_add(layers::SPARE_BYTES)),
            PullError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => Some(u64::MAX),
            _ => None,
        }
    }
}

/// The credentials of a pod. One Secret that cannot be read does not keep the others from being tried, as with the kubelet.
pub(super) fn keyring(secrets: &[PullSecret]) -> Keyring {
    let mut keyring = Keyring::default();
    for PullSecret { name, content } in secrets {
        let data = content.data.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        if let Err(error) = keyring.add_secret(data) {
            warn!(secret = name, %error, "a pull Secret is of no use");
        }
    }
    keyring
}

/// What this node runs, the newest system interface first.
pub(super) fn platforms(containers: &Containers) -> Vec<Platform> {
    let wasm = ["wasi", "wasip2", "wasip1"].map(Platform::wasm);
    let linux = match containers {
        Containers::Run => {
            Platform::linux(std::env::consts::ARCH, &rustix::system::uname().machine().to_string_lossy())
        }
        Containers::Refused(_) => Vec::new(),
    };
    wasm.into_iter().chain(linux).collect()
}

/// Images that are pulled at the same time; as many as modules over the link.
pub(super) const PULLS_MAX: usize = 4;

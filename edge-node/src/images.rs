//! Images of other registries than the coordinator: what is known of them, and how they are pulled.
//!
//! Statuses show the digest of an image. What runs is its module, which is kept among the node's [modules](crate::modules) under its own
//! digest, as if the coordinator had sent it: so the same code belongs to it, wherever it came from.

mod meanings;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use dunlin_edge_node_core::{
    node::{PullKey, PullOrder, PullSecret},
    pod::PulledImage,
};
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::Reference};
use dunlin_registry::{Client, Keyring, PullError, manifest::Platform};
use tokio::{
    sync::{RwLock, Semaphore},
    task::spawn_blocking,
};
use tracing::{info, warn};

use self::meanings::{Meaning, Meanings};
use crate::folders;

/// What is known of images; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    client: Client,
    meanings: Arc<Mutex<Meanings>>,
    pulls: Arc<Semaphore>,
    turns: Arc<Turns>,
}

/// Pulls of the same content wait for each other: they would write the same files.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>);

/// A pull that came to its end.
#[derive(Debug)]
pub(crate) struct PullEnded {
    pub(crate) key: PullKey,
    /// The module that came, and how long it is.
    pub(crate) module: Option<(Digest, u64)>,
    pub(crate) answer: PulledImage,
}

/// Where modules are, for a pull.
#[derive(Clone, Debug)]
pub(crate) struct ModuleFiles {
    /// Their folder.
    pub(crate) folder: PathBuf,
    /// Read while something is fetched, so that nothing is swept away under it.
    pub(crate) files: Arc<RwLock<()>>,
}

impl Images {
    /// What was pulled earlier; `folder` is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(crate) fn open(client: Client, folder: PathBuf) -> io::Result<Self> {
        let meanings = Arc::new(Mutex::new(Meanings::open(folder)?));
        Ok(Self { client, meanings, pulls: Arc::new(Semaphore::new(PULLS_MAX)), turns: Arc::default() })
    }

    /// What a reference means here: the image, and its module.
    pub(crate) fn of(&self, image: &Reference) -> Option<(Digest, Digest)> {
        self.meanings().of(image).map(|meaning| (meaning.image, meaning.module))
    }

    /// The module of an image. What no image is known by is a module itself: the coordinator's are named by their own digests.
    pub(crate) fn module_of(&self, image: &Digest) -> Digest {
        self.meanings().module_of(image).unwrap_or(*image)
    }

    /// What a module may be named by: the images that hold it, then itself.
    pub(crate) fn names_of(&self, module: Digest) -> Vec<Digest> {
        let mut names: Vec<_> = self.meanings().images_of(module).collect();
        names.sort_unstable();
        names.push(module);
        names
    }

    /// Forgets images whose modules are gone.
    pub(crate) fn retain(&self, is_here: impl Fn(&Digest) -> bool) {
        self.meanings().retain(is_here);
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
            let unswept = modules.files.read_owned().await;
            let attempt = images.attempt(&image, &keyring(&order.secrets), &modules.folder).await;
            let (module, answer) = match attempt {
                Ok((meaning, bytes)) => match images.remember(image, meaning).await {
                    Ok(()) => {
                        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                        let answer =
                            PulledImage::Fetched { digest: meaning.image, took_ms, size_bytes: bytes };
                        (Some((meaning.module, bytes)), answer)
                    }
                    Err(error) => {
                        (None, PulledImage::Failed(format!("failed to keep the image's name: {error}")))
                    }
                },
                Err(error) => {
                    let is_here = |last: &Digest| file(&modules.folder, images.module_of(last)).is_file();
                    let answer = match order.last.filter(|last| error.is_outage() && is_here(last)) {
                        Some(digest) => PulledImage::Kept { digest, why: chain(&error) },
                        None => PulledImage::Failed(chain(&error)),
                    };
                    (None, answer)
                }
            };
            drop((permit, unswept));
            PullEnded { key: order.key, module, answer }
        }
    }

    async fn attempt(
        &self,
        image: &Reference,
        keyring: &Keyring,
        folder: &Path,
    ) -> Result<(Meaning, u64), PullError> {
        let resolved = self.client.resolve(image, keyring, &platforms()).await?;
        let digest = resolved.digest;
        let known = resolved.module()?.or_else(|| self.meanings().module_of(&digest));
        let turn = self.turns.of(known.unwrap_or(digest));
        let _turn = turn.lock().await;
        if let Some(module) = known
            && let Ok(metadata) = fs::metadata(file(folder, module))
        {
            return Ok((Meaning { image: digest, module }, metadata.len()));
        }
        let staging = folder.join(format!("{}.{STAGING}", known.unwrap_or(digest).hex()));
        let fetched = self.client.fetch_module(&resolved, &staging, MODULE_BYTES_MAX).await?;
        place(staging, file(folder, fetched.digest)).await.map_err(PullError::Disk)?;
        info!(%image, %digest, module = %fetched.digest, bytes = fetched.bytes, "pulled an image");
        Ok((Meaning { image: digest, module: fetched.digest }, fetched.bytes))
    }

    async fn remember(&self, image: Reference, meaning: Meaning) -> io::Result<()> {
        let meanings = Arc::clone(&self.meanings);
        let remember = move || {
            let mut meanings = meanings.lock().unwrap_or_else(PoisonError::into_inner);
            meanings.remember(&image, meaning)
        };
        spawn_blocking(remember).await.map_err(io::Error::other)?
    }

    fn meanings(&self) -> MutexGuard<'_, Meanings> {
        // A panic between its two tables loses a name at most, which is asked for again.
        self.meanings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn of(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is done leaves an entry that nobody else holds.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(digest).or_default())
    }
}

/// The credentials of a pod. One Secret that cannot be read does not keep the others from being tried, as with the kubelet.
fn keyring(secrets: &[PullSecret]) -> Keyring {
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
fn platforms() -> Vec<Platform> {
    ["wasi", "wasip2", "wasip1"].map(Platform::wasm).to_vec()
}

/// The file of a module.
fn file(folder: &Path, module: Digest) -> PathBuf {
    folder.join(format!("{}.wasm", module.hex()))
}

/// Gives a module that is whole and durable its name.
async fn place(from: PathBuf, to: PathBuf) -> io::Result<()> {
    let place = move || {
        fs::rename(from, &to)?;
        to.parent().map_or(Ok(()), folders::flush)
    };
    spawn_blocking(place).await.map_err(io::Error::other)?
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Images that are pulled at the same time; as many as modules over the link.
const PULLS_MAX: usize = 4;

/// What the name of a module ends in that came and is not yet among the others.
pub(crate) const STAGING: &str = "whole";

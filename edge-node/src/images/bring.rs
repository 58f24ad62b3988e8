//! Brings what an image holds: a module, layers of a Linux image, or modules with files.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX};
use dunlin_registry::{Kind, PullError, Resolved, linux::LinuxImage as Found};
use tokio::task::spawn_blocking;
use tracing::info;

use super::{
    Came, Images, ModuleFiles, Pin, Pins,
    guests::{self, Parts, StageError, Staged, StagedGuest},
    meanings::Holds,
};
use crate::folders;

/// What a pull brought.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) image: Digest,
    pub(super) bytes: u64,
    pub(super) content: BroughtContent,
    /// Keep it until it is remembered.
    pub(super) pins: Vec<Pin>,
}

#[derive(Clone, Debug)]
pub(super) enum BroughtContent {
    Module(Digest),
    /// The config of a Linux image whose layers are all here.
    Linux(Bytes),
    /// Modules with files; `None` where they are here already.
    Guest(Option<Arc<StagedGuest>>),
}

/// Pulls of the same content wait for each other: they would write the same files.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>);

impl Images {
    /// Makes what an image holds present.
    pub(super) async fn bring(
        &self,
        resolved: &Resolved,
        modules: &ModuleFiles,
    ) -> Result<Brought, PullError> {
        let digest = resolved.digest;
        match resolved.kind().await? {
            Kind::Module(module) if !resolved.has_data() => {
                self.bring_module(resolved, module, modules).await
            }
            Kind::Module(_) | Kind::Wasm => {
                let known = self.known().meanings.holds(&digest);
                match known {
                    Some(Holds::Module(module)) if file(&modules.folder, module).is_file() => {
                        self.bring_module(resolved, module, modules).await
                    }
                    _ => self.bring_guest(resolved, modules).await,
                }
            }
            Kind::Linux(found) => self.bring_layers(resolved, *found).await,
        }
    }

    async fn bring_module(
        &self,
        resolved: &Resolved,
        module: Digest,
        ModuleFiles { folder, pins }: &ModuleFiles,
    ) -> Result<Brought, PullError> {
        let (image, digest) = (&resolved.image, resolved.digest);
        let brought = |module, bytes, pin| {
            let content = BroughtContent::Module(module);
            Brought { image: digest, bytes, content, pins: vec![pin] }
        };
        let turn = self.turns.of(module);
        let _turn = turn.lock().await;
        let pin = pins.hold(module);
        if let Ok(metadata) = fs::metadata(file(folder, module)) {
            return Ok(brought(module, metadata.len(), pin));
        }
        let staging = folder.join(format!("{}.{STAGING}", module.hex()));
        let fetched = resolved.fetch_module((&staging, None), MODULE_BYTES_MAX).await?;
        place(staging, file(folder, fetched.digest)).await.map_err(PullError::Disk)?;
        info!(%image, %digest, module = %fetched.digest, bytes = fetched.bytes, "pulled an image");
        Ok(brought(fetched.digest, fetched.bytes, pin))
    }

    /// Makes an image present that has its modules among files, or files beside its module.
    async fn bring_guest(
        &self,
        resolved: &Resolved,
        ModuleFiles { folder, pins }: &ModuleFiles,
    ) -> Result<Brought, PullError> {
        let image = resolved.digest;
        let turn = self.turns.of(image);
        let _turn = turn.lock().await;
        // What comes lies under its name until it is put together.
        let held = pins.hold(image);
        let known = self.known().meanings.holds(&image);
        if let Some(Holds::Guest { bytes }) = known
            && self.has_guest(&image)
        {
            return Ok(Brought { image, bytes, content: BroughtContent::Guest(None), pins: vec![held] });
        }
        let staging = folder.join(format!("{}.{STAGING}", image.hex()));
        let parts = resolved.fetch_guest(&staging, MODULE_BYTES_MAX).await?;
        self.store.check_free(parts.bytes.saturating_mul(2)).map_err(PullError::Disk)?;
        let bytes = parts.bytes;
        let files: Vec<PathBuf> = parts.layers.iter().map(|layer| layer.file.clone()).collect();
        let parts = Parts { module: parts.module, layers: parts.layers, config: parts.config };
        let files =
            files.into_iter().chain(parts.module.iter().map(|(file, _)| file.clone())).collect::<Vec<_>>();
        let staged = self.stage(parts).await;
        // They are fetched again should the image be, which is seldom.
        files.iter().for_each(|file| drop(fs::remove_file(file)));
        let name = resolved.image.to_string();
        let staged = staged.map_err(|error| match error {
            StageError::Layers(why) => PullError::Layers { image: name, why },
            StageError::Disk(error) => PullError::Disk(error),
        })?;
        let placed = self.place_staged(staged, folder, pins).map_err(PullError::Disk)?;
        let (content, module_bytes, pin) = placed;
        info!(image = %resolved.image, digest = %image, bytes, "pulled an image for WASM");
        let pins = pin.into_iter().chain([held]).collect();
        Ok(Brought { image, bytes: module_bytes.unwrap_or(bytes), content, pins })
    }

    pub(super) async fn stage(&self, parts: Parts) -> Result<Staged, StageError> {
        let folder = self.known().guests.folder().to_owned();
        let staged = spawn_blocking(move || guests::stage(&folder, &parts)).await;
        staged.unwrap_or_else(|error| Err(StageError::Disk(io::Error::other(error))))
    }

    /// Gives what was put together the place of a module, with its length, where it is one.
    pub(super) fn place_staged(
        &self,
        staged: Staged,
        folder: &Path,
        pins: &Pins,
    ) -> io::Result<(BroughtContent, Option<u64>, Option<Pin>)> {
        match staged {
            Staged::Module { file: from, digest, _folder } => {
                let pin = pins.hold(digest);
                let to = file(folder, digest);
                fs::rename(from, &to)?;
                folders::flush(folder)?;
                Ok((BroughtContent::Module(digest), Some(fs::metadata(to)?.len()), Some(pin)))
            }
            Staged::Guest(staged) => Ok((BroughtContent::Guest(Some(Arc::new(staged))), None, None)),
        }
    }

    async fn bring_layers(&self, resolved: &Resolved, found: Found) -> Result<Brought, PullError> {
        let (image, bytes) = (resolved.digest, found.bytes());
        let pins = self.store.hold(&found);
        self.store.fetch(resolved, &found).await?;
        let layers = found.layers.len();
        info!(image = %resolved.image, digest = %image, layers, bytes, "pulled an image for Linux");
        Ok(Brought { image, bytes, content: BroughtContent::Linux(found.text), pins })
    }
}

impl Brought {
    /// What the agent is to take note of.
    pub(super) fn take_came(&mut self) -> Came {
        let module = match self.content {
            BroughtContent::Module(module) => Some((module, self.bytes)),
            BroughtContent::Linux(_) | BroughtContent::Guest(_) => None,
        };
        Came { module, pins: std::mem::take(&mut self.pins) }
    }
}

impl Turns {
    pub(super) fn of(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is done leaves an entry that nobody else holds.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(digest).or_default())
    }
}

/// The file of a module.
pub(super) fn file(folder: &Path, module: Digest) -> PathBuf {
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

/// What the name of a module ends in that came and is not yet among the others.
pub(crate) const STAGING: &str = "whole";

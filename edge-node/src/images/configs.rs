//! Configs of Linux images, kept as they were written, by digest: they say how an image runs, and which layers it has.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use dunlin_link::Digest;
use dunlin_registry::image::{CONFIG_BYTES_MAX, Execution, ImageConfig, ImageError};

use crate::folders;

/// An image that a Linux container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinuxImage {
    /// How it runs where a pod says nothing else.
    pub(crate) config: Execution,
    /// The layers of its root file system, by what they unpack to, the lowest first. Each is there once, at its highest place: there it
    /// hides what it would hide below, and overlayfs does not take the same folder twice.
    pub(crate) layers: Vec<Digest>,
}

/// All configs that are kept.
#[derive(Debug)]
pub(super) struct Configs {
    folder: PathBuf,
    known: HashMap<Digest, Arc<LinuxImage>>,
}

impl Configs {
    /// `folder` is made when it is missing.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        folders::make(&folder)?;
        let mut known = HashMap::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("sha256:{}", entry.file_name().to_string_lossy());
            let is_small = entry.metadata()?.len() <= CONFIG_BYTES_MAX;
            let text = if is_small { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            match LinuxImage::of(&text) {
                Ok(image) if name == Digest::of(&text).to_string() => {
                    known.insert(Digest::of(&text), Arc::new(image));
                }
                // It was cut off, or is none of ours.
                _ => fs::remove_file(entry.path())?,
            }
        }
        Ok(Self { folder, known })
    }

    pub(super) fn get(&self, config: &Digest) -> Option<Arc<LinuxImage>> {
        self.known.get(config).cloned()
    }

    /// A config as it was written.
    pub(super) fn text(&self, config: &Digest) -> io::Result<Vec<u8>> {
        fs::read(self.path(config))
    }

    /// Keeps a config durably; answers its digest.
    pub(super) fn insert(&mut self, text: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(text);
        if self.known.contains_key(&digest) {
            return Ok(digest);
        }
        let image = LinuxImage::of(text).map_err(io::Error::other)?;
        let mut part = tempfile::NamedTempFile::new_in(&self.folder)?;
        part.write_all(text)?;
        part.as_file().sync_all()?;
        part.persist(self.path(&digest)).map_err(|error| error.error)?;
        folders::flush(&self.folder)?;
        self.known.insert(digest, Arc::new(image));
        Ok(digest)
    }

    /// All layers that images have.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.known.values().flat_map(|image| &image.layers)
    }

    /// Configs by their last use, the latest last.
    pub(super) fn by_use(&self) -> Vec<Digest> {
        let used =
            |config: &Digest| fs::metadata(self.path(config)).and_then(|metadata| metadata.modified()).ok();
        let mut configs: Vec<_> = self.known.keys().map(|config| (used(config), *config)).collect();
        configs.sort_unstable();
        configs.into_iter().map(|(_, config)| config).collect()
    }

    /// Remembers the use of an image, as well as a power cut lets it.
    pub(super) fn touch(&self, config: &Digest) {
        let touched = fs::File::open(self.path(config)).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(%error, "the use of an image could not be remembered");
        }
    }

    fn path(&self, config: &Digest) -> PathBuf {
        self.folder.join(config.hex())
    }

    /// Forgets what no image has.
    pub(super) fn retain(&mut self, is_named: impl Fn(&Digest) -> bool) {
        let folder = &self.folder;
        self.known.retain(|config, _| {
            let keep = is_named(config);
            if !keep && let Err(error) = fs::remove_file(folder.join(config.hex())) {
                tracing::warn!(%error, "the config of an unused image could not be removed");
            }
            keep
        });
    }
}

impl LinuxImage {
    fn of(text: &[u8]) -> Result<Self, ImageError> {
        let config = ImageConfig::parse(text)?;
        let mut layers: Vec<Digest> = Vec::new();
        for layer in config.diff_ids()?.into_iter().rev() {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        layers.reverse();
        Ok(Self { config: config.config, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_are_kept_for_as_long_as_they_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Configs::open(folder.path().join("configs")).unwrap();
        let ids = [1, 2, 1, 3].map(|n: u8| Digest::of(&[n]).to_string());
        let config =
            serde_json::json!({ "config": { "User": "7" }, "rootfs": { "diff_ids": ids } }).to_string();
        let digest = open().insert(config.as_bytes()).unwrap();
        let image = open().get(&digest).unwrap();
        assert_eq!(image.config.user.as_deref(), Some("7"));
        assert_eq!(image.layers, [2, 1, 3].map(|n: u8| Digest::of(&[n])));

        let path = folder.path().join("configs").join(digest.hex());
        fs::write(&path, &config[..config.len() - 2]).unwrap();
        assert!(open().get(&digest).is_none() && !path.exists(), "it was cut off");
        let mut configs = open();
        configs.insert(config.as_bytes()).unwrap();
        configs.retain(|named| *named == digest);
        assert!(open().get(&digest).is_some());
        configs.retain(|_| false);
        assert!(open().get(&digest).is_none());
    }
}

//! Images that are more than a module: what is known of them, and how they are pulled, from registries and from the coordinator.
//!
//! Statuses show the digest of an image. What runs is its module, which is kept among the node's [modules](crate::modules) under its own
//! digest, as if the coordinator had sent it: so the same code belongs to it, wherever it came from. Or it is a root file system for a
//! Linux container, whose layers are kept unpacked and are shared by all images that have them.

mod archive;
mod bounds;
mod bring;
mod collect;
mod configs;
mod disk;
mod guests;
mod known;
mod layers;
mod meanings;
mod own;
mod pins;
mod pull;
pub(crate) mod survey;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use dunlin_layers::Layers;
use dunlin_link::{
    Digest,
    reference::{Reference, Source},
};
use dunlin_registry::Client;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::warn;

pub use self::bounds::ImageBounds;
pub(crate) use self::{
    archive::{ImportError, Imported},
    bring::STAGING,
    collect::Goal,
    configs::LinuxImage,
    guests::GuestImage,
    own::OwnPull,
    pins::{Pin, Pins},
    pull::{Came, ModuleFiles, PullEnded},
};
use self::{
    bring::Turns,
    collect::Uses,
    configs::Configs,
    guests::Guests,
    known::Known,
    layers::LayerStore,
    meanings::{Holds, Meaning, Meanings},
    pull::PULLS_MAX,
};

/// What is known of images; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    client: Client,
    known: Arc<Mutex<Known>>,
    pulls: Arc<Semaphore>,
    turns: Arc<Turns>,
    store: LayerStore,
    containers: Containers,
    is_collecting: Arc<AtomicBool>,
    /// Where files may be that are modules.
    module_dirs: Arc<[PathBuf]>,
}

/// Whether Linux containers run on this node, so that their images are of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Containers {
    /// They do.
    Run,
    /// Only WASM does; why.
    Refused(Arc<str>),
}

/// What an image holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageContent {
    /// A module, by its digest.
    Module(Digest),
    /// The root file system of a Linux container.
    Linux(Arc<LinuxImage>),
    /// Modules with files.
    Guest(Arc<GuestImage>),
}

/// An image that is known here.
#[derive(Clone, Debug)]
pub(crate) struct ImageEntry {
    /// By tag and by digest.
    pub(crate) names: Vec<String>,
    pub(crate) image: Digest,
    /// Digest of its config, or of its module.
    pub(crate) id: Digest,
    /// What was sent of it, where that is known.
    pub(crate) bytes: Option<u64>,
    pub(crate) content: ImageContent,
}

impl Images {
    /// What was pulled earlier; folders of `state_dir` are made when they are missing.
    ///
    /// # Errors
    /// When they cannot be made or read.
    pub(crate) fn open(client: Client, state_dir: &Path, containers: Containers) -> io::Result<Self> {
        let store = LayerStore::open(&state_dir.join("layers"))?;
        let meanings = Meanings::open(state_dir.join("images"))?;
        let configs = Configs::open(state_dir.join("image-configs"))?;
        let guests = Guests::open(state_dir.join("guest-files"))?;
        let mut known =
            Known { meanings, configs, guests, uses: Uses::default(), protected: BTreeSet::new() };
        known.retain(&store, |_| true);
        known.recall_uses();
        let (known, pulls) = (Arc::new(Mutex::new(known)), Arc::new(Semaphore::new(PULLS_MAX)));
        let images = Self {
            client,
            known,
            pulls,
            turns: Arc::default(),
            store,
            containers,
            is_collecting: Arc::default(),
            module_dirs: Arc::default(),
        };
        images.sweep_layers()?;
        Ok(images)
    }

    /// What a reference means here: the image, and what it holds. Layers of a Linux image are here; a module is, or was once.
    pub(crate) fn of(&self, image: &Reference) -> Option<(Digest, ImageContent)> {
        let known = self.known();
        let Meaning { image: digest, holds } = known.meanings.of(image)?;
        // What a file is has to be looked at, and what a URL names is a module, whatever else has the digest.
        let fits = match image.source {
            Source::Registry => true,
            Source::Web => holds == Holds::Module(digest),
            Source::Disk => false,
        };
        let image = Some(digest).filter(|_| fits)?;
        let content = known.content(&image, holds)?;
        let runs = self.containers == Containers::Run || !matches!(content, ImageContent::Linux(_));
        runs.then_some((image, content))
    }

    /// What an image holds. What no image is known by is a module itself: the coordinator's are named by their own digests.
    pub(crate) fn content_of(&self, image: &Digest) -> ImageContent {
        let known = self.known();
        let content = known.meanings.holds(image).and_then(|holds| known.content(image, holds));
        content.unwrap_or(ImageContent::Module(*image))
    }

    /// The modules of an image; of one for Linux it is none that is here.
    pub(crate) fn modules_of(&self, image: &Digest) -> Vec<Digest> {
        let known = self.known();
        match known.meanings.holds(image) {
            Some(Holds::Module(module)) => vec![module],
            Some(Holds::Guest { .. }) => {
                known.guests.get(image).map(|guest| guest.modules().collect()).unwrap_or_default()
            }
            Some(Holds::Linux { .. }) | None => vec![*image],
        }
    }

    /// Whether an image is here that is modules with files.
    pub(crate) fn has_guest(&self, image: &Digest) -> bool {
        matches!(self.content_of(image), ImageContent::Guest(_))
    }

    /// Whether an image is here that Linux containers run on this node.
    pub(crate) fn has_linux(&self, image: &Digest) -> bool {
        self.containers == Containers::Run && matches!(self.content_of(image), ImageContent::Linux(_))
    }

    /// Where the layers of Linux images are.
    pub(crate) fn layers(&self) -> &Layers {
        &self.store.layers
    }

    /// The images of files that are here, with what was sent of each.
    pub(crate) fn file_images(&self) -> Vec<(Digest, u64)> {
        let files = |(image, holds)| match holds {
            Holds::Linux { bytes, .. } | Holds::Guest { bytes } => Some((image, bytes)),
            Holds::Module(_) => None,
        };
        self.known().meanings.images().filter_map(files).collect()
    }

    /// What a module may be named by: the images that hold it, then itself.
    pub(crate) fn names_of(&self, module: Digest) -> Vec<Digest> {
        let holds_it = |(image, holds)| (holds == Holds::Module(module)).then_some(image);
        let mut names: Vec<_> = self.known().meanings.images().filter_map(holds_it).collect();
        names.sort_unstable();
        names.push(module);
        names
    }

    /// Forgets images whose content is gone.
    pub(crate) fn retain(&self, has_module: impl Fn(&Digest) -> bool) {
        self.known().retain(&self.store, has_module);
    }

    /// All images that have names.
    pub(crate) fn entries(&self) -> Vec<ImageEntry> {
        let known = self.known();
        let entry = |(image, (holds, names))| {
            let content = known.content(&image, holds)?;
            let (id, bytes) = match holds {
                Holds::Module(module) => (module, None),
                Holds::Guest { bytes } => (image, Some(bytes)),
                Holds::Linux { config, bytes } => (config, Some(bytes)),
            };
            Some(ImageEntry { names, image, id, bytes, content })
        };
        known.meanings.by_image().into_iter().filter_map(entry).collect()
    }

    /// Whether anything is known of an image.
    pub(crate) fn knows(&self, image: &Digest) -> bool {
        self.known().meanings.holds(image).is_some()
    }

    /// Takes a name away, and leaves the image.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn untag(&self, name: &str) -> io::Result<()> {
        self.known().meanings.remove(name)
    }

    /// Forgets an image; what only it has goes in the background.
    pub(crate) fn remove(&self, image: &Digest) {
        self.known().forget(image);
        let images = self.clone();
        // Nobody waits for it.
        drop(spawn_blocking(move || {
            if let Err(error) = images.sweep_layers() {
                warn!(%error, "layers of an image that was removed are left");
            }
        }));
    }

    /// From here on these images are not removed to make room.
    pub(crate) fn protect(&self, images: BTreeSet<Digest>) {
        self.known().protected = images;
    }

    /// The modules of images that are not removed to make room.
    pub(crate) fn protected_modules(&self) -> Vec<Digest> {
        let known = self.known();
        let module = |image: &Digest| match known.meanings.holds(image)? {
            Holds::Module(module) => Some(module),
            Holds::Linux { .. } | Holds::Guest { .. } => None,
        };
        known.protected.iter().filter_map(module).collect()
    }

    /// A file without a name, for an archive that comes in pieces.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn scratch(&self) -> io::Result<fs::File> {
        tempfile::tempfile_in(self.store.folder())
    }

    /// Whether the disk has room for more of it.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) fn check_spare(&self) -> io::Result<()> {
        self.store.check_free(0)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic between its tables loses a name at most, which is asked for again.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

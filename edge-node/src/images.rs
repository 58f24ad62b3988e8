//! Images that are more than a module: what is known of them, and how they are pulled, from registries and from the coordinator.
//!
//! Statuses show the digest of an image. What runs is its module, which is kept among the node's [modules](crate::modules) under its own
//! digest, as if the coordinator had sent it: so the same code belongs to it, wherever it came from. Or it is a root file system for a
//! Linux container, whose layers are kept unpacked and are shared by all images that have them.

mod archive;
mod bounds;
mod collect;
mod configs;
mod guests;
mod layers;
mod meanings;
mod own;
mod pins;
pub(crate) mod survey;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use bytes::Bytes;
use dunlin_edge_node_core::{
    node::{PullKey, PullOrder, PullSecret},
    pod::PulledImage,
};
use dunlin_layers::Layers;
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::Reference, with_causes};
use dunlin_registry::{
    Client, Keyring, Kind, PullError, Resolved, linux::LinuxImage as Found, manifest::Platform,
};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::{info, warn};

pub use self::bounds::ImageBounds;
pub(crate) use self::{
    archive::{ImportError, Imported},
    collect::Goal,
    configs::LinuxImage,
    guests::GuestImage,
    own::OwnPull,
    pins::{Pin, Pins},
};
use self::{
    collect::Uses,
    configs::Configs,
    guests::{Guests, Parts, StageError, Staged, StagedGuest},
    layers::LayerStore,
    meanings::{Holds, Meaning, Meanings},
};
use crate::folders;

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

/// Names, and what those of Linux images lead to.
#[derive(Debug)]
struct Known {
    meanings: Meanings,
    configs: Configs,
    guests: Guests,
    uses: Uses,
    /// Not removed to make room.
    protected: BTreeSet<Digest>,
}

/// Pulls of the same content wait for each other: they would write the same files.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>);

/// What a pull brought.
#[derive(Debug)]
struct Brought {
    image: Digest,
    bytes: u64,
    content: BroughtContent,
    /// Keep it until it is remembered.
    pins: Vec<Pin>,
}

#[derive(Clone, Debug)]
enum BroughtContent {
    Module(Digest),
    /// The config of a Linux image whose layers are all here.
    Linux(Bytes),
    /// Modules with files; `None` where they are here already.
    Guest(Option<Arc<StagedGuest>>),
}

/// What is here now, for the agent to take note of.
#[derive(Debug)]
pub(crate) struct Came {
    /// A module, and how long it is.
    pub(crate) module: Option<(Digest, u64)>,
    /// Keep it until then.
    pub(crate) pins: Vec<Pin>,
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
        };
        images.sweep_layers()?;
        Ok(images)
    }

    /// What a reference means here: the image, and what it holds. Layers of a Linux image are here; a module is, or was once.
    pub(crate) fn of(&self, image: &Reference) -> Option<(Digest, ImageContent)> {
        let known = self.known();
        let Meaning { image, holds } = known.meanings.of(image)?;
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
        let resolved = self.client.resolve(image, keyring, &platforms(&self.containers)).await?;
        self.bring(&resolved, modules).await
    }

    /// Makes what an image holds present.
    async fn bring(&self, resolved: &Resolved, modules: &ModuleFiles) -> Result<Brought, PullError> {
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
        let program = parts.execution.program().map(str::to_owned);
        let parts = Parts { module: parts.module, layers: parts.layers, program };
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

    async fn stage(&self, parts: Parts) -> Result<Staged, StageError> {
        let folder = self.known().guests.folder().to_owned();
        let staged = spawn_blocking(move || guests::stage(&folder, &parts)).await;
        staged.unwrap_or_else(|error| Err(StageError::Disk(io::Error::other(error))))
    }

    /// Gives what was put together the place of a module, with its length, where it is one.
    fn place_staged(
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

    async fn remember(&self, name: Reference, brought: Brought) -> io::Result<()> {
        let images = self.clone();
        spawn_blocking(move || images.known().remember(&name, brought)).await.map_err(io::Error::other)?
    }

    /// Why an image cannot be had; of one for Linux also why that is of no use here.
    fn failure(&self, error: &PullError) -> String {
        match (&self.containers, error) {
            (Containers::Refused(why), PullError::Platform { .. }) => {
                format!("{}; this node runs no Linux containers: {why}", with_causes(error))
            }
            _ => with_causes(error),
        }
    }

    /// Keeps what an image holds, if all of it is here.
    fn keep(&self, image: Digest, modules: &ModuleFiles) -> Option<Came> {
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
    fn wanted_free(error: &PullError) -> Option<u64> {
        match error {
            PullError::NoRoom { needed, .. } => Some(needed.saturating_add(layers::SPARE_BYTES)),
            PullError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => Some(u64::MAX),
            _ => None,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic between its tables loses a name at most, which is asked for again.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Brought {
    /// What the agent is to take note of.
    fn take_came(&mut self) -> Came {
        let module = match self.content {
            BroughtContent::Module(module) => Some((module, self.bytes)),
            BroughtContent::Linux(_) | BroughtContent::Guest(_) => None,
        };
        Came { module, pins: std::mem::take(&mut self.pins) }
    }
}

impl Known {
    fn content(&self, image: &Digest, holds: Holds) -> Option<ImageContent> {
        match holds {
            Holds::Module(module) => Some(ImageContent::Module(module)),
            Holds::Linux { config, .. } => self.configs.get(&config).map(ImageContent::Linux),
            Holds::Guest { .. } => self.guests.get(image).map(ImageContent::Guest),
        }
    }

    /// What it leads to is durable before the name is.
    fn remember(&mut self, name: &Reference, brought: Brought) -> io::Result<()> {
        let Brought { image, bytes, content, pins } = brought;
        let holds = match content {
            BroughtContent::Module(module) => Holds::Module(module),
            BroughtContent::Linux(config) => Holds::Linux { config: self.configs.insert(&config)?, bytes },
            BroughtContent::Guest(staged) => {
                staged.map_or(Ok(()), |staged| self.guests.insert(image, &staged))?;
                Holds::Guest { bytes }
            }
        };
        self.uses.touch(image);
        self.meanings.remember(name, Meaning { image, holds })?;
        drop(pins);
        Ok(())
    }

    /// Forgets an image by all of its names.
    fn forget(&mut self, image: &Digest) {
        self.meanings.retain_images(|known, _| known != image);
        self.drop_unnamed();
    }

    /// The images that were used last are those of the configs that were.
    fn recall_uses(&mut self) {
        self.guests.by_use().into_iter().for_each(|image| self.uses.touch(image));
        for config in self.configs.by_use() {
            let of_config =
                |(image, holds): (Digest, Holds)| (holds.config() == Some(config)).then_some(image);
            let images: Vec<_> = self.meanings.images().filter_map(of_config).collect();
            images.into_iter().for_each(|image| self.uses.touch(image));
        }
    }

    /// Forgets names whose content is gone, then what no name leads to.
    fn retain(&mut self, store: &LayerStore, has_module: impl Fn(&Digest) -> bool) {
        let (configs, guests) = (&self.configs, &self.guests);
        self.meanings.retain_images(|image, holds| match holds {
            Holds::Module(module) => has_module(module),
            Holds::Linux { config, .. } => configs.get(config).is_some_and(|image| store.has(&image.layers)),
            Holds::Guest { .. } => guests.get(image).is_some(),
        });
        self.drop_unnamed();
    }

    /// Forgets what no name leads to.
    fn drop_unnamed(&mut self) {
        let images: HashMap<Digest, Holds> = self.meanings.images().collect();
        let named: HashSet<Digest> = images.values().filter_map(|holds| holds.config()).collect();
        self.configs.retain(|config| named.contains(config));
        self.guests.retain(|image| images.contains_key(image));
        self.uses.retain(|image| images.contains_key(image));
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
fn platforms(containers: &Containers) -> Vec<Platform> {
    let wasm = ["wasi", "wasip2", "wasip1"].map(Platform::wasm);
    let linux = match containers {
        Containers::Run => {
            Platform::linux(std::env::consts::ARCH, &rustix::system::uname().machine().to_string_lossy())
        }
        Containers::Refused(_) => Vec::new(),
    };
    wasm.into_iter().chain(linux).collect()
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

/// Images that are pulled at the same time; as many as modules over the link.
const PULLS_MAX: usize = 4;

/// What the name of a module ends in that came and is not yet among the others.
pub(crate) const STAGING: &str = "whole";

#[cfg(test)]
mod tests;

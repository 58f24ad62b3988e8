//! Brings the layers of a Linux image to the node's store: each fetched once, verified, unpacked, and shared by all images that have it.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dunlin_layers::{Bounds, Compression, Layers, StoreError, UnpackError};
use dunlin_link::Digest;
use dunlin_registry::{
    PullError, Resolved,
    archive::Scratch,
    linux::{LayerBlob, LinuxImage},
    media,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Pin, Pins, bring::Turns, collect::free_bytes};
use crate::{
    folders,
    modules::{PART_AGE_MAX, remove_parts},
};

/// The store, and what is on its way there; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LayerStore {
    pub(super) layers: Arc<Layers>,
    /// What came of archives that are not unpacked yet.
    parts: PathBuf,
    turns: Arc<Turns>,
    /// The layers that pulls need.
    pub(super) pins: Pins,
    /// Held while one is fetched or unpacked.
    places: Arc<Semaphore>,
}

impl LayerStore {
    /// `folder` is made when it is missing.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let parts = folder.join("archives");
        folders::make(&parts)?;
        let pins = Pins::default();
        remove_parts(&parts, PART_AGE_MAX, &pins)?;
        let layers = Arc::new(Layers::open(folder, Bounds::DEFAULT)?);
        let places = Arc::new(Semaphore::new(LAYERS_AT_ONCE));
        Ok(Self { layers, parts, turns: Arc::default(), pins, places })
    }

    /// A folder on the disk that layers take.
    pub(super) fn folder(&self) -> &Path {
        &self.parts
    }

    /// Removes what came of archives that nobody waits for, unless it is younger than `age`.
    pub(super) fn remove_parts(&self, age: Duration) -> io::Result<()> {
        remove_parts(&self.parts, age, &self.pins)
    }

    /// Keeps the layers of an image, those that are here and those that will be, until the pins are dropped.
    pub(super) fn hold(&self, image: &LinuxImage) -> Vec<Pin> {
        image.layers.iter().map(|layer| self.pins.hold(layer.diff_id)).collect()
    }

    /// Whether all of these are here.
    pub(super) fn has(&self, layers: &[Digest]) -> bool {
        layers.iter().all(|layer| self.layers.find(layer).is_some())
    }

    /// Makes all layers of an image present, several at a time.
    pub(super) async fn fetch(&self, resolved: &Resolved, image: &LinuxImage) -> Result<(), PullError> {
        self.check_room(&resolved.image.to_string(), image)?;
        let each = stream::iter(image.layers.clone()).map(|layer| self.fetch_one(resolved, layer));
        each.buffer_unordered(LAYERS_AT_ONCE).try_collect().await
    }

    /// Refuses what would fill the disk, before anything of it is fetched.
    pub(super) fn check_room(&self, name: &str, image: &LinuxImage) -> Result<(), PullError> {
        let missing = image.layers.iter().filter(|layer| self.layers.find(&layer.diff_id).is_none());
        let needed = missing.map(expected_bytes).fold(0, u64::saturating_add);
        let free = free_bytes(&self.parts).map_err(PullError::Disk)?;
        if needed > 0 && free < needed.saturating_add(SPARE_BYTES) {
            return Err(PullError::NoRoom { image: name.to_owned(), needed, free });
        }
        Ok(())
    }

    /// Refuses to write as many bytes where the disk has no room for them.
    pub(super) fn check_free(&self, bytes: u64) -> io::Result<()> {
        let free = free_bytes(&self.parts)?;
        if free < bytes.saturating_add(SPARE_BYTES) {
            let why =
                format!("no room for {} MiB: the disk has {} MiB left", bytes.div_ceil(1 << 20), free >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        Ok(())
    }

    async fn fetch_one(&self, resolved: &Resolved, layer: LayerBlob) -> Result<(), PullError> {
        let turn = self.turns.of(layer.diff_id);
        let _turn = turn.lock().await;
        if self.layers.find(&layer.diff_id).is_some() {
            return Ok(());
        }
        let _place = self.places.acquire().await;
        let file = self.parts.join(format!("{}.{ARCHIVE}", layer.diff_id.hex()));
        let archive = match resolved.download(&layer.blob, &file, LAYER_BYTES_MAX).await {
            Err(error @ PullError::Disk(_)) => {
                // What there is of it would keep the disk full, and nobody from fetching something smaller.
                self.remove_parts_of(&layer.diff_id);
                return Err(error);
            }
            downloaded => downloaded?,
        };
        let unpacked = self.unpack(archive.clone(), &layer).await;
        // It is of no use any more, whether or not it could be unpacked.
        tokio::fs::remove_file(archive).await.map_err(PullError::Disk)?;
        unpacked.map_err(|error| pull_error(error, resolved))
    }

    /// Unpacks a layer out of an archive of images, unless it is here. It takes its time, on a thread that may.
    pub(super) fn take(&self, archive: impl Read, layer: &LayerBlob) -> Result<(), StoreError> {
        let turn = self.turns.of(layer.diff_id);
        let _turn = turn.blocking_lock();
        self.layers.add(archive, compression(layer.compression), &layer.diff_id).map(drop)
    }

    fn remove_parts_of(&self, diff_id: &Digest) {
        let stem = diff_id.hex();
        for entry in fs::read_dir(&self.parts).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&stem) {
                // On a disk that fails altogether it stays until that is better.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    async fn unpack(&self, archive: PathBuf, layer: &LayerBlob) -> Result<(), StoreError> {
        let (layers, diff_id, compression) =
            (Arc::clone(&self.layers), layer.diff_id, compression(layer.compression));
        let (read, _stop) = stoppable();
        let unpack = move || {
            let archive = read(File::open(archive).map_err(StoreError::Disk)?);
            layers.add(archive, compression, &diff_id).map(drop)
        };
        spawn_blocking(unpack).await.map_err(|error| StoreError::Disk(io::Error::other(error)))?
    }
}

impl Scratch for LayerStore {
    fn file(&self, expected_bytes: u64) -> io::Result<File> {
        self.check_free(expected_bytes)?;
        tempfile::tempfile_in(&self.parts)
    }

    fn check(&self) -> io::Result<()> {
        self.check_free(0)
    }
}

/// Something that is read on another thread, until whoever waits for that goes away.
struct Stoppable {
    file: File,
    is_stopped: Arc<AtomicBool>,
}

/// Stops the reading when it is dropped.
struct Stop(Arc<AtomicBool>);

fn stoppable() -> (impl FnOnce(File) -> Stoppable + Send, Stop) {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stop = Stop(Arc::clone(&is_stopped));
    (move |file| Stoppable { file, is_stopped }, stop)
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the pull was given up"));
        }
        self.file.read(buffer)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a layer takes while it is fetched and unpacked: what it is sent as, and, where that is compressed, what programs usually come to.
const fn expected_bytes(layer: &LayerBlob) -> u64 {
    let times = match layer.compression {
        media::Compression::None => 2,
        media::Compression::Gzip | media::Compression::Zstd => 3,
    };
    layer.blob.size.saturating_mul(times)
}

const fn compression(of: media::Compression) -> Compression {
    match of {
        media::Compression::None => Compression::None,
        media::Compression::Gzip => Compression::Gzip,
        media::Compression::Zstd => Compression::Zstd,
    }
}

/// Whose fault it was: the disk's, or that of who made the image.
fn pull_error(error: StoreError, resolved: &Resolved) -> PullError {
    match error {
        StoreError::Disk(error) => PullError::Disk(error),
        StoreError::Unpack(UnpackError::Write { path, source }) => {
            let words = format!("`{}` of a layer: {source}", path.display());
            PullError::Disk(io::Error::new(source.kind(), words))
        }
        other => PullError::Layers { image: resolved.image.to_string(), why: other.to_string() },
    }
}

/// Layers that are fetched and unpacked at the same time, of all images together.
const LAYERS_AT_ONCE: usize = 3;

/// Largest layer as it is sent.
const LAYER_BYTES_MAX: u64 = 16 << 30;

/// Left free by a pull: a node writes its state and its logs, too.
pub(super) const SPARE_BYTES: u64 = 64 << 20;

/// What the name of an archive would end in, if it were kept.
const ARCHIVE: &str = "archive";

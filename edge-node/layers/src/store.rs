//! The layers that a node has unpacked, by the digest of their content.
//!
//! ```text
//! layers/sha256/HEX        one that is complete
//! layers/recipes/HEX       how its archive is put together again
//! layers/part/N            one that is being unpacked; those of an earlier process go when the store is opened
//! ```

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use dunlin_link::Digest;

use crate::{
    recipe::LayerArchive,
    remove::remove_tree,
    unpack::{Bounds, Compression, UnpackError, Unpacked, unpack},
};

/// All layers of a node. One process uses the folder.
#[derive(Debug)]
pub struct Layers {
    complete: PathBuf,
    recipes: PathBuf,
    parts: PathBuf,
    latest: AtomicU64,
    bounds: Bounds,
}

/// What is left of a layer.
#[derive(Debug)]
pub struct Retired(PathBuf);

/// Why a layer was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The disk failed.
    #[error("failed to put a layer in place: {0}")]
    Disk(#[source] io::Error),
}

impl Layers {
    /// Opens the store in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(dir: &Path, bounds: Bounds) -> io::Result<Self> {
        let (complete, recipes, parts) = (dir.join("sha256"), dir.join("recipes"), dir.join("part"));
        // What cannot be removed costs room and nothing else: new names are looked for below.
        let _left = remove_tree(&parts);
        fs::create_dir_all(&complete)?;
        fs::create_dir_all(&recipes)?;
        fs::create_dir_all(&parts)?;
        let layers = Self { complete, recipes, parts, latest: AtomicU64::new(0), bounds };
        layers.drop_stray_recipes()?;
        Ok(layers)
    }

    /// Where a layer is, or would be.
    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.complete.join(diff_id.hex())
    }

    /// Where a layer is, if it is here.
    pub fn find(&self, diff_id: &Digest) -> Option<PathBuf> {
        let dir = self.path(diff_id);
        dir.is_dir().then_some(dir)
    }

    /// Unpacks a layer, unless it is here. Two at once do the work twice and the first is kept.
    ///
    /// # Errors
    /// When it cannot be unpacked; nothing of it is left.
    pub fn add(
        &self,
        archive: impl Read,
        compression: Compression,
        diff_id: &Digest,
    ) -> Result<Unpacked, StoreError> {
        if self.find(diff_id).is_some() {
            return Ok(Unpacked::default());
        }
        let part = self.new_part();
        let recipe = part.with_extension("recipe");
        let added = unpack(archive, compression, (&part, &recipe), diff_id, self.bounds)
            .map_err(StoreError::Unpack)
            .and_then(|unpacked| {
                self.keep((&part, &recipe), diff_id).map(|()| unpacked).map_err(StoreError::Disk)
            });
        if added.is_err() {
            // Else they go when the store is opened the next time.
            let _ = fs::remove_file(&recipe);
            let _left = remove_tree(&part);
        }
        added
    }

    /// A layer's archive, not compressed, as it was before it was unpacked.
    ///
    /// # Errors
    /// When the layer is not here, or the disk fails.
    pub fn archive(&self, diff_id: &Digest) -> io::Result<LayerArchive> {
        LayerArchive::open(&self.recipes.join(diff_id.hex()), &self.path(diff_id))
    }

    /// The layers that are here.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn list(&self) -> io::Result<Vec<Digest>> {
        let mut layers = Vec::new();
        for entry in fs::read_dir(&self.complete)? {
            let name = entry?.file_name();
            layers.extend(format!("sha256:{}", name.to_string_lossy()).parse::<Digest>());
        }
        Ok(layers)
    }

    /// Takes a layer's name away at once: from here on it is not here. What it leaves is removed by [`Self::remove_retired`].
    ///
    /// # Errors
    /// When the disk fails, or it is not here.
    pub fn retire(&self, diff_id: &Digest) -> io::Result<Retired> {
        let part = self.new_part();
        fs::rename(self.path(diff_id), &part)?;
        // Without its layer it goes when the store is opened, too.
        let _ = fs::remove_file(self.recipes.join(diff_id.hex()));
        Ok(Retired(part))
    }

    /// Removes what a layer left. What fails of that goes when the store is opened the next time.
    pub fn remove_retired(&self, Retired(part): &Retired) {
        let _left = remove_tree(part);
    }

    /// What of an earlier process has no layer.
    fn drop_stray_recipes(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.recipes)? {
            let entry = entry?;
            if !self.complete.join(entry.file_name()).is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The layer is here when it has its name, which comes last.
    fn keep(&self, (part, recipe): (&Path, &Path), diff_id: &Digest) -> io::Result<()> {
        let dir = self.path(diff_id);
        fs::rename(recipe, self.recipes.join(diff_id.hex()))?;
        fs::File::open(&self.recipes)?.sync_all()?;
        match fs::rename(part, &dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let _left = remove_tree(part);
                Ok(())
            }
            renamed => {
                renamed?;
                fs::File::open(&self.complete)?.sync_all()
            }
        }
    }

    /// A name that nothing has.
    fn new_part(&self) -> PathBuf {
        loop {
            let part = self.parts.join(self.latest.fetch_add(1, Ordering::Relaxed).to_string());
            if fs::symlink_metadata(&part).is_err() {
                return part;
            }
        }
    }
}

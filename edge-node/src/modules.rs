//! The node's modules: files named by their own digest, verified before they get that name, kept while a pod refers to them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use dunlin_edge_node_core::node::Arrived;
use dunlin_link::Digest;
use tokio::sync::{RwLock, Semaphore};

use crate::{
    images::{ModuleFiles, STAGING},
    session::SessionHandle,
};

/// What is in the cache.
#[derive(Debug)]
pub(crate) struct Modules {
    dir: PathBuf,
    /// Size and last use of each.
    present: HashMap<Digest, Kept>,
    fetches: Arc<Semaphore>,
    /// Read by fetches, written by removals: what was fetched again must not be removed.
    files: Arc<RwLock<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    bytes: u64,
    used: u64,
}

/// A fetch that came to its end.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    /// How long it took, or why it failed.
    pub(crate) result: Result<Arrived, String>,
}

impl Modules {
    /// Opens the cache in `dir`: whole modules are kept, and parts that may still be gone on with.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        remove_parts(&dir, PART_AGE_MAX)?;
        let mut present = HashMap::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(digest) =
                name.strip_suffix(SUFFIX).and_then(|hex| format!("sha256:{hex}").parse().ok())
            {
                present.insert(digest, Kept { bytes: entry.metadata()?.len(), used: 0 });
            }
        }
        let fetches = Arc::new(Semaphore::new(FETCHES_MAX));
        Ok(Self { dir, present, fetches, files: Arc::default() })
    }

    /// Whether a module is here.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.present.contains_key(digest)
    }

    /// The modules that are here, with their sizes.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.present.iter().map(|(digest, kept)| (*digest, kept.bytes))
    }

    /// The file of a module, there or not.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}{SUFFIX}", digest.hex()))
    }

    /// Where modules are, for a pull.
    pub(crate) fn files(&self) -> ModuleFiles {
        ModuleFiles { folder: self.dir.clone(), files: Arc::clone(&self.files) }
    }

    /// Fetches a module; at most [`FETCHES_MAX`] at a time come over the link.
    pub(crate) fn fetch(
        &self,
        digest: Digest,
        session: SessionHandle,
    ) -> impl Future<Output = Fetched> + Send + use<> {
        let (path, fetches, files) = (self.path(&digest), Arc::clone(&self.fetches), Arc::clone(&self.files));
        async move {
            let started = Instant::now();
            let permit = fetches.acquire_owned().await;
            let unswept = files.read_owned().await;
            let result = session.fetch_module(digest, &path).await;
            drop((permit, unswept));
            let result = result.and_then(|()| size(&path)).map(|bytes| Arrived {
                took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                bytes,
            });
            Fetched { digest, result }
        }
    }

    /// Takes note of a module that arrived.
    pub(crate) fn insert(&mut self, digest: Digest, bytes: u64, used: u64) {
        self.present.insert(digest, Kept { bytes, used });
    }

    /// Takes note of a use; later ones are worth more.
    pub(crate) fn touch(&mut self, digest: &Digest, used: u64) {
        if let Some(kept) = self.present.get_mut(digest) {
            kept.used = kept.used.max(used);
        }
    }

    /// Removes modules that no pod refers to, the longest unused first, until the rest fits [`IDLE_BYTES_MAX`].
    pub(crate) fn sweep(&mut self, referenced: &BTreeSet<Digest>) {
        let doomed = self.idle(referenced, IDLE_BYTES_MAX);
        if !doomed.is_empty() {
            self.remove(doomed, PART_AGE_MAX);
        }
    }

    /// Removes all modules that no pod refers to, and what has come of any that are not whole.
    pub(crate) fn reclaim(&mut self, referenced: &BTreeSet<Digest>) {
        let doomed = self.idle(referenced, 0);
        self.remove(doomed, Duration::ZERO);
    }

    /// The modules to remove so that those without a pod take no more than `budget_bytes`.
    fn idle(&self, referenced: &BTreeSet<Digest>, budget_bytes: u64) -> Vec<Digest> {
        let mut idle: Vec<_> =
            self.present.iter().filter(|(digest, _)| !referenced.contains(*digest)).collect();
        idle.sort_by_key(|(digest, kept)| (kept.used, **digest));
        let mut bytes: u64 = idle.iter().map(|(_, kept)| kept.bytes).sum();
        let mut doomed = Vec::new();
        for (digest, kept) in idle {
            if bytes <= budget_bytes {
                break;
            }
            bytes -= kept.bytes;
            doomed.push(*digest);
        }
        doomed
    }

    /// Files go in the background. While modules are being fetched nothing is removed: the next sweep finds them.
    fn remove(&mut self, doomed: Vec<Digest>, parts_age: Duration) {
        let Ok(unfetched) = Arc::clone(&self.files).try_write_owned() else { return };
        self.present.retain(|digest, _| !doomed.contains(digest));
        let stems: HashSet<_> = doomed.iter().map(Digest::hex).collect();
        let dir = self.dir.clone();
        // Nobody waits for it but fetches, by the lock.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = remove_files(&dir, &stems).and_then(|()| remove_parts(&dir, parts_age)) {
                tracing::warn!(%error, "unused modules could not be removed");
            }
            drop(unfetched);
        }));
    }
}

/// Removes modules and what the runner compiled from them, which lies beside them under the same stem.
fn remove_files(dir: &Path, stems: &HashSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if stems.contains(name.split('.').next().unwrap_or_default()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes what came of content that is not whole, unless that is younger than `age`. Parts of code, with longer names, are not waited
/// for by the lock, and go with their modules.
pub(crate) fn remove_parts(dir: &Path, age: Duration) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pieces: Vec<_> = name.split('.').collect();
        if !matches!(pieces.as_slice(), [_, _, PART] | [_, STAGING]) {
            continue;
        }
        let written = fs::metadata(&path)?.modified()?;
        if SystemTime::now().duration_since(written).unwrap_or_default() >= age {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn size(path: &Path) -> Result<u64, String> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a module's file name ends in.
const SUFFIX: &str = ".wasm";

/// What the name of something ends in that is not whole.
const PART: &str = "part";

/// Nobody goes on with a part that is older: neither link nor registry is away for so long while pods wait.
pub(crate) const PART_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Modules fetched at the same time: enough to keep a link busy, few enough that each makes progress on a slow one.
const FETCHES_MAX: usize = 4;

/// What modules without a pod may keep of the disk, so that a pod that comes back finds its module.
const IDLE_BYTES_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unused_modules_go_first_and_used_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let digests: Vec<_> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            fs::write(dir.path().join(format!("{}.wasm", digest.hex())), [0; 100]).unwrap();
        }
        fs::write(dir.path().join("x.wasm.part"), b"part").unwrap();
        let mut modules = Modules::open(dir.path().to_owned()).unwrap();
        for (used, digest) in digests.iter().enumerate() {
            assert!(modules.has(digest));
            modules.touch(digest, used as u64);
        }
        let doomed = modules.idle(&BTreeSet::from([digests[0]]), 150);
        modules.remove(doomed, Duration::MAX);
        let left: Vec<_> = digests.iter().map(|digest| modules.has(digest)).collect();
        assert_eq!(left, [true, false, false, true]);
        // Fetches wait for the same.
        drop(modules.files.read().await);
        assert!(!modules.path(&digests[1]).exists() && dir.path().join("x.wasm.part").exists());

        modules.reclaim(&BTreeSet::from([digests[0]]));
        drop(modules.files.read().await);
        assert!(modules.path(&digests[0]).exists() && fs::read_dir(dir.path()).unwrap().count() == 1);
    }
}

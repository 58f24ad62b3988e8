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
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{
    images::{ModuleFiles, Pin, Pins, STAGING},
    session::SessionHandle,
};

/// What is in the cache.
#[derive(Debug)]
pub(crate) struct Modules {
    dir: PathBuf,
    /// Size and last use of each.
    present: HashMap<Digest, Kept>,
    fetches: Arc<Semaphore>,
    /// What is being fetched, by what its files are named after.
    pins: Pins,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    bytes: u64,
    used: u64,
}

/// A fetch from the coordinator that came to its end.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// What was asked for.
    pub(crate) digest: Digest,
    /// How long it took, or why it failed.
    pub(crate) result: Result<Arrived, String>,
    /// The module that came, and how long it is.
    pub(crate) module: Option<(Digest, u64)>,
    /// What the disk should have free for the next attempt.
    pub(crate) wants_free: Option<u64>,
    /// Keep what came until it is known to be here.
    pub(crate) pins: Vec<Pin>,
}

impl Modules {
    /// Opens the cache in `dir`: whole modules are kept, and parts that may still be gone on with.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let pins = Pins::default();
        remove_parts(&dir, PART_AGE_MAX, &pins)?;
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
        Ok(Self { dir, present, fetches, pins })
    }

    /// Whether a module is here.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.present.contains_key(digest)
    }

    /// Whether it is here, or has come a moment ago and is not counted yet.
    pub(crate) fn is_there(&self, digest: &Digest) -> bool {
        self.has(digest) || self.path(digest).is_file()
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
        ModuleFiles { folder: self.dir.clone(), pins: self.pins.clone() }
    }

    /// Fetches a module; at most [`FETCHES_MAX`] at a time come over the link.
    pub(crate) fn fetch(
        &self,
        digest: Digest,
        session: SessionHandle,
    ) -> impl Future<Output = Fetched> + Send + use<> {
        let (path, fetches, pin) = (self.path(&digest), Arc::clone(&self.fetches), self.pins.hold(digest));
        async move {
            let started = Instant::now();
            let permit = fetches.acquire_owned().await;
            let result = session.fetch_module(digest, &path).await;
            drop(permit);
            let result = result.and_then(|()| size(&path));
            let module = result.as_ref().ok().map(|bytes| (digest, *bytes));
            let result = result.map(|bytes| arrived(started, bytes));
            Fetched { digest, result, module, wants_free: None, pins: vec![pin] }
        }
    }

    /// Puts a module here that lies in an image on the same disk; answers its length.
    pub(crate) fn take(&self, digest: &Digest, from: &Path) -> io::Result<u64> {
        let path = self.path(digest);
        match fs::hard_link(from, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(fs::metadata(path)?.len())
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
            drop(self.remove(doomed, PART_AGE_MAX));
        }
    }

    /// Removes all modules that no pod refers to, and what has come of any that are not whole.
    pub(crate) fn reclaim(&mut self, referenced: &BTreeSet<Digest>) {
        let doomed = self.idle(referenced, 0);
        drop(self.remove(doomed, Duration::ZERO));
    }

    /// Removes one module that nobody needs.
    pub(crate) fn remove_one(&mut self, digest: Digest) {
        drop(self.remove(vec![digest], PART_AGE_MAX));
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

    /// Files go in the background, but those of modules that are being fetched: whoever fetches them takes note of them again.
    fn remove(&mut self, doomed: Vec<Digest>, parts_age: Duration) -> JoinHandle<()> {
        self.present.retain(|digest, _| !doomed.contains(digest));
        let (dir, pins) = (self.dir.clone(), self.pins.clone());
        tokio::task::spawn_blocking(move || {
            let doomed: HashSet<_> = doomed.into_iter().collect();
            let removed =
                remove_files(&dir, &doomed, &pins).and_then(|()| remove_parts(&dir, parts_age, &pins));
            if let Err(error) = removed {
                tracing::warn!(%error, "unused modules could not be removed");
            }
        })
    }
}

/// What has come since a fetch began.
pub(crate) fn arrived(started: Instant, bytes: u64) -> Arrived {
    Arrived { took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), bytes }
}

/// Removes modules and what the runner compiled from them, which lies beside them under the same stem.
fn remove_files(dir: &Path, doomed: &HashSet<Digest>, pins: &Pins) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(digest) = stem(&entry.file_name().to_string_lossy()).filter(|stem| doomed.contains(stem))
        {
            pins.unless_held(&digest, || fs::remove_file(entry.path())).transpose()?;
        }
    }
    Ok(())
}

/// Removes what came of content that is not whole, unless that is younger than `age` or is being fetched. Parts of code, with longer
/// names, go with their modules.
pub(crate) fn remove_parts(dir: &Path, age: Duration, pins: &Pins) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pieces: Vec<_> = name.split('.').collect();
        if !matches!(pieces.as_slice(), [_, _, PART] | [_, STAGING]) {
            continue;
        }
        let remove_old = || {
            let written = fs::metadata(&path)?.modified()?;
            let is_old = SystemTime::now().duration_since(written).unwrap_or_default() >= age;
            if is_old { fs::remove_file(&path) } else { Ok(()) }
        };
        match stem(&name) {
            Some(digest) => pins.unless_held(&digest, remove_old).transpose()?,
            None => Some(remove_old()?),
        };
    }
    Ok(())
}

/// The digest that a file is named after.
fn stem(name: &str) -> Option<Digest> {
    format!("sha256:{}", name.split('.').next().unwrap_or_default()).parse().ok()
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
        modules.remove(doomed, Duration::MAX).await.unwrap();
        let left: Vec<_> = digests.iter().map(|digest| modules.has(digest)).collect();
        assert_eq!(left, [true, false, false, true]);
        assert!(!modules.path(&digests[1]).exists() && dir.path().join("x.wasm.part").exists());

        // What is being fetched stays, whole or not, and nothing waits for it.
        let (held, part) = (modules.pins.hold(digests[3]), Digest::of(b"part"));
        let _part = modules.pins.hold(part);
        fs::write(dir.path().join(format!("{}.wasm.part", part.hex())), b"part").unwrap();
        let doomed = modules.idle(&BTreeSet::from([digests[0]]), 0);
        modules.remove(doomed.clone(), Duration::ZERO).await.unwrap();
        assert!(modules.path(&digests[3]).exists() && !modules.has(&digests[3]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        drop(held);
        modules.remove(doomed, Duration::ZERO).await.unwrap();
        assert!(modules.path(&digests[0]).exists() && fs::read_dir(dir.path()).unwrap().count() == 2);
    }
}

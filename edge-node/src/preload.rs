//! A folder of archives whose images the node loads by itself, for sites without a network: each file once, again when it is another.
//!
//! What came of each is kept in a file of the state folder. Images of files that are still there are not removed to make room: nobody
//! could bring them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node_core::reasons;
use dunlin_link::{UnixMillis, status::NodeEvent};
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    agent::AgentHost,
    folders,
    images::{Came, Images, ImportError, Imported, ModuleFiles},
    session::SessionHandle,
};

/// Who loads.
#[derive(Debug)]
pub(crate) struct Preload {
    /// The folder; nothing is loaded while there is none.
    pub(crate) dir: PathBuf,
    /// File that says what was loaded.
    pub(crate) record: PathBuf,
    pub(crate) images: Images,
    pub(crate) modules: ModuleFiles,
    pub(crate) session: SessionHandle,
}

/// What was loaded, by file name.
type Loaded = BTreeMap<String, Archive>;

/// A file as it was when it was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Archive {
    #[serde(flatten)]
    stamp: Stamp,
    /// Digests of the images in it; none of a file that could not be loaded, with the reason.
    images: Vec<String>,
    failed: Option<String>,
}

/// What tells a file from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    modified_nanos: u64,
}

/// A file as it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    stamp: Stamp,
    /// It was written to so long ago that it is whole, if the clock is right.
    is_settled: bool,
}

/// A file that could not be loaded for a reason that passes.
#[derive(Debug)]
struct Postponed {
    stamp: Stamp,
    why: String,
    again: Instant,
    delay: Duration,
}

/// What is known from earlier looks.
#[derive(Debug, Default)]
struct Past {
    loaded: Loaded,
    postponed: BTreeMap<String, Postponed>,
    found: BTreeMap<String, Found>,
}

impl Preload {
    /// Looks once in [`LOOK_INTERVAL`] until `shutdown`.
    pub(crate) async fn run(self, host: AgentHost, shutdown: CancellationToken) {
        let mut past = Past { loaded: read(&self.record), ..Past::default() };
        // What failed before may not now: another version, another disk.
        past.loaded.retain(|_, archive| archive.failed.is_none() && self.has_all(archive));
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            tokio::select! {
                () = self.look(&mut past, &host) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&self, past: &mut Past, host: &AgentHost) {
        let before = past.loaded.clone();
        let found = files(&self.dir);
        past.loaded.retain(|name, _| found.contains_key(name));
        past.postponed.retain(|name, _| found.contains_key(name));
        self.protect(&past.loaded);
        for (name, file) in &found {
            if !past.wants(name, *file, Instant::now()) {
                continue;
            }
            let stamp = file.stamp;
            let (images, failed) = match self.load(name, host).await {
                Ok(images) => (images, None),
                Err(error) if error.is_passing => {
                    let why = error.to_string();
                    if past.postpone(name, stamp, &why, Instant::now()) {
                        self.tell(name, &why);
                    }
                    continue;
                }
                Err(error) => {
                    let why = error.to_string();
                    self.tell(name, &why);
                    (Vec::new(), Some(why))
                }
            };
            past.postponed.remove(name);
            past.loaded.insert(name.clone(), Archive { stamp, images, failed });
            self.protect(&past.loaded);
        }
        past.found = found;
        if past.loaded != before
            && let Err(error) = write(&self.record, &past.loaded)
        {
            warn!(%error, "what was loaded of the folder of images could not be remembered");
        }
    }

    async fn load(&self, name: &str, host: &AgentHost) -> Result<Vec<String>, ImportError> {
        let (images, modules, path) = (self.images.clone(), self.modules.clone(), self.dir.join(name));
        let import = spawn_blocking(move || {
            let file = fs::File::open(path).map_err(|error| ImportError::passing(error.to_string()))?;
            images.import(file, None, &modules)
        });
        let imported = import.await.map_err(|error| ImportError::lasting(error.to_string()))??;
        let mut digests = Vec::new();
        for Imported { names, image, module, pins } in imported {
            info!(file = name, names = names.join(" "), "loaded an image");
            digests.push(image.to_string());
            host.image_came(Came { module, pins }).await.map_err(ImportError::passing)?;
        }
        Ok(digests)
    }

    fn has_all(&self, archive: &Archive) -> bool {
        let digests = archive.images.iter().map(|digest| digest.parse());
        digests.into_iter().all(|digest| digest.is_ok_and(|digest| self.images.knows(&digest)))
    }

    fn protect(&self, loaded: &Loaded) {
        let images = loaded.values().flat_map(|archive| &archive.images);
        let images: BTreeSet<_> = images.filter_map(|digest| digest.parse().ok()).collect();
        self.images.protect(images);
    }

    fn tell(&self, name: &str, why: &str) {
        let message =
            format!("images of the archive `{}` could not be loaded: {why}", self.dir.join(name).display());
        warn!("{message}");
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = UnixMillis(i64::try_from(at).unwrap_or(i64::MAX));
        let reason = reasons::IMAGES_NOT_LOADED.to_owned();
        self.session.event(NodeEvent { pod: None, warning: true, reason, message, at });
    }
}

impl Past {
    /// Whether a file is to be loaded now.
    fn wants(&self, name: &str, file: Found, now: Instant) -> bool {
        if self.loaded.get(name).is_some_and(|known| known.stamp == file.stamp) {
            return false;
        }
        if let Some(postponed) = self.postponed.get(name)
            && postponed.stamp == file.stamp
        {
            return now >= postponed.again;
        }
        // One that was written a moment ago may be written still. By a clock that is behind each one was: then it is whole when it has not
        // changed since the last look.
        file.is_settled || self.found.get(name).is_some_and(|before| before.stamp == file.stamp)
    }

    /// Has a file tried again later; answers whether the reason is another than before.
    fn postpone(&mut self, name: &str, stamp: Stamp, why: &str, now: Instant) -> bool {
        let before = self.postponed.get(name).filter(|before| before.stamp == stamp);
        let is_new = before.is_none_or(|before| before.why != why);
        let delay = before.map_or(LOOK_INTERVAL, |before| (before.delay * 2).min(DELAY_MAX));
        let postponed = Postponed { stamp, why: why.to_owned(), again: now + delay, delay };
        self.postponed.insert(name.to_owned(), postponed);
        is_new
    }
}

/// Archives of a folder with their sizes and times.
fn files(dir: &Path) -> BTreeMap<String, Found> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().take(FILES_MAX) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        let Ok(modified) = metadata.modified() else { continue };
        let is_settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age >= SETTLED_AGE);
        if name.starts_with('.') || !metadata.is_file() {
            continue;
        }
        let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let modified_nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        files.insert(name, Found { stamp: Stamp { bytes: metadata.len(), modified_nanos }, is_settled });
    }
    files
}

/// What cannot be read is loaded again.
fn read(record: &Path) -> Loaded {
    fs::read(record).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn write(record: &Path, loaded: &Loaded) -> io::Result<()> {
    let folder = record.parent().unwrap_or_else(|| Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    part.write_all(&serde_json::to_vec(loaded)?)?;
    part.as_file().sync_all()?;
    part.persist(record).map_err(|error| error.error)?;
    folders::flush(folder)
}

/// How often the folder is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// How long a file waits at most that could not be loaded for want of room, or because the disk failed.
const DELAY_MAX: Duration = Duration::from_secs(600);
/// Files of the folder that are looked at.
const FILES_MAX: usize = 1024;
/// A file is taken for whole when it was not written to for so long.
const SETTLED_AGE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("loaded");
        assert_eq!(read(&record), Loaded::new());
        let stamp = Stamp { bytes: 1, modified_nanos: 2 };
        let archive = Archive { stamp, images: vec!["sha256:x".into()], failed: None };
        let loaded = Loaded::from([("a.tar".to_owned(), archive)]);
        write(&record, &loaded).unwrap();
        assert_eq!(read(&record), loaded);
        fs::write(&record, "{").unwrap();
        assert_eq!(read(&record), Loaded::new());
    }

    #[test]
    fn files_that_are_whole_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        for (name, modified) in
            [("a.tar", now - minute), (".b.tar", now - minute), ("c.tar", now), ("d.tar", now + 60 * minute)]
        {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            fs::File::open(path).unwrap().set_modified(modified).unwrap();
        }
        fs::create_dir(folder.path().join("e")).unwrap();
        let found = files(folder.path());
        let settled: Vec<_> = found.iter().map(|(name, file)| (&**name, file.is_settled)).collect();
        assert_eq!(settled, [("a.tar", true), ("c.tar", false), ("d.tar", false)]);
        assert_eq!(files(&folder.path().join("none")).len(), 0);
    }

    #[test]
    fn a_file_is_loaded_once_and_again_when_it_may_go_better() {
        let (now, mut past) = (Instant::now(), Past::default());
        let stamp = Stamp { bytes: 1, modified_nanos: 2 };
        let found = |is_settled| Found { stamp, is_settled };
        assert!(past.wants("a", found(true), now) && !past.wants("a", found(false), now));
        // The clock is behind: a file that has not changed is whole.
        past.found.insert("a".to_owned(), found(false));
        assert!(past.wants("a", found(false), now));

        assert!(past.postpone("a", stamp, "no room", now) && !past.wants("a", found(true), now));
        assert!(past.wants("a", found(true), now + LOOK_INTERVAL));
        assert!(!past.postpone("a", stamp, "no room", now), "that was told");
        assert!(!past.wants("a", found(true), now + LOOK_INTERVAL));
        assert!(past.postpone("a", stamp, "a bad disk", now));
        assert!(past.wants("a", found(true), now + DELAY_MAX));
        let changed = Found { stamp: Stamp { bytes: 2, ..stamp }, is_settled: true };
        assert!(past.wants("a", changed, now));

        let archive = |stamp| Archive { stamp, images: Vec::new(), failed: None };
        past.loaded.insert("a".to_owned(), archive(stamp));
        assert!(!past.wants("a", found(true), now) && past.wants("a", changed, now));
        // Nor is it forgotten what was loaded before the clock was wrong.
        assert!(!past.wants("a", found(false), now));
    }
}

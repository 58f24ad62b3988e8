//! A folder of archives whose images the node loads by itself, for sites without a network: each file once, again when it is another.
//!
//! What came of each is kept in a file of the state folder. Images of files that are still there are not removed to make room: nobody
//! could bring them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
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
    images::{Came, Images, Imported, ModuleFiles},
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
    bytes: u64,
    modified_nanos: u64,
    /// Digests of the images in it; none of a file that could not be loaded, with the reason.
    images: Vec<String>,
    failed: Option<String>,
}

impl Preload {
    /// Looks once in [`LOOK_INTERVAL`] until `shutdown`.
    pub(crate) async fn run(self, host: AgentHost, shutdown: CancellationToken) {
        let mut loaded = read(&self.record);
        // What failed before may not now: another version, another disk.
        loaded.retain(|_, archive| archive.failed.is_none() && self.has_all(archive));
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            tokio::select! {
                () = self.look(&mut loaded, &host) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&self, loaded: &mut Loaded, host: &AgentHost) {
        let before = loaded.clone();
        let found = files(&self.dir);
        loaded.retain(|name, _| found.contains_key(name));
        self.protect(loaded);
        for (name, (bytes, modified_nanos)) in found {
            let same = |known: &Archive| known.bytes == bytes && known.modified_nanos == modified_nanos;
            if loaded.get(&name).is_some_and(same) {
                continue;
            }
            let (images, failed) = match self.load(&name, host).await {
                Ok(images) => (images, None),
                Err(why) => {
                    self.tell(&name, &why);
                    (Vec::new(), Some(why))
                }
            };
            loaded.insert(name, Archive { bytes, modified_nanos, images, failed });
            self.protect(loaded);
        }
        if *loaded != before
            && let Err(error) = write(&self.record, loaded)
        {
            warn!(%error, "what was loaded of the folder of images could not be remembered");
        }
    }

    async fn load(&self, name: &str, host: &AgentHost) -> Result<Vec<String>, String> {
        let (images, modules, path) = (self.images.clone(), self.modules.clone(), self.dir.join(name));
        let import = spawn_blocking(move || {
            let file = fs::File::open(path).map_err(|error| error.to_string())?;
            images.import(file, None, &modules)
        });
        let imported = import.await.map_err(|error| error.to_string())??;
        let mut digests = Vec::new();
        for Imported { names, image, module, pins } in imported {
            info!(file = name, names = names.join(" "), "loaded an image");
            digests.push(image.to_string());
            host.image_came(Came { module, pins }).await?;
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

/// Archives of a folder with their sizes and times. One that was written a moment ago may be written still.
fn files(dir: &Path) -> BTreeMap<String, (u64, u64)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().take(FILES_MAX) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        let Ok(modified) = metadata.modified() else { continue };
        let is_settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age >= SETTLED_AGE);
        if name.starts_with('.') || !metadata.is_file() || !is_settled {
            continue;
        }
        let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        files.insert(name, (metadata.len(), u64::try_from(nanos).unwrap_or(u64::MAX)));
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
        let archive = Archive { bytes: 1, modified_nanos: 2, images: vec!["sha256:x".into()], failed: None };
        let loaded = Loaded::from([("a.tar".to_owned(), archive)]);
        write(&record, &loaded).unwrap();
        assert_eq!(read(&record), loaded);
        fs::write(&record, "{").unwrap();
        assert_eq!(read(&record), Loaded::new());
    }

    #[test]
    fn files_that_are_whole_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        for (name, modified) in [("a.tar", old), (".b.tar", old), ("c.tar", SystemTime::now())] {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            fs::File::open(path).unwrap().set_modified(modified).unwrap();
        }
        fs::create_dir(folder.path().join("d")).unwrap();
        assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), ["a.tar"]);
        assert_eq!(files(&folder.path().join("none")).len(), 0);
    }
}

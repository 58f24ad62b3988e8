//! The bound on all logs of the node together.
//!
//! Once in [`LOOK_INTERVAL`] the names and sizes of all log files are read, and nothing else. When they take more than the bound, what
//! is oldest goes: rotated parts, and runs before the last. The file that a container's last run writes or wrote is never touched, so
//! what those take beyond the bound is only told.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use dunlin_link::Bytes;
use tokio::{task::spawn_blocking, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::latest_attempt;
use crate::console::LogUsage;

/// Who keeps the logs of a node within their bound.
#[derive(Clone, Debug)]
pub(crate) struct LogKeeper {
    dir: PathBuf,
    bytes_max: u64,
    usage: Arc<Mutex<LogUsage>>,
}

/// What one look found and did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    /// What is there afterwards.
    bytes: u64,
    dropped_files: u64,
    dropped_bytes: u64,
}

/// A file that may go.
#[derive(Debug)]
struct Part {
    modified: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl LogKeeper {
    /// Keeps what is below `dir` within a bound.
    pub(crate) fn new(dir: PathBuf, Bytes(bytes_max): Bytes) -> Self {
        let usage = LogUsage { bytes_max, ..LogUsage::default() };
        Self { dir, bytes_max, usage: Arc::new(Mutex::new(usage)) }
    }

    /// What logs take as of the last look.
    pub(crate) fn usage(&self) -> LogUsage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            let (dir, bytes_max) = (self.dir.clone(), self.bytes_max);
            let looked = spawn_blocking(move || look(&dir, bytes_max)).await;
            match looked.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                Ok(look) => self.note(&look),
                Err(error) => warn!(%error, "the node's logs could not be held against their bound"),
            }
        }
    }

    fn note(&self, look: &Look) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let was_over = usage.bytes > usage.bytes_max;
        usage.bytes = look.bytes;
        usage.dropped_files += look.dropped_files;
        usage.dropped_bytes += look.dropped_bytes;
        drop(usage);
        let bound = self.bytes_max;
        if look.dropped_files > 0 {
            info!(
                files = look.dropped_files,
                bytes = look.dropped_bytes,
                bound,
                "dropped the oldest logs, to stay within the bound on all of them"
            );
        }
        if look.bytes > bound && !was_over {
            warn!(
                bytes = look.bytes,
                bound, "the current logs alone take more than the bound on all of them"
            );
        }
    }
}

/// Adds up all logs, and removes the oldest that may go while they are more than `bytes_max`.
fn look(dir: &Path, bytes_max: u64) -> io::Result<Look> {
    let mut parts = Vec::new();
    let mut look = Look::default();
    for pod in folders(dir)? {
        for container in folders(&pod)? {
            look.bytes += add_container(&container, &mut parts)?;
        }
    }
    if look.bytes <= bytes_max {
        return Ok(look);
    }
    parts.sort_by(|one, other| (one.modified, &one.path).cmp(&(other.modified, &other.path)));
    for part in parts {
        if look.bytes <= bytes_max {
            break;
        }
        match fs::remove_file(&part.path) {
            Ok(()) => {
                look.dropped_files += 1;
                look.dropped_bytes += part.bytes;
            }
            // Rotated, or removed with its pod, meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        look.bytes -= part.bytes;
    }
    Ok(look)
}

/// Bytes of a container's logs; those that may go are added to `parts`.
fn add_container(dir: &Path, parts: &mut Vec<Part>) -> io::Result<u64> {
    let last = match latest_attempt(dir) {
        Ok(last) => last.map(|attempt| format!("{attempt}.log")),
        Err(error) => return missing(error).map(|()| 0),
    };
    let mut bytes = 0;
    for entry in entries(dir)? {
        // A file that was there a moment ago may have been rotated or removed.
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() {
            continue;
        }
        bytes += metadata.len();
        if last.as_deref().is_none_or(|last| entry.file_name() != last) {
            let modified = metadata.modified()?;
            parts.push(Part { modified, path: entry.path(), bytes: metadata.len() });
        }
    }
    Ok(bytes)
}

fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = entries(dir)?.into_iter();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.path()).collect())
}

/// What is in a folder; nothing when it is not there (any more).
fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(error) => missing(error).map(|()| Vec::new()),
    }
}

fn missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// How often is looked. What a container writes meanwhile is bounded by itself.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Writes a log of so many bytes that was last written `age` seconds ago.
    fn log(dir: &Path, path: &str, bytes: usize, age: u64) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    }

    fn paths(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for pod in folders(dir).unwrap() {
            for container in folders(&pod).unwrap() {
                let files = entries(&container).unwrap().into_iter().map(|entry| entry.path());
                found.extend(files.map(|path| path.strip_prefix(dir).unwrap().display().to_string()));
            }
        }
        found.sort();
        found
    }

    /// Two containers with a run before the last one each; 60 bytes.
    fn logs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path(), "p_a_u1/c/9.log", 10, 70);
        log(dir.path(), "p_a_u1/c/10.log.1", 10, 60);
        log(dir.path(), "p_a_u1/c/10.log", 10, 50);
        log(dir.path(), "p_b_u2/c/0.log.1", 10, 80);
        log(dir.path(), "p_b_u2/c/0.log", 10, 65);
        log(dir.path(), "p_b_u2/c/1.log", 10, 90);
        dir
    }

    #[test]
    fn the_oldest_go_and_the_last_run_stays() {
        let check = |bytes_max, gone: &[&str]| {
            let dir = logs();
            let dropped = gone.len() as u64;
            let expected =
                Look { bytes: 60 - 10 * dropped, dropped_files: dropped, dropped_bytes: 10 * dropped };
            assert_eq!(look(dir.path(), bytes_max).unwrap(), expected);
            let kept = paths(dir.path());
            let went: Vec<_> = paths(logs().path()).into_iter().filter(|path| !kept.contains(path)).collect();
            assert_eq!(went, gone, "{bytes_max}");
            let again = look(dir.path(), bytes_max).unwrap();
            assert_eq!((again.bytes, again.dropped_files), (expected.bytes, 0), "nothing more goes");
        };
        check(60, &[]);
        check(59, &["p_b_u2/c/0.log.1"]);
        check(50, &["p_b_u2/c/0.log.1"]);
        check(40, &["p_a_u1/c/9.log", "p_b_u2/c/0.log.1"]);
        check(25, &["p_a_u1/c/10.log.1", "p_a_u1/c/9.log", "p_b_u2/c/0.log", "p_b_u2/c/0.log.1"]);
        check(0, &["p_a_u1/c/10.log.1", "p_a_u1/c/9.log", "p_b_u2/c/0.log", "p_b_u2/c/0.log.1"]);
    }

    #[test]
    fn no_logs_take_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(&dir.path().join("logs"), 0).unwrap(), Look::default());
        // What is not a container's folder is nobody's log.
        fs::write(dir.path().join("file"), b"x").unwrap();
        fs::create_dir(dir.path().join("p_a_u1")).unwrap();
        assert_eq!(look(dir.path(), 0).unwrap(), Look::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_is_counted_look_by_look() {
        let dir = logs();
        let keeper = LogKeeper::new(dir.path().to_owned(), Bytes(50));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(keeper.clone().run(shutdown.clone()));
        let wait_for = async |files| {
            // Looking is real work on another thread, for which a paused clock would not wait.
            while keeper.usage().dropped_files != files {
                tokio::time::sleep(Duration::from_secs(1)).await;
                std::thread::yield_now();
            }
        };
        wait_for(1).await;
        assert_eq!(
            keeper.usage(),
            LogUsage { bytes: 50, bytes_max: 50, dropped_files: 1, dropped_bytes: 10 }
        );
        log(dir.path(), "p_c_u3/c/0.log", 15, 0);
        wait_for(3).await;
        assert_eq!(
            keeper.usage(),
            LogUsage { bytes: 45, bytes_max: 50, dropped_files: 3, dropped_bytes: 30 }
        );
        shutdown.cancel();
        running.await.unwrap();
    }
}

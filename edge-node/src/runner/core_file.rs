//! A container's core dump, one at a time: the file `core` beside its logs, which are held within a bound together.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dunlin_link::limits::CORE_DUMP_BYTES_MAX;
use dunlin_wasm_host::{CORE_BYTES_MAX, CoreDumps};

use crate::logs::core_dump;

/// Where one run leaves it.
#[derive(Debug)]
pub(super) struct CoreFile {
    path: PathBuf,
    /// Whether this run has left one.
    kept: AtomicBool,
    /// Whether this run could not leave one, and is not to try again.
    failed: AtomicBool,
    /// Why one was left out, when that is for its size.
    left_out: Mutex<Option<String>>,
}

impl CoreFile {
    /// That of the container whose log is `log`.
    pub(super) fn beside(log: &Path) -> Self {
        Self {
            path: core_dump(log),
            kept: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            left_out: Mutex::default(),
        }
    }

    /// The message of an end, with where to find what it left.
    pub(super) fn tell(&self, message: String) -> String {
        if self.kept.load(Ordering::Relaxed) {
            return format!("{message}; `dunlin coredump` prints its core dump");
        }
        match &*self.leaves_out() {
            Some(why) => format!("{message}; it left no core dump, because {why}"),
            None => message,
        }
    }

    fn write(&self, dump: &[u8]) -> io::Result<()> {
        let begun = self.begun();
        // What a guest had in memory may be secret.
        let mut file =
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&begun)?;
        let written = file.write_all(dump).and_then(|()| fs::rename(&begun, &self.path));
        // Empty it takes no room, and its time tells the container's next runs of the attempt.
        if written.is_err() && file.set_len(0).is_err() {
            let _ = fs::remove_file(&begun);
        }
        written
    }

    fn leaves_out(&self) -> MutexGuard<'_, Option<String>> {
        // A text is whole or not there.
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a dump is until it is whole.
    fn begun(&self) -> PathBuf {
        self.path.with_extension("new")
    }
}

/// Whether a file was written so lately that no other is to follow.
fn is_fresh(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    // A clock that was set back makes it younger than it is, and nothing worse.
    modified.is_ok_and(|at| at.elapsed().map_or(true, |age| age <= REPLACED_AFTER))
}

impl CoreDumps for CoreFile {
    fn is_wanted(&self) -> bool {
        !self.failed.load(Ordering::Relaxed) && !is_fresh(&self.path) && !is_fresh(&self.begun())
    }

    fn keep(&self, dump: Vec<u8>) {
        // Of one that is longer nobody would be sent the rest.
        if u64::try_from(dump.len()).is_ok_and(|bytes| bytes > CORE_DUMP_BYTES_MAX) {
            let why = format!(
                "one has {CORE_DUMP_BYTES_MAX} bytes at most, and this one would have {}",
                dump.len()
            );
            *self.leaves_out() = Some(why);
            return;
        }
        match self.write(&dump) {
            Ok(()) => self.kept.store(true, Ordering::Relaxed),
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                tracing::warn!(%error, path = %self.path.display(), "a core dump could not be written");
            }
        }
    }

    fn left_out(&self, memory_bytes: usize) {
        let why =
            format!("one is made of {CORE_BYTES_MAX} bytes of memory at most, and it had {memory_bytes}");
        *self.leaves_out() = Some(why);
    }
}

/// A container that crashes again and again wears the disk no more often than that.
const REPLACED_AFTER: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn one_dump_is_kept_until_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let core = CoreFile::beside(&dir.path().join("3.log"));
        assert_eq!(core.tell("trap".to_owned()), "trap");
        assert!(core.is_wanted());
        core.keep(b"dump".to_vec());
        assert!(!core.is_wanted() && core.tell("trap".to_owned()).starts_with("trap; "));
        let path = dir.path().join("core");
        assert_eq!(fs::read(&path).unwrap(), b"dump");
        let old = SystemTime::now() - 2 * REPLACED_AFTER;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(core.is_wanted());
    }

    #[test]
    fn what_is_too_large_is_not_kept_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let core = CoreFile::beside(&dir.path().join("3.log"));
        core.left_out(40 << 20);
        let why = "trap; it left no core dump, because one is made of 33554432 bytes of memory at most, and it had 41943040";
        assert_eq!(core.tell("trap".to_owned()), why);
        let most = usize::try_from(CORE_DUMP_BYTES_MAX).unwrap();
        core.keep(vec![0; most + 1]);
        assert!(!dir.path().join("core").exists() && core.is_wanted());
        let why = "trap; it left no core dump, because one has 34603008 bytes at most, and this one would have 34603009";
        assert_eq!(core.tell("trap".to_owned()), why);
        core.keep(vec![0; most]);
        assert_eq!(fs::metadata(dir.path().join("core")).unwrap().len(), CORE_DUMP_BYTES_MAX);
        assert!(core.tell("trap".to_owned()).ends_with("prints its core dump"));
    }

    #[test]
    fn a_dump_that_cannot_be_written_counts_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("3.log");
        // Nothing is put in the place of a folder.
        fs::create_dir_all(dir.path().join("core/sub")).unwrap();
        let old = SystemTime::now() - 2 * REPLACED_AFTER;
        fs::File::open(dir.path().join("core")).unwrap().set_modified(old).unwrap();
        let core = CoreFile::beside(&log);
        assert!(core.is_wanted());
        core.keep(b"dump".to_vec());
        assert_eq!(core.tell("trap".to_owned()), "trap");
        let begun = dir.path().join("core.new");
        assert_eq!(fs::metadata(&begun).unwrap().len(), 0);
        assert!(!core.is_wanted() && !CoreFile::beside(&log).is_wanted(), "nor in the next run");
        fs::File::options().write(true).open(&begun).unwrap().set_modified(old).unwrap();
        assert!(!core.is_wanted() && CoreFile::beside(&log).is_wanted());
    }
}

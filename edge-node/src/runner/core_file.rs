//! A container's core dump, one at a time: the file `core` beside its logs, which are held within a bound together.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use dunlin_wasm_host::CoreDumps;

use crate::logs::core_dump;

/// Where one run leaves it.
#[derive(Debug)]
pub(super) struct CoreFile {
    path: PathBuf,
    /// Whether this run has left one.
    kept: AtomicBool,
}

impl CoreFile {
    /// That of the container whose log is `log`.
    pub(super) fn beside(log: &Path) -> Self {
        Self { path: core_dump(log), kept: AtomicBool::new(false) }
    }

    /// The message of an end, with where to find what it left.
    pub(super) fn tell(&self, message: String) -> String {
        if !self.kept.load(Ordering::Relaxed) {
            return message;
        }
        format!("{message}; `dunlin local coredump` on the node prints its core dump")
    }

    fn write(&self, dump: &[u8]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        // What a guest had in memory may be secret.
        let mut file =
            fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(dump)?;
        fs::rename(&new, &self.path)
    }
}

impl CoreDumps for CoreFile {
    fn is_wanted(&self) -> bool {
        let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified());
        // A clock that was set back makes it younger than it is, and nothing worse.
        modified.is_err() || modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > REPLACED_AFTER))
    }

    fn keep(&self, dump: Vec<u8>) {
        match self.write(&dump) {
            Ok(()) => self.kept.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "a core dump could not be written");
            }
        }
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
}

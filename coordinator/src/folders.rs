//! Folders whose names outlast a power cut. A new name is on disk only when the folder that holds it was flushed; a file that is
//! flushed in a folder that nobody knows of is lost all the same.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

/// Makes a folder that only its owner can read, and those above it that are absent, each durable in the one that holds it.
///
/// # Errors
/// When one cannot be made or flushed.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = parent(folder);
    if parent != folder {
        make(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync(parent)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the folder cannot be read or flushed.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    tests::note(folder);
    File::open(folder)?.sync_all()
}

/// The folder that holds a path.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! What was flushed is invisible until the power goes, so that tests are told which folders were.

    use std::{cell::RefCell, fs, mem, os::unix::fs::PermissionsExt as _, path::Path, path::PathBuf};

    use super::{make, parent};

    thread_local! {
        static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(folder: &Path) {
        SYNCED.with_borrow_mut(|synced| synced.push(folder.to_owned()));
    }

    /// The folders that this thread flushed since it asked last, in order.
    pub(crate) fn synced() -> Vec<PathBuf> {
        SYNCED.with_borrow_mut(mem::take)
    }

    #[test]
    fn every_folder_that_is_made_is_private_and_durable_in_the_one_above() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        make(&path("a/b/c")).unwrap();
        assert_eq!(synced(), [root.path().to_owned(), path("a"), path("a/b")]);
        for name in ["a", "a/b", "a/b/c"] {
            assert_eq!(fs::metadata(path(name)).unwrap().permissions().mode() & 0o777, 0o700, "{name}");
        }
        make(&path("a/b/c")).unwrap();
        assert_eq!(synced(), Vec::<PathBuf>::new());
        fs::write(path("file"), "").unwrap();
        assert!(make(&path("file")).is_err() && make(&path("file/a")).is_err());
        assert_eq!(parent(Path::new("data")), Path::new("."));
    }
}

//! Private folders that a power cut cannot take back: a folder is an entry of its parent, which has to be flushed for it to last.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

/// Makes a folder for its owner only, and those above it that are missing; what was there stays as it is.
///
/// # Errors
/// When it cannot be made, or something else is there.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent =
        dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        // Another process made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    flush(parent)
}

/// Has the entries of a folder last.
///
/// # Errors
/// When the disk fails.
pub(crate) fn flush(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folders_are_made_private_and_others_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let outer = dir.path().join("outer");
        fs::create_dir(&outer).unwrap();
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).unwrap();
        let inner = outer.join("a/b");
        let mode = |dir: &Path| fs::metadata(dir).unwrap().permissions().mode() & 0o777;
        for _ in 0..2 {
            make(&inner).unwrap();
            assert_eq!((mode(&outer), mode(&outer.join("a")), mode(&inner)), (0o755, 0o700, 0o700));
        }
        fs::write(outer.join("file"), "").unwrap();
        assert!(make(&outer.join("file")).is_err());
    }
}

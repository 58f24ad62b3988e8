//! Finding things below a folder on a path that a guest may have made: part by part, following no link.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, statat},
    io::Errno,
};

/// What is at a path below a folder.
#[derive(Debug)]
pub(crate) enum Found {
    /// A folder.
    Folder(OwnedFd),
    /// A file, by its folder and its name there.
    File(OwnedFd, String),
    /// Nothing.
    Nothing,
}

/// What is at `inside`, relative and without `..`, below `root`.
///
/// # Errors
/// When there is something else than a folder or a file, or a link on the way.
pub(crate) fn find(root: &Path, inside: &str) -> io::Result<Found> {
    let mut folder = OwnedFd::from(File::open(root)?);
    let mut parts = inside.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let kind = match statat(&folder, part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        match kind {
            FileType::Directory => folder = enter(&folder, part)?,
            FileType::RegularFile if parts.peek().is_none() => {
                return Ok(Found::File(folder, part.to_owned()));
            }
            FileType::Symlink => return Err(refused(inside, "leads through a symbolic link")),
            _ => return Err(refused(inside, "is no folder and no file")),
        }
    }
    Ok(Found::Folder(folder))
}

/// Makes the folders of `inside` that are missing below `root`, as open as that is.
///
/// # Errors
/// When something else is there.
pub(super) fn make(root: &Path, inside: &str) -> io::Result<()> {
    let mut folder = OwnedFd::from(File::open(root)?);
    let mode = Mode::from_raw_mode(fstat(&folder)?.st_mode & 0o7777);
    for part in inside.split('/').filter(|part| !part.is_empty()) {
        match mkdirat(folder.as_fd(), part, Mode::RWXU) {
            Ok(()) => {
                folder = enter(&folder, part)?;
                fchmod(&folder, mode)?;
            }
            Err(Errno::EXIST) => folder = enter(&folder, part)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn enter(folder: &OwnedFd, part: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, part, flags, Mode::empty())?)
}

fn refused(inside: &str, why: &str) -> io::Error {
    io::Error::other(format!("subPath \"{inside}\" {why}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn no_link_is_followed_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/f"), "x").unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("a", root.join("in")).unwrap();
        let error = |inside: &str| find(&root, inside).unwrap_err().to_string();
        assert!(matches!(find(&root, "a/b").unwrap(), Found::Folder(_)));
        assert!(matches!(find(&root, "").unwrap(), Found::Folder(_)));
        assert!(matches!(find(&root, "a/f").unwrap(), Found::File(_, name) if name == "f"));
        assert!(matches!(find(&root, "a/none/c").unwrap(), Found::Nothing));
        for link in ["out", "out/passwd", "in/b"] {
            assert!(error(link).contains("symbolic link"), "{link}");
        }
        assert!(error("a/f/x").contains("no folder"), "{}", error("a/f/x"));
        make(&root, "n/e/w").unwrap();
        make(&root, "n/e/w").unwrap();
        assert!(root.join("n/e/w").is_dir());
        assert!(make(&root, "out/x").is_err() && make(&root, "a/f").is_err());
    }
}

//! Takes folders away that strangers filled: however deep they are, it needs no more memory and no more open files, follows no link, and
//! crosses no mount.
//!
//! A folder inside the one that goes is moved to the top of it when it is not empty, so that nothing is ever more than two levels deep.

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2, renameat, unlinkat},
    io::Errno,
};

/// What could not be removed: something is mounted there, it is immutable, or the disk fails.
#[derive(Debug, Default)]
pub struct Left {
    count: usize,
    first: Option<(OsString, io::Error)>,
}

impl Left {
    /// Whether all of it is gone.
    pub const fn is_nothing(&self) -> bool {
        self.count == 0
    }

    /// As an error where something has to be gone; the first cause.
    ///
    /// # Errors
    /// When something is left.
    pub fn into_result(self) -> io::Result<()> {
        match self.first {
            Some((name, error)) => {
                Err(io::Error::new(error.kind(), format!("{}: {error}", name.to_string_lossy())))
            }
            None => Ok(()),
        }
    }

    fn add(&mut self, name: &OsStr, error: Errno) {
        self.count += 1;
        self.first.get_or_insert_with(|| (name.to_owned(), error.into()));
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            Some((name, error)) => {
                write!(f, "{} cannot be removed, the first `{}`: {error}", self.count, name.to_string_lossy())
            }
            None => f.write_str("all is gone"),
        }
    }
}

/// Removes whatever is at the path, if anything is.
pub fn remove_tree(path: &Path) -> Left {
    remove_tree_in(CWD, path.as_os_str())
}

/// Removes whatever has the name in an open folder, if anything has.
pub fn remove_tree_in(parent: impl AsFd, name: &OsStr) -> Left {
    let mut left = Left::default();
    if let Err(error) = remove(parent.as_fd(), name, &mut left) {
        left.add(name, error);
    }
    left
}

fn remove(parent: impl AsFd, name: &OsStr, left: &mut Left) -> Result<(), Errno> {
    match try_now(&parent, name)? {
        Tried::Gone => return Ok(()),
        Tried::Full => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(&parent, name, flags, Mode::empty())?;
    empty(&top, left)?;
    match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        // What keeps it was told already.
        Err(Errno::NOTEMPTY | Errno::EXIST) if !left.is_nothing() => Ok(()),
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// What came of one attempt.
enum Tried {
    Gone,
    /// It is a folder with something in it.
    Full,
}

fn try_now(parent: impl AsFd, name: &OsStr) -> Result<Tried, Errno> {
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Tried::Gone),
        // What it is called depends on the file system.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Tried::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Tried::Full),
        // No folder: it is a file that may not be removed.
        Err(Errno::NOTDIR) => Err(Errno::PERM),
        Err(error) => Err(error),
    }
}

/// Empties the folder that goes, as far as that is possible.
fn empty(top: &OwnedFd, left: &mut Left) -> Result<(), Errno> {
    let mut moved = Moved::default();
    loop {
        let (mut has_progressed, mut failed) = (false, Left::default());
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            has_progressed |= clear(top, name, &mut moved, &mut failed);
            // Those that were moved up meanwhile, before there are more of them.
            while let Some(name) = moved.waiting.pop() {
                has_progressed |= clear(top, &name, &mut moved, &mut failed);
            }
            if failed.count >= LEFT_MAX {
                break;
            }
        }
        let is_over = !has_progressed || failed.count >= LEFT_MAX;
        if failed.is_nothing() && !has_progressed || is_over {
            *left = failed;
            return Ok(());
        }
    }
}

/// Folders that were moved to the top.
#[derive(Default)]
struct Moved {
    /// The number in the name of the next.
    next: u64,
    /// Names of some; the others are found when the top is read again.
    waiting: Vec<OsString>,
}

/// Removes something of the top: a folder's folders are moved up when they are not empty. Answers whether anything changed.
fn clear(top: &OwnedFd, name: &OsStr, moved: &mut Moved, failed: &mut Left) -> bool {
    let mut has_changed = false;
    let mut go = || -> Result<(), Errno> {
        if let Tried::Gone = try_now(top, name)? {
            has_changed = true;
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let folder = openat2(top, name, flags, Mode::empty(), resolve)?;
        let mut first = None;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let inner = OsStr::from_bytes(entry.file_name().to_bytes());
            if inner == "." || inner == ".." {
                continue;
            }
            let done = match try_now(&folder, inner) {
                Ok(Tried::Gone) => Ok(()),
                Ok(Tried::Full) => moved.take(top, &folder, inner),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => has_changed = true,
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        match unlinkat(top, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => has_changed = true,
            // Some file systems lose their place when what they list goes: another look finds the rest.
            Err(Errno::NOTEMPTY | Errno::EXIST) if first.is_none() && has_changed => {}
            Err(error) => return Err(first.unwrap_or(error)),
        }
        Ok(())
    };
    if let Err(error) = go() {
        failed.add(name, error);
    }
    has_changed
}

impl Moved {
    /// Moves a folder of a folder to the top.
    fn take(&mut self, top: &OwnedFd, folder: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        loop {
            let to = OsString::from(format!(".moved-{}", self.next));
            self.next += 1;
            match renameat(folder, name, top, &to) {
                Ok(()) => {
                    if self.waiting.len() < WAITING_MAX {
                        self.waiting.push(to);
                    }
                    return Ok(());
                }
                // Somebody called something so.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// How much may be in the way before the rest is left alone, too.
const LEFT_MAX: usize = 1000;

/// Names that are kept of what was moved.
const WAITING_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::mkdirat;

    use super::*;

    /// Folders in each other, deeper than a path can say.
    fn make_deep(dir: &Path, depth: usize) {
        fs::create_dir(dir).unwrap();
        let open = |parent: &OwnedFd, name: &str| {
            openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
        };
        let mut at = OwnedFd::from(fs::File::open(dir).unwrap());
        for _ in 0..depth {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = open(&at, "d");
        }
    }

    #[test]
    fn depth_needs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("deep");
        // More than files can be open at once, and than a path can say.
        make_deep(&dir, 3_000);
        let left = remove_tree(&dir);
        assert!(left.is_nothing() && !dir.exists(), "{left}");
    }

    #[test]
    fn all_kinds_go_and_what_links_lead_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, outside) = (folder.path().join("dir"), folder.path().join("outside"));
        fs::create_dir_all(dir.join("a/b/c")).unwrap();
        fs::create_dir_all(dir.join(".moved-0/x/y")).unwrap();
        fs::create_dir_all(outside.join("kept")).unwrap();
        fs::write(dir.join(".moved-1"), "x").unwrap();
        for file in ["x", "a/x", "a/b/x", "a/b/c/x"] {
            fs::write(dir.join(file), "x").unwrap();
        }
        symlink(&outside, dir.join("a/link")).unwrap();
        symlink(&outside, dir.join("link")).unwrap();
        assert!(remove_tree(&dir).is_nothing() && !dir.exists());
        assert!(outside.join("kept").exists());
        symlink(&outside, &dir).unwrap();
        assert!(remove_tree(&dir).is_nothing() && fs::symlink_metadata(&dir).is_err());
        assert!(remove_tree(&dir).is_nothing(), "nothing is gone already");
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn wide_ones_are_no_slower() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("wide");
        for number in 0..3000 {
            fs::create_dir_all(dir.join(format!("{}/{number}/x", number % 7))).unwrap();
        }
        assert!(remove_tree(&dir).is_nothing() && !dir.exists());
    }
}

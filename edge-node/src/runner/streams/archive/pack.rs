//! Packs what the container's volumes have at a path, as `tar cf - PATH` would.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use dunlin_wasm_host::Preopen;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat,
};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::place::Place;

/// Hands on what is packed. A caller who has left is the end of it.
pub(super) struct Pieces(pub(super) mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.0.blocking_send(piece.to_vec()).map_err(|_left| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn write(mounts: &[Preopen], path: &str, out: impl Write) -> io::Result<()> {
    let said = |why: &dyn std::fmt::Display| io::Error::other(format!("{path}: {why}"));
    let place = Place::of(mounts, path).map_err(|error| said(&error))?;
    let start = open_beneath(&place.root().map_err(|error| said(&error))?, place.inside());
    let start = start.map_err(|error| said(&error))?;
    let mut packer =
        Packer { archive: Builder::new(BufWriter::with_capacity(PIECE_BYTES, out)), left: ENTRIES_MAX };
    packer.add(start, Path::new(&place.name), 0)?;
    packer.archive.into_inner()?.flush()
}

/// A file or folder at a path on which links may be, as long as they stay below the root. Nothing else is opened.
fn open_beneath(root: &OwnedFd, inside: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = |flags| openat2(root, inside, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    match FileType::from_raw_mode(fstat(open(OFlags::PATH)?)?.st_mode) {
        FileType::Directory | FileType::RegularFile => Ok(open(OFlags::RDONLY | OFlags::NONBLOCK)?),
        _ => Err(io::Error::other("is no file and no folder")),
    }
}

struct Packer<W: Write> {
    archive: Builder<BufWriter<W>>,
    /// Files and folders that may still come.
    left: usize,
}

impl<W: Write> Packer<W> {
    /// Packs a file, or a folder with all below it, as `name`.
    fn add(&mut self, found: OwnedFd, name: &Path, depth: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other(TOO_MANY))?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let mut header = header(&stat, EntryType::Regular, size);
            // Whatever becomes of the file meanwhile, so much is announced.
            let content = File::from(found).take(size).chain(io::repeat(0)).take(size);
            return self.archive.append_data(&mut header, name, content);
        }
        self.archive.append_data(&mut header(&stat, EntryType::Directory, 0), name, io::empty())?;
        if depth >= DEPTH_MAX {
            return Err(io::Error::other(TOO_DEEP));
        }
        for entry in Dir::read_from(&found)? {
            let entry = entry?;
            let within = entry.file_name();
            if [&b"."[..], b".."].contains(&within.to_bytes()) {
                continue;
            }
            let below: PathBuf = name.join(OsStr::from_bytes(within.to_bytes()));
            // What goes meanwhile was not there.
            let Ok(stat) = statat(&found, within, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory | FileType::RegularFile => {
                    if let Ok(found) = openat(found.as_fd(), within, flags, Mode::empty()) {
                        self.add(found, &below, depth + 1)?;
                    }
                }
                FileType::Symlink => {
                    let Ok(target) = readlinkat(&found, within, Vec::new()) else { continue };
                    let target = Path::new(OsStr::from_bytes(target.to_bytes())).to_owned();
                    self.archive.append_link(&mut header(&stat, EntryType::Symlink, 0), below, target)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Handed on at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Files and folders of an archive.
const ENTRIES_MAX: usize = 100_000;

const TOO_MANY: &str = "more than 100000 files and folders";

/// Folders in each other, each of which is open meanwhile.
const DEPTH_MAX: usize = 64;

const TOO_DEEP: &str = "more than 64 folders in each other";

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use dunlin_wasm_host::Access;

    use super::*;

    #[test]
    fn a_volume_is_packed_and_nothing_outside_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        fs::create_dir_all(root.join("sub/empty")).unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        fs::write(root.join("sub/a"), "x".repeat(70_000)).unwrap();
        symlink("../../secret", root.join("sub/out")).unwrap();
        symlink("sub/a", root.join("in")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        let mount = |dir: &Path, path: &str| Preopen {
            dir: dir.to_owned(),
            path: path.to_owned(),
            access: Access::ReadOnly,
        };
        let mounts = [mount(&root.join("sub/empty"), "/"), mount(&root, "/data")];
        let packed = |path: &str| {
            let mut bytes = Vec::new();
            write(&mounts, path, &mut bytes).map_err(|error| error.to_string())?;
            let mut archive = tar::Archive::new(&bytes[..]);
            let mut names: Vec<_> = archive
                .entries()
                .unwrap()
                .map(|entry| {
                    let mut entry = entry.unwrap();
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).unwrap();
                    format!(
                        "{} {:?} {}",
                        entry.path().unwrap().display(),
                        entry.header().entry_type(),
                        content.len()
                    )
                })
                .collect();
            names.sort();
            Ok::<_, String>(names)
        };
        let expected = [
            "data/sub Directory 0",
            "data/sub/a Regular 70000",
            "data/sub/empty Directory 0",
            "data/sub/out Symlink 0",
        ];
        assert_eq!(packed("/data/sub").unwrap(), expected);
        assert_eq!(packed("data/./in").unwrap(), ["data/in Regular 70000"]);
        assert_eq!(packed("/").unwrap().len(), 1);
        for outside in ["/data/../secret", "/data/sub/out", "/data/up/secret", "/data/none", "/etc/passwd"] {
            assert!(packed(outside).is_err(), "{outside}");
        }
    }
}

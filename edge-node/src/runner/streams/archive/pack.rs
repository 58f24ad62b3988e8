//! Packs what the container's volumes have at a path, as `tar cf - PATH` would.

use std::{
    ffi::{CStr, OsStr, OsString},
    fmt,
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat,
    },
    io::Errno,
};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::{
    COMPLAINTS_MAX,
    place::{Files, Place, plain},
};

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

/// Packs what is at a path, and answers with what was not. What cannot be read is passed over; what fails otherwise is the end of it.
pub(super) fn write(files: &Files, path: &str, out: impl Write) -> Vec<String> {
    let archive = Builder::new(BufWriter::with_capacity(PIECE_BYTES, out));
    let mut packer = Packer { archive, left: ENTRIES_MAX, mounted: Vec::new(), complaints: Vec::new() };
    let packed = packer.add_all(files, path);
    let Packer { archive, mut complaints, .. } = packer;
    if let Err(error) = packed.and_then(|()| archive.into_inner()?.flush()) {
        complaints.push(error.to_string());
    }
    complaints
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
    /// Where volumes hide what is below them.
    mounted: Vec<PathBuf>,
    complaints: Vec<String>,
}

impl<W: Write> Packer<W> {
    /// Packs what is at a path of a container, and the volumes that are mounted below.
    fn add_all(&mut self, files: &Files, path: &str) -> io::Result<()> {
        let said = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
        let below = files.below(path).map_err(said)?;
        let name = Some(plain(path)).filter(|name| !name.is_empty()).unwrap_or_else(|| ".".to_owned());
        let name = Path::new(&name);
        self.mounted = below.iter().map(|(_, at)| name.join(at)).collect();
        let start = Place::of(files, path).and_then(|place| open_beneath(&place.root()?, place.inside()));
        match start {
            Ok(start) => self.add(start, name, 0)?,
            // What is mounted below is there all the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !below.is_empty() => {}
            Err(error) => return Err(said(error)),
        }
        for (mount, at) in below {
            let name = name.join(&at);
            match File::open(&mount.dir) {
                Ok(root) => self.add(root.into(), &name, at.split('/').count())?,
                Err(error) => self.complain(&name, &error),
            }
        }
        Ok(())
    }

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
        let mut entries = match Dir::read_from(&found) {
            Ok(entries) => entries,
            Err(error) => {
                self.complain(name, &error);
                return Ok(());
            }
        };
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let within = entry.file_name();
            let below = name.join(OsStr::from_bytes(within.to_bytes()));
            if ![&b"."[..], b".."].contains(&within.to_bytes()) && !self.mounted.contains(&below) {
                self.add_within(&found, within, &below, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Packs what a folder has, as `name`.
    fn add_within(&mut self, folder: &OwnedFd, within: &CStr, name: &Path, depth: usize) -> io::Result<()> {
        match find(folder, within) {
            Ok(Found::Open(found)) => return self.add(found, name, depth),
            Ok(Found::Link(stat, target)) => {
                self.archive.append_link(&mut header(&stat, EntryType::Symlink, 0), name, target)?;
            }
            // What goes meanwhile was not there.
            Ok(Found::Other) | Err(Errno::NOENT) => {}
            Err(error) => self.complain(name, &error),
        }
        Ok(())
    }

    fn complain(&mut self, name: &Path, error: &dyn fmt::Display) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(format!("{}: {error}", name.display()));
        }
    }
}

/// What is packed of a folder.
enum Found {
    /// A file or folder.
    Open(OwnedFd),
    Link(Stat, OsString),
    Other,
}

fn find(folder: &OwnedFd, within: &CStr) -> Result<Found, Errno> {
    let stat = statat(folder, within, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory | FileType::RegularFile => {
            Found::Open(openat(folder, within, flags, Mode::empty())?)
        }
        FileType::Symlink => {
            let target = readlinkat(folder, within, Vec::new())?.into_bytes();
            Found::Link(stat, OsString::from_vec(target))
        }
        _ => Found::Other,
    })
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

    use dunlin_wasm_host::{Access, Preopen};

    use super::*;

    fn mount(dir: &Path, path: &str) -> Preopen {
        Preopen { dir: dir.to_owned(), path: path.to_owned(), access: Access::ReadOnly }
    }

    /// What an archive has, and the complaints.
    fn packed(files: &Files, path: &str) -> (Vec<String>, String) {
        let mut bytes = Vec::new();
        let complaints = write(files, path, &mut bytes);
        let mut archive = tar::Archive::new(&bytes[..]);
        let names = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let kind = entry.header().entry_type();
            format!("{} {kind:?} {}", entry.path().unwrap().display(), content.len())
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        (names, complaints.join("; "))
    }

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
        let mounts = vec![mount(&root.join("sub/empty"), "/"), mount(&root, "/data")];
        let files = Files { mounts, working_dir: "/data/sub".to_owned() };
        let good = |path: &str, expected: &[&str]| {
            let (names, complaints) = packed(&files, path);
            assert_eq!(
                (names, complaints.as_str()),
                (expected.iter().map(ToString::to_string).collect(), "")
            );
        };
        let expected = [
            "data/sub Directory 0",
            "data/sub/a Regular 70000",
            "data/sub/empty Directory 0",
            "data/sub/out Symlink 0",
        ];
        good("/data/sub", &expected);
        good("/data/./in", &["data/in Regular 70000"]);
        // Names are as they were asked for, as `tar` has them.
        good("./a", &["a Regular 70000"]);
        good("empty", &["empty Directory 0"]);
        for outside in
            ["/data/../secret", "/data/sub/out", "/data/up/secret", "/data/none", "/etc/passwd", "in"]
        {
            let (names, complaints) = packed(&files, outside);
            assert!(names.is_empty() && complaints.starts_with(outside), "{outside}: {complaints}");
        }
    }

    #[test]
    fn volumes_below_a_path_are_packed_too() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["root", "data/inner/hidden", "inner", "deep"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("file"), folder).unwrap();
        }
        let at = |name: &str, path: &str| mount(&dir.path().join(name), path);
        let mounts = vec![
            at("deep", "/srv/a/b"),
            at("inner", "/data/inner/"),
            at("root", "/"),
            at("data", "/data"),
            at("gone", "/data/gone"),
        ];
        let files = Files { mounts, working_dir: String::new() };
        let gone = "No such file or directory";
        let names = |names: &[String]| names.join(", ").replace("Directory 0", "D").replace("Regular", "R");
        let (all, complaints) = packed(&files, "/");
        let below = "data D, data/inner D, data/inner/file R 5";
        assert_eq!(names(&all), format!(". D, {below}, file R 4, srv/a/b D, srv/a/b/file R 4"));
        assert!(complaints.contains("data/gone: ") && complaints.contains(gone), "{complaints}");
        let (data, complaints) = packed(&files, "/data");
        assert_eq!(names(&data), below);
        assert!(complaints.starts_with("data/gone: "), "{complaints}");
        // What is above it is in no volume.
        let (srv, complaints) = packed(&files, "srv");
        assert_eq!((names(&srv).as_str(), complaints.as_str()), ("srv/a/b D, srv/a/b/file R 4", ""));
        assert!(packed(&files, "/sr").1.contains(gone));
    }

    #[test]
    fn what_cannot_be_opened_is_told() {
        // Nobody may read it, root neither.
        let files = Files {
            mounts: vec![mount(Path::new("/proc/sys/net/ipv4/route"), "/a")],
            working_dir: String::new(),
        };
        let (names, complaints) = packed(&files, "/a");
        assert!(complaints.starts_with("a/flush: Permission denied"), "{complaints}");
        assert!(names.contains(&"a/max_size Regular 0".to_owned()) && !names.concat().contains("flush"));
    }
}

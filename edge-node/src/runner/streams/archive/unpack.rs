//! Unpacks an archive into the container's volumes, as `tar xmf -` would: into those that it may write to, with no link, owner or device
//! of the archive that would be of use outside of them.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path},
};

use dunlin_layers::{Entries, Entry, Kind};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, fchmod, fstatvfs, mkdirat, openat, openat2, statat,
        symlinkat, unlinkat,
    },
    io::Errno,
};
use tar::Archive;
use tokio::sync::mpsc;

use super::{
    COMPLAINTS_MAX,
    place::{Files, Place},
};

/// What a caller sends, as a file that is read.
pub(super) struct Received {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

impl Received {
    pub(super) const fn new(pieces: mpsc::Receiver<Vec<u8>>) -> Self {
        Self { pieces, piece: Vec::new(), read: 0 }
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            (self.piece, self.read) = (piece, 0);
        }
        let count = buffer.len().min(self.piece.len() - self.read);
        buffer[..count].copy_from_slice(&self.piece[self.read..][..count]);
        self.read += count;
        Ok(count)
    }
}

/// Whether a path of the container is a folder in a volume.
pub(super) fn is_folder(files: &Files, path: &str) -> bool {
    let found = Place::of(files, path).and_then(|place| enter(&place.root()?, place.inside()));
    found.is_ok()
}

/// Unpacks what comes, and answers with what was not. An entry that is refused is passed over; what fails otherwise is the end of it.
pub(super) fn unpack(files: &Files, folder: &str, archive: impl Read) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut archive = Archive::new(archive);
    let walked = archive.entries().and_then(|entries| {
        let mut entries = Entries::new(entries);
        let mut left = ENTRIES_MAX;
        while let Some((entry, mut content)) = entries.next_entry()? {
            if left == 0 {
                return Err(io::Error::other(TOO_MANY));
            }
            left -= 1;
            match put(files, folder, &entry, &mut content) {
                Ok(()) => {}
                Err(Fault::Refused(why)) if complaints.len() < COMPLAINTS_MAX => {
                    complaints.push(format!("{}: {why}", entry.path.display()));
                }
                Err(Fault::Refused(_)) => {}
                Err(Fault::Failed(error)) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", entry.path.display())));
                }
            }
        }
        Ok(())
    });
    if let Err(error) = walked {
        complaints.push(error.to_string());
    }
    complaints
}

/// Why an entry was not unpacked.
enum Fault {
    /// It alone is not.
    Refused(String),
    /// Disk or archive failed.
    Failed(io::Error),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        match error {
            // What is there is in the way, or leads out of the volume.
            Errno::XDEV => Self::Refused("it is behind a link that leads out of the volume".to_owned()),
            Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::EXIST | Errno::NAMETOOLONG | Errno::ROFS => {
                Self::Refused(io::Error::from(error).to_string())
            }
            error => Self::Failed(error.into()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn put<R: Read>(
    files: &Files,
    folder: &str,
    entry: &Entry,
    content: &mut tar::Entry<'_, R>,
) -> Result<(), Fault> {
    let refused = |why: &str| Fault::Refused(why.to_owned());
    let name = entry.path.to_str().ok_or_else(|| refused("its name is no text"))?;
    let place = Place::of(files, &format!("{folder}/{name}"));
    let place = place.map_err(|error| Fault::Refused(error.to_string()))?;
    if !place.is_writable() {
        return Err(refused("the container cannot write there: no volume of it, or one that is read-only"));
    }
    let root = place.root()?;
    if place.inside() == "." {
        let is_folder = entry.kind == Kind::Folder;
        return if is_folder { Ok(()) } else { Err(refused("a volume is there")) };
    }
    let (folders, name) = place.inside().rsplit_once('/').unwrap_or_else(|| (".", place.inside()));
    if folders.split('/').count() > DEPTH_MAX {
        return Err(refused("more than 64 folders in each other"));
    }
    let parent = make(&root, folders)?;
    match &entry.kind {
        Kind::Folder => put_folder(&root, &parent, name, (place.inside(), entry.mode)),
        Kind::File => put_file(&root, &parent, name, (entry.mode, content)),
        Kind::Symlink(target) if stays(place.inside(), target) => {
            // Where it leads is counted from where it is written to be.
            let parent = enter_without_links(&root, folders).map_err(|error| match error {
                Errno::LOOP => refused("it is a link that is behind another link"),
                error => error.into(),
            })?;
            take_away(&parent, name)?;
            Ok(symlinkat(target, &parent, name)?)
        }
        Kind::Symlink(_) => Err(refused("it is a link that leads, or may lead, out of the volume")),
        Kind::Link(_) => Err(refused("it is another name of a file")),
        Kind::Character(..) | Kind::Block(..) | Kind::Fifo => Err(refused("it is no file, folder or link")),
    }
}

fn put_folder(root: &OwnedFd, parent: &OwnedFd, name: &str, (path, mode): (&str, u32)) -> Result<(), Fault> {
    match mkdirat(parent, name, Mode::RWXU) {
        // It has to be a folder, be it behind a link.
        Err(Errno::EXIST) => enter(root, path).map(drop).map_err(|_| Fault::from(Errno::EXIST)),
        made => {
            made?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(parent, name, flags, Mode::empty())?;
            Ok(fchmod(&made, Mode::RWXU | Mode::from_raw_mode(mode & RIGHTS))?)
        }
    }
}

fn put_file(
    root: &OwnedFd,
    parent: &OwnedFd,
    name: &str,
    (mode, content): (u32, &mut tar::Entry<'_, impl Read>),
) -> Result<(), Fault> {
    take_away(parent, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
    let written = copy(root, content, &mut file);
    if written.is_err() {
        // A part of a file is none.
        let _left = unlinkat(parent, name, AtFlags::empty());
    }
    written?;
    Ok(fchmod(&file, Mode::from_raw_mode(mode & RIGHTS))?)
}

fn copy(root: &OwnedFd, content: &mut tar::Entry<'_, impl Read>, file: &mut File) -> io::Result<()> {
    let (mut chunk, mut unchecked, mut missing) = (vec![0; CHUNK_BYTES], CHECK_BYTES, content.size());
    loop {
        let count = content.read(&mut chunk)?;
        if count == 0 {
            // The archive may have broken off.
            return if missing == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        missing = missing.saturating_sub(count as u64);
        if unchecked >= CHECK_BYTES {
            check_room(root)?;
            unchecked = 0;
        }
        unchecked += count;
        file.write_all(&chunk[..count])?;
    }
}

/// What others need of the same disk stays.
fn check_room(root: &OwnedFd) -> io::Result<()> {
    let disk = fstatvfs(root)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    if bytes(disk.f_bavail) < SPARE_BYTES.min(bytes(disk.f_blocks) / SPARE_PART) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Takes away what a file or link takes the place of. A folder stays.
fn take_away(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => Err(Errno::ISDIR),
        Ok(_) => unlinkat(parent, name, AtFlags::empty()),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Enters a folder; links on the way may be followed as long as they stay in the volume.
fn enter(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    Ok(enter_beneath(root, path)?)
}

fn enter_beneath(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

fn enter_without_links(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Enters a folder, and makes what is missing of it.
fn make(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut folder = enter_beneath(root, ".")?;
    let mut at = String::from(".");
    for part in path.split('/').filter(|part| *part != ".") {
        at = format!("{at}/{part}");
        folder = match enter_beneath(root, &at) {
            Err(Errno::NOENT) => {
                mkdirat(&folder, part, Mode::from_raw_mode(0o755))?;
                enter_beneath(root, &at)?
            }
            entered => entered?,
        };
    }
    Ok(folder)
}

/// Whether a link at `path` of a volume leads to a place of the same volume, by what is written. Once it has gone into a folder it may not
/// go back: the folder may be a link.
fn stays(path: &str, target: &OsStr) -> bool {
    let (mut above, mut entered) = (path.split('/').count() - 1, false);
    for part in Path::new(OsStr::from_bytes(target.as_bytes())).components() {
        match part {
            Component::Normal(_) => entered = true,
            Component::ParentDir if above > 0 && !entered => above -= 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Of an entry's mode: no program runs as somebody else for it.
const RIGHTS: u32 = 0o777;
/// Entries of an archive.
const ENTRIES_MAX: usize = 100_000;
const TOO_MANY: &str = "more than 100000 files and folders";
/// Folders in each other, as many as are packed.
const DEPTH_MAX: usize = 64;
/// Copied at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// How much is written until the disk is looked at again.
const CHECK_BYTES: usize = 16 << 20;
/// What stays of the disk; of a small volume in memory a part of it.
const SPARE_BYTES: u64 = 64 << 20;
const SPARE_PART: u64 = 16;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use dunlin_wasm_host::{Access, Preopen};
    use tar::{Builder, EntryType, Header};

    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_size(0);
            // Names as an attacker writes them, which the builder would refuse.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let bytes = if *kind == EntryType::Regular { content.as_bytes() } else { b"" };
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder.append(&header, bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_comes_into_writable_volumes_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["data/old", "inner", "fixed", "outside"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("data/file"), "before").unwrap();
        symlink(path("outside"), path("data/out")).unwrap();
        symlink("old", path("data/in")).unwrap();
        symlink(path("outside/through"), path("data/dangling")).unwrap();
        let mount = |name: &str, at: &str, access| Preopen { dir: path(name), path: at.to_owned(), access };
        let mounts = vec![
            mount("fixed", "/", Access::ReadOnly),
            mount("data", "/data", Access::ReadWrite),
            mount("inner", "/data/inner", Access::ReadWrite),
        ];
        let files = Files { mounts, working_dir: "/data".to_owned() };
        let (file, folder, link) = (EntryType::Regular, EntryType::Directory, EntryType::Symlink);
        let check = |at: &str, entries: &[(&str, EntryType, &str)], expected: &str| {
            let complaints = unpack(&files, at, &archive(entries)[..]).join("; ");
            assert!(
                if expected.is_empty() { complaints.is_empty() } else { complaints.contains(expected) },
                "{entries:?}: {complaints}"
            );
        };
        let good = [
            ("new", folder, ""),
            ("new/a/b", file, "x"),
            ("file", file, "after"),
            ("in/c", file, "y"),
            ("inner/d", file, "z"),
            ("new/link", link, "../file"),
            ("dangling", file, "own"),
            ("./old", folder, ""),
            ("/abs", file, "w"),
        ];
        check("/data", &good, "");
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!(
            (read("data/new/a/b"), read("data/file"), read("data/old/c")),
            ("x".into(), "after".into(), "y".into())
        );
        assert_eq!(
            (read("inner/d"), read("data/new/link"), read("data/abs")),
            ("z".into(), "after".into(), "w".into())
        );
        assert_eq!(read("data/dangling"), "own");
        // What acts as somebody else is a program like any other.
        assert_eq!(fs::metadata(path("data/file")).unwrap().permissions().mode() & 0o7777, 0o755);

        check("/data", &[("../fixed/x", file, "")], "`..` is not followed");
        check("/data", &[("out/x", file, "")], "leads out of the volume");
        check("/data", &[("l", link, "/etc/passwd")], "out of the volume");
        check("/data", &[("new/l", link, "../../outside")], "out of the volume");
        check("/data", &[("h", EntryType::Link, "file")], "another name");
        check("/data", &[("p", EntryType::Fifo, "")], "no file, folder or link");
        check("/data", &[("old", file, "")], "Is a directory");
        check("/data", &[("inner", file, "")], "a volume is there");
        check("/", &[("x", file, "")], "the container cannot write there");
        check("/", &[("data/y", file, "1"), ("x", file, "")], "cannot write there");
        assert_eq!(read("data/y"), "1");
        // An entry that is refused keeps no other from being unpacked; an archive that breaks off leaves no part of a file.
        check("/data", &[("l", link, "/"), ("after", file, "1")], "may lead, out");
        assert_eq!(read("data/after"), "1");
        let cut = archive(&[("cut", file, &"x".repeat(100_000))]);
        assert_eq!(unpack(&files, "/data", &cut[..50_000]).len(), 1);
        assert!(!path("data/cut").exists());
        assert_eq!(fs::read_dir(path("outside")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(path("fixed")).unwrap().count(), 0);
    }

    #[test]
    fn links_lead_out_behind_no_other_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join("data").join(name);
        fs::create_dir(path("")).unwrap();
        let mount = Preopen { dir: path(""), path: "/data".to_owned(), access: Access::ReadWrite };
        let files = Files { mounts: vec![mount], working_dir: "/data".to_owned() };
        let link = EntryType::Symlink;
        let check = |entries: &[(&str, EntryType, &str)], expected: &[&str]| {
            let complaints = unpack(&files, ".", &archive(entries)[..]);
            assert_eq!(complaints, expected, "{entries:?}");
        };
        // Each stays by what is written, and the second would not.
        let behind = "it is a link that is behind another link";
        let entries = [("d/e", link, ".."), ("d/e/l", link, "../../x"), ("d/e/new/l", link, "../x")];
        check(&entries, &[&format!("d/e/l: {behind}"), &format!("d/e/new/l: {behind}")]);
        let back = "m: it is a link that leads, or may lead, out of the volume";
        check(&[("m", link, "d/e/../x")], &[back]);
        assert!(["l", "m", "new/l"].iter().all(|name| fs::symlink_metadata(path(name)).is_err()));
        let good = [("d/f/l", link, "../../d/e"), ("n", link, "./d/f"), ("d/e/a", EntryType::Regular, "1")];
        check(&good, &[]);
        assert_eq!(fs::read_to_string(path("d/f/l/a")).unwrap(), "1");
    }

    #[test]
    fn folders_are_told_from_what_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let mount =
            Preopen { dir: dir.path().to_owned(), path: "/data".to_owned(), access: Access::ReadWrite };
        let files = Files { mounts: vec![mount], working_dir: "/data".to_owned() };
        fs::create_dir(dir.path().join("sub")).unwrap();
        let is = |path: &str| is_folder(&files, path);
        assert!(is("/data") && is("/data/.") && is(".") && is("sub"));
        assert!(!is("file") && !is("data"));
        assert!(!is("/data/file") && !is("/data/none") && !is("/") && !is("/data/.."));
    }
}

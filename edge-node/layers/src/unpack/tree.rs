//! The folder of a layer. Every path is resolved by the kernel with that folder as root: links lead nowhere else, whenever they are made.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
        chownat, fchmod, fsetxattr, linkat, makedev, mkdirat, mknodat, openat, openat2, statat, symlinkat,
        syncfs, unlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    UnpackError,
    entry::{Entry, Kind},
};
use crate::remove::remove_tree_in;

/// A layer that is being unpacked.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    keeps: Keeps,
    /// Folders get their times when nothing more is put into them.
    times: Vec<(PathBuf, (i64, i64))>,
    /// How much memory they take.
    times_bytes: usize,
}

/// What of an entry is kept beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    /// Everything.
    All,
    /// Its time, and whether it is a program. It can be read by all.
    Time,
}

/// Why an entry was not written.
enum Fault {
    Refused(String),
    Read(io::Error),
    Write(io::Error),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Write(error.into())
    }
}

impl Fault {
    fn of(self, path: &Path) -> UnpackError {
        let path = path.to_owned();
        match self {
            Self::Refused(why) => UnpackError::Refused { path, why },
            Self::Read(error) => UnpackError::Archive(error),
            Self::Write(source) => UnpackError::Write { path, source },
        }
    }
}

impl Tree {
    pub(crate) fn open(root: &Path) -> Result<Self, UnpackError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, root, flags, Mode::empty());
        let root = opened.map_err(|error| Fault::from(error).of(root))?;
        Ok(Self { root, keeps: Keeps::All, times: Vec::new(), times_bytes: 0 })
    }

    /// One whose files are only ever read, by whoever runs the node.
    pub(crate) fn for_guests(root: &Path) -> Result<Self, UnpackError> {
        Ok(Self { keeps: Keeps::Time, ..Self::open(root)? })
    }

    /// Removes what earlier layers have of this name.
    pub(crate) fn take_away(&self, marker: &Path, hidden: &[u8]) -> Result<(), UnpackError> {
        let hidden_path = marker.with_file_name(OsStr::from_bytes(hidden));
        let take = || {
            let Some((folder, name)) = split(&hidden_path)? else {
                return Err(refused("it hides the whole image"));
            };
            match self.enter(&folder) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                parent => remove(&parent?, name),
            }
        };
        take().map_err(|fault: Fault| fault.of(marker))
    }

    /// Removes what earlier layers have in the marker's folder.
    pub(crate) fn clear(&self, marker: &Path) -> Result<(), UnpackError> {
        let clear = || {
            let Some((folder, _)) = split(marker)? else { return Err(refused("it is in no folder")) };
            let parent = match self.enter(&folder) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                parent => readable(&parent?)?,
            };
            let mut names = Vec::new();
            for entry in Dir::read_from(&parent)? {
                let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
                if name != "." && name != ".." {
                    names.push(name);
                }
            }
            names.iter().try_for_each(|name| remove(&parent, name))
        };
        clear().map_err(|fault: Fault| fault.of(marker))
    }

    /// Puts an entry in place of whatever is there.
    pub(crate) fn write(
        &mut self,
        entry: &Entry,
        content: &mut (impl Read + ?Sized),
    ) -> Result<(), UnpackError> {
        self.put(entry, content).map_err(|fault| fault.of(&entry.path))
    }

    /// What the layers below have of this name is gone: a device of number 0, as overlayfs has it.
    pub(crate) fn hide(&self, marker: &Path, hidden: &[u8]) -> Result<(), UnpackError> {
        let hidden_path = marker.with_file_name(OsStr::from_bytes(hidden));
        let hide = || {
            let (parent, name) =
                self.place(&hidden_path)?.ok_or_else(|| refused("it hides the whole image"))?;
            match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // What this layer has itself stays; what is below a folder of it is hidden.
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                    set_opaque(&folder(&parent, &name)?)
                }
                Ok(_) => Ok(()),
                Err(Errno::NOENT) => {
                    Ok(mknodat(&parent, &name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?)
                }
                Err(error) => Err(error.into()),
            }
        };
        hide().map_err(|fault| fault.of(marker))
    }

    /// What the layers below have in the marker's folder is gone.
    pub(crate) fn hide_all(&self, marker: &Path) -> Result<(), UnpackError> {
        let hide = || match self.place(marker)? {
            Some((parent, _)) => set_opaque(&readable(&parent)?),
            None => Err(refused("it is in no folder")),
        };
        hide().map_err(|fault| fault.of(marker))
    }

    /// Gives folders their times and has everything reach the disk.
    pub(crate) fn finish(&self) -> Result<(), UnpackError> {
        for (path, modified) in self.times.iter().rev() {
            let set = || match split(path)? {
                Some((folder, name)) => set_time(&self.enter(&folder)?, name, *modified),
                None => Ok(utimensat(&readable(&self.root)?, "", &times(*modified), AtFlags::EMPTY_PATH)?),
            };
            match set() {
                // A later entry has taken its place, or that of a folder above it.
                Err(Fault::Write(error))
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                other => other.map_err(|fault| fault.of(path))?,
            }
        }
        let synced = readable(&self.root).and_then(|root| Ok(syncfs(&root)?));
        synced.map_err(|fault| fault.of(Path::new("/")))
    }

    fn put(&mut self, entry: &Entry, content: &mut (impl Read + ?Sized)) -> Result<(), Fault> {
        let Some((parent, name)) = self.place(&entry.path)? else {
            if entry.kind != Kind::Folder {
                return Err(refused("the root is a folder"));
            }
            self.remember_time(Path::new(""), entry.modified)?;
            return self.set_folder(&readable(&self.root)?, entry);
        };
        if entry.kind == Kind::Folder {
            self.remember_time(&entry.path, entry.modified)?;
            return self.put_folder(&parent, &name, entry);
        }
        remove(&parent, &name)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        match &entry.kind {
            Kind::File => return self.put_file(&parent, &name, entry, content),
            Kind::Link(target) => {
                let (target_parent, target_name) =
                    self.place(target)?.ok_or_else(|| refused("it is a link to the root"))?;
                // It has everything from the entry that it is another name of.
                return match linkat(&target_parent, &target_name, &parent, &name, AtFlags::empty()) {
                    Err(Errno::NOENT) => Err(refused("it is a link to something that is not in the layer")),
                    linked => Ok(linked?),
                };
            }
            Kind::Symlink(target) => symlinkat(target, &parent, &name)?,
            Kind::Fifo => mknodat(&parent, &name, FileType::Fifo, Mode::RWXU, 0)?,
            // Of number 0 it would hide something instead of being something.
            Kind::Character(0, 0) => return Err(refused("it is a device that does not exist")),
            Kind::Character(major, minor) => {
                mknodat(&parent, &name, FileType::CharacterDevice, Mode::RWXU, makedev(*major, *minor))?;
            }
            Kind::Block(major, minor) => {
                mknodat(&parent, &name, FileType::BlockDevice, Mode::RWXU, makedev(*major, *minor))?;
            }
            Kind::Folder => {}
        }
        if self.keeps == Keeps::Time {
            return set_time(&parent, &name, entry.modified);
        }
        let (uid, gid) = owner(entry);
        chownat(&parent, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        if !matches!(entry.kind, Kind::Symlink(_)) {
            // It is what was made a moment ago, in a folder that nobody else writes to.
            rustix::fs::chmodat(&parent, &name, mode, AtFlags::empty())?;
        }
        set_time(&parent, &name, entry.modified)
    }

    fn remember_time(&mut self, folder: &Path, modified: (i64, i64)) -> Result<(), Fault> {
        self.times_bytes += size_of::<(PathBuf, (i64, i64))>() + folder.as_os_str().len();
        if self.times_bytes > TIMES_BYTES_MAX {
            return Err(refused("the layer has too many folders with too long names"));
        }
        self.times.push((folder.to_owned(), modified));
        Ok(())
    }

    /// The folder that an entry is in, made where it is missing, and its name there; `None` for the root itself.
    fn place(&self, path: &Path) -> Result<Option<(OwnedFd, OsString)>, Fault> {
        let Some((folder, name)) = split(path)? else { return Ok(None) };
        let parent = match self.enter(&folder) {
            Err(Errno::NOENT) => self.make(&folder)?,
            Err(Errno::NOTDIR) => return Err(refused("it is in something that is no folder")),
            opened => opened?,
        };
        Ok(Some((parent, name.to_owned())))
    }

    fn enter(&self, folder: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.root, folder, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// Makes folders that no entry has made, and enters them.
    fn make(&self, folder: &Path) -> Result<OwnedFd, Fault> {
        let mut path = PathBuf::from(".");
        let mut parent = self.enter(&path)?;
        for component in folder.components().skip(1) {
            let name = component.as_os_str();
            path.push(name);
            parent = match self.enter(&path) {
                Err(Errno::NOENT) => match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    // A link to a folder that is not there, or not in this layer.
                    Err(Errno::EXIST) => return Err(refused("it is behind a link that leads nowhere")),
                    made => {
                        made?;
                        self.enter(&path)?
                    }
                },
                opened => opened?,
            };
        }
        Ok(parent)
    }

    fn put_folder(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {}
            Ok(stat) => {
                unlinkat(parent, name, AtFlags::empty())?;
                mkdirat(parent, name, Mode::RWXU)?;
                if FileType::from_raw_mode(stat.st_mode).is_char_device() {
                    // What was hidden here stays so.
                    set_opaque(&folder(parent, name)?)?;
                }
            }
            Err(Errno::NOENT) => mkdirat(parent, name, Mode::RWXU)?,
            Err(error) => return Err(error.into()),
        }
        self.set_folder(&folder(parent, name)?, entry)
    }

    fn set_folder(&self, folder: &OwnedFd, entry: &Entry) -> Result<(), Fault> {
        if self.keeps == Keeps::Time {
            return Ok(fchmod(folder, Mode::from_raw_mode(0o755))?);
        }
        let (uid, gid) = owner(entry);
        rustix::fs::fchown(folder, uid, gid)?;
        fchmod(folder, Mode::from_raw_mode(entry.mode & 0o7777))?;
        set_attributes(folder, entry)
    }

    fn put_file(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
        content: &mut (impl Read + ?Sized),
    ) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        let mut chunk = vec![0; super::CHUNK_BYTES];
        loop {
            match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => file.write_all(&chunk[..length]).map_err(Fault::Write)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Read(error)),
            }
        }
        if self.keeps == Keeps::Time {
            fchmod(&file, Mode::from_raw_mode(if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 }))?;
            return set_time(parent, name, entry.modified);
        }
        let (uid, gid) = owner(entry);
        rustix::fs::fchown(&file, uid, gid)?;
        // After the owner: a change of that takes the right to act as him away.
        fchmod(&file, Mode::from_raw_mode(entry.mode & 0o7777))?;
        let file = OwnedFd::from(file);
        set_attributes(&file, entry)?;
        set_time(parent, name, entry.modified)
    }
}

/// The folder that something is in, from the root, and its name there; `None` for the root itself.
fn split(path: &Path) -> Result<Option<(PathBuf, &OsStr)>, Fault> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refused("its name leads out of a folder"));
            }
        }
    }
    if parts.len() > DEPTH_MAX || path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(refused("its name is too long"));
    }
    let Some((name, folders)) = parts.split_last() else { return Ok(None) };
    let folder = std::iter::once(OsStr::new(".")).chain(folders.iter().copied()).collect();
    Ok(Some((folder, name)))
}

/// Only what means something to programs: others would tell overlayfs what to do, or this machine's own security modules.
fn set_attributes(file: &OwnedFd, entry: &Entry) -> Result<(), Fault> {
    for (name, value) in &entry.attributes {
        let bytes = name.as_bytes();
        if bytes != b"security.capability" && !bytes.starts_with(b"user.") {
            continue;
        }
        match fsetxattr(file, name.as_os_str(), value, XattrFlags::empty()) {
            // File systems without attributes of users have programs that do without.
            Err(Errno::NOTSUP) if bytes.starts_with(b"user.") => {}
            set => set?,
        }
    }
    Ok(())
}

fn set_opaque(folder: &OwnedFd) -> Result<(), Fault> {
    Ok(fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

fn set_time(parent: &OwnedFd, name: &OsStr, modified: (i64, i64)) -> Result<(), Fault> {
    Ok(utimensat(parent, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)?)
}

const fn times((tv_sec, tv_nsec): (i64, i64)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: time, last_modification: time }
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// Takes away what an earlier entry of the layer put there.
fn remove(parent: &OwnedFd, name: &OsStr) -> Result<(), Fault> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => remove_tree_in(parent, name).into_result().map_err(Fault::Write),
        Err(error) => Err(error.into()),
    }
}

/// A folder that is there, to be changed.
fn folder(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// The same folder, to be changed.
fn readable(path: &OwnedFd) -> Result<OwnedFd, Fault> {
    folder(path, OsStr::new("."))
}

fn refused(why: &str) -> Fault {
    Fault::Refused(why.to_owned())
}

/// Folders in each other; the kernel itself takes names of at most 4096 bytes.
const DEPTH_MAX: usize = 256;
/// Names of folders that are kept until all is unpacked: those of half a million folders, as images have them.
const TIMES_BYTES_MAX: usize = 64 << 20;
/// What the kernel takes.
const PATH_BYTES_MAX: usize = 4095;

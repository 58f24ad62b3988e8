//! A file system made of copies of the layers, for machines without overlayfs: it costs the disk an image's size for each container, and
//! its start the time for that.
//!
//! The layers were unpacked for overlayfs: what is hidden is a device of number 0, and a folder that hides all below it has an attribute.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, Metadata},
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use dunlin_layers::remove_tree;
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, lgetxattr,
        llistxattr, lsetxattr, mknodat, utimensat,
    },
    io::Errno,
};

/// Copies the layers, the lowest first, into the empty folder `rootfs`.
///
/// # Errors
/// When the disk fails, or there is more than anybody should copy.
pub(super) fn copy(layers: &[PathBuf], rootfs: &Path) -> io::Result<()> {
    let mut room = Room { bytes: BYTES_MAX, entries: ENTRIES_MAX };
    layers.iter().try_for_each(|layer| Layer { links: BTreeMap::new(), room: &mut room }.copy(layer, rootfs))
}

/// What may still be copied.
struct Room {
    bytes: u64,
    entries: u64,
}

struct Layer<'a> {
    /// Files with several names: where the first of them is.
    links: BTreeMap<(u64, u64), PathBuf>,
    room: &'a mut Room,
}

impl Layer<'_> {
    fn copy(mut self, layer: &Path, rootfs: &Path) -> io::Result<()> {
        like(&fs::symlink_metadata(layer)?, layer, rootfs)?;
        let mut folders = vec![PathBuf::new()];
        // Times of folders change while something is put into them.
        let mut times = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(layer.join(&folder))? {
                let inner = folder.join(entry?.file_name());
                let (from, to) = (layer.join(&inner), rootfs.join(&inner));
                let metadata = fs::symlink_metadata(&from)?;
                self.room.take(&metadata)?;
                if metadata.is_dir() {
                    put_folder(&metadata, &from, &to)?;
                    folders.push(inner.clone());
                    times.push(inner);
                } else {
                    self.put(&metadata, &from, &to)?;
                }
            }
        }
        times.iter().rev().try_for_each(|inner| set_times(&layer.join(inner), &rootfs.join(inner)))
    }

    /// Puts something that is no folder in the place of whatever is there. The folder that it goes into was made, or seen, before.
    fn put(&mut self, metadata: &Metadata, from: &Path, to: &Path) -> io::Result<()> {
        remove_tree(to).into_result()?;
        let kind = metadata.file_type();
        if kind.is_char_device() && metadata.rdev() == 0 {
            return Ok(());
        }
        if metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&file) {
                return fs::hard_link(first, to);
            }
            self.links.insert(file, to.to_owned());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else if kind.is_file() {
            // By the kernel, which shares what it can.
            io::copy(&mut File::open(from)?, &mut File::create_new(to)?)?;
        } else {
            let kind = FileType::from_raw_mode(metadata.mode());
            mknodat(CWD, to, kind, Mode::RUSR | Mode::WUSR, metadata.rdev())?;
        }
        like(metadata, from, to)?;
        set_times(from, to)
    }
}

impl Room {
    fn take(&mut self, metadata: &Metadata) -> io::Result<()> {
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        let left = self.bytes.checked_sub(size).zip(self.entries.checked_sub(1));
        let too_much =
            || io::Error::other("the image is too large to be copied, and this machine has no overlayfs");
        (self.bytes, self.entries) = left.ok_or_else(too_much)?;
        Ok(())
    }
}

/// A folder over a folder is both; over anything else it takes its place.
fn put_folder(metadata: &Metadata, from: &Path, to: &Path) -> io::Result<()> {
    let present = fs::symlink_metadata(to).ok();
    if !present.is_some_and(|present| present.is_dir()) || is_opaque(from) {
        remove_tree(to).into_result()?;
        fs::create_dir(to)?;
    }
    like(metadata, from, to)
}

fn is_opaque(folder: &Path) -> bool {
    let mut value = [0; 1];
    lgetxattr(folder, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

/// Owner, attributes, and what may be done with it.
fn like(metadata: &Metadata, from: &Path, to: &Path) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    // After the owner: a change of that takes the right to act as him away.
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    for name in attributes(from)? {
        let is_kept = name.as_encoded_bytes().starts_with(b"user.") || name == CAPABILITY;
        if !is_kept {
            continue;
        }
        let mut value = vec![0; VALUE_BYTES_MAX];
        let length = lgetxattr(from, name.as_os_str(), &mut value[..])?;
        lsetxattr(to, name.as_os_str(), &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

fn attributes(of: &Path) -> io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut names = vec![0_u8; NAMES_BYTES_MAX];
    let length = match llistxattr(of, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        listed => listed?,
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect())
}

fn set_times(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD.as_fd(), to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What a folder has that hides all below it.
const OPAQUE: &str = "trusted.overlay.opaque";
/// What a program may do whoever starts it.
const CAPABILITY: &str = "security.capability";
/// Of all files of an image together: what a machine without overlayfs can be expected to have free.
const BYTES_MAX: u64 = 16 << 30;
/// Whatever has a name.
const ENTRIES_MAX: u64 = 1_000_000;
/// What the kernel takes for one attribute, and for the names of all.
const VALUE_BYTES_MAX: usize = 64 << 10;
const NAMES_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use rustix::fs::{makedev, setxattr};

    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn later_layers_lie_over_earlier_ones() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (one, two, rootfs) =
            (folder.path().join("1"), folder.path().join("2"), folder.path().join("rootfs"));
        fs::create_dir(&rootfs).unwrap();
        for (file, text) in
            [("kept", "kept"), ("gone", "x"), ("changed", "old"), ("opaque/in", "x"), ("d/in", "in")]
        {
            write(&one, file, text);
        }
        fs::hard_link(one.join("kept"), one.join("same")).unwrap();
        symlink("/outside", one.join("link")).unwrap();
        fs::set_permissions(one.join("changed"), fs::Permissions::from_mode(0o4711)).unwrap();
        for (file, text) in
            [("changed", "new"), ("opaque/after", "x"), ("d/more", "more"), ("link/now/a/folder", "x")]
        {
            write(&two, file, text);
        }
        chownat(CWD, two.join("changed"), Some(Uid::from_raw(7)), Some(Gid::from_raw(8)), AtFlags::empty())
            .unwrap();
        fs::set_permissions(two.join("changed"), fs::Permissions::from_mode(0o4755)).unwrap();
        mknodat(CWD, two.join("gone"), FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).unwrap();
        mknodat(CWD, two.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        setxattr(two.join("opaque"), OPAQUE, b"y", XattrFlags::empty()).unwrap();
        copy(&[one, two], &rootfs).unwrap();
        let read = |file: &str| fs::read_to_string(rootfs.join(file)).unwrap();
        assert_eq!(
            [read("kept"), read("changed"), read("d/in"), read("d/more")],
            ["kept", "new", "in", "more"]
        );
        assert!(
            !rootfs.join("gone").exists()
                && !rootfs.join("opaque/in").exists()
                && rootfs.join("opaque/after").exists()
        );
        assert_eq!(read("link/now/a/folder"), "x");
        let metadata = |file: &str| fs::symlink_metadata(rootfs.join(file)).unwrap();
        assert_eq!(metadata("kept").ino(), metadata("same").ino());
        assert!(metadata("fifo").file_type().is_fifo() && metadata("link").is_dir());
        let changed = metadata("changed");
        assert_eq!((changed.uid(), changed.gid(), changed.mode() & 0o7777), (7, 8, 0o4755));
        let mut value = [0; 1];
        assert!(lgetxattr(rootfs.join("opaque"), OPAQUE, &mut value[..]).is_err());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", "12345");
        let metadata = fs::metadata(folder.path().join("a")).unwrap();
        let mut room = Room { bytes: 12, entries: 5 };
        assert!(
            room.take(&metadata).is_ok() && room.take(&metadata).is_ok() && room.take(&metadata).is_err()
        );
        let mut room = Room { bytes: 100, entries: 1 };
        assert!(room.take(&metadata).is_ok() && room.take(&metadata).is_err());
    }
}

//! A container's file system: the layers of its image, and one above them for what it changes.

mod copy;

use std::{
    ffi::{CString, OsString},
    fmt::Write as _,
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Path, PathBuf},
};

use dunlin_layers::remove_tree;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{say, sys};

/// Mounts the layers, the lowest first, and a new empty one of `dir` over them; returns where. Without overlayfs they are copied.
pub(crate) fn mount(layers: &[PathBuf], dir: &Path) -> io::Result<PathBuf> {
    let (rootfs, upper, work) = (dir.join("rootfs"), dir.join("upper"), dir.join("work"));
    for folder in [&rootfs, &upper, &work] {
        fs::create_dir(folder)?;
    }
    let mut lower = layers.to_vec();
    if lower.is_empty() {
        lower.push(make_empty(dir)?);
    }
    let above = [open(&upper)?, open(&work)?];
    let options = format!(",upperdir={FDS}{},workdir={FDS}{}", above[0].as_raw_fd(), above[1].as_raw_fd());
    overlay(&lower, &rootfs, 0, &options)?;
    Ok(rootfs)
}

/// Mounts the layers of an image that is a volume, which nobody changes; returns where. Without overlayfs they are copied.
pub(crate) fn mount_image(layers: &[PathBuf], dir: &Path) -> io::Result<PathBuf> {
    let image = dir.join("rootfs");
    fs::create_dir_all(&image)?;
    // The kernel wants two at least where none is above.
    let lower = [&[make_empty(dir)?], layers].concat();
    overlay(&lower, &image, libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC, "")?;
    Ok(image)
}

fn make_empty(dir: &Path) -> io::Result<PathBuf> {
    let empty = dir.join("empty");
    fs::create_dir(&empty)?;
    Ok(empty)
}

/// Mounts layers over each other, the lowest first, or copies them where the kernel has no overlayfs.
fn overlay(layers: &[PathBuf], target: &Path, flags: libc::c_ulong, more: &str) -> io::Result<()> {
    if layers.len() > LAYERS_MAX {
        return Err(io::Error::other(format!("the image has more than {LAYERS_MAX} layers")));
    }
    // By their descriptors: the kernel takes one page of options, and splits paths at characters that they may hold.
    let lower: Vec<OwnedFd> = layers.iter().rev().map(|layer| open(layer)).collect::<Result<_, _>>()?;
    let mut options = String::from("lowerdir=");
    for (number, layer) in lower.iter().enumerate() {
        let separator = if number == 0 { "" } else { ":" };
        write!(options, "{separator}{FDS}{}", layer.as_raw_fd()).map_err(io::Error::other)?;
    }
    let options = CString::new(options + more).map_err(io::Error::other)?;
    match sys::mount(Path::new("overlay"), target, c"overlay", flags, &options) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => copy::copy(layers, target),
        mounted => mounted,
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether what is mounted at `path` is seen by others, and what they mount there is seen here.
pub(crate) fn is_shared(path: &Path) -> io::Result<bool> {
    let text = fs::read_to_string(MOUNTS)?;
    let lines = text.lines().map(|line| line.split(' '));
    let shared = |mut fields: std::str::Split<'_, char>| {
        (fields.nth(4).map(unescape).as_deref() == Some(path)).then(|| {
            fields.skip(1).take_while(|field| *field != "-").any(|field| field.starts_with("shared:"))
        })
    };
    // The last one there lies over the others.
    Ok(lines.filter_map(shared).next_back().unwrap_or_default())
}

/// Takes a container's folder away, with all that it changed. What cannot be removed is said, and left.
pub(crate) fn remove(dir: &Path) {
    if let Err(error) = unmount_below(dir) {
        // What is mounted there is not gone into, below.
        say(&format!("failed to unmount what is in {}: {error}", dir.display()));
    }
    let left = remove_tree(dir);
    if !left.is_nothing() {
        say(&format!("of {} {left}", dir.display()));
    }
}

fn unmount_below(dir: &Path) -> io::Result<()> {
    let mounts = mounts_below(dir)?;
    // First, or what the machine has mounted in a volume that it shares would be unmounted there, too.
    mounts.iter().try_for_each(|mount| sys::change_mount(mount, libc::MS_PRIVATE))?;
    mounts.iter().try_for_each(|mount| sys::unmount(mount))
}

/// What is mounted below a folder, as this process sees it; the latest first.
fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(MOUNTS)?;
    let mounts = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut mounts: Vec<PathBuf> = mounts.filter(|mount| mount.starts_with(dir)).collect();
    mounts.reverse();
    Ok(mounts)
}

/// The kernel writes some characters as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let (bytes, mut out) = (text.as_bytes(), Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// What is mounted, as this process sees it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Where a process's open files have names.
const FDS: &str = "/proc/self/fd/";

/// Layers of one image: what fits into a page of options, beyond what registries and tools make.
const LAYERS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_way_to_write_paths_is_read() {
        let check = |text: &str, expected: &str| assert_eq!(unescape(text), Path::new(expected));
        check("/plain", "/plain");
        check(r"/with\040space\011and\134more", "/with space\tand\\more");
        check(r"/short\04", r"/short\04");
    }
}

//! What a container sees of the machine: found among the machine's own mounts when the container needs it, and brought over by its
//! descriptor. So it is there even if it was mounted after the shim began and the machine's mounts are not shared with anybody; and what
//! a container puts into the place of a part that was found changes nothing any more.

pub(crate) mod of_image;

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::sandbox::linux::{LinuxMount, Propagation};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::{namespaces, rootfs, say, sys};

/// Both sides: the machine's mounts, and those of this process.
#[derive(Debug)]
pub(crate) struct Mounts {
    machine: File,
    own: File,
}

impl Mounts {
    /// Gives this process mounts of its own, and holds on to the machine's.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(crate) fn leave_machine() -> io::Result<Self> {
        let machine = File::open(NAMESPACE)?;
        namespaces::own_mounts()?;
        Ok(Self { machine, own: File::open(NAMESPACE)? })
    }

    /// Brings over what a container sees of the machine, into its folder; returns where.
    ///
    /// # Errors
    /// In words for the container's status.
    pub(crate) fn bring(&self, mount: &LinuxMount, dir: &Path, number: usize) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("failed to open the volume at `{}`: {error}", mount.path);
        let tree = if mount.layers.is_empty() {
            self.find(mount)
        } else {
            let layers: Vec<PathBuf> = mount.layers.iter().map(PathBuf::from).collect();
            let image = rootfs::mount_image(&layers, &dir.join(IMAGES).join(number.to_string()));
            image.and_then(|image| tree_at(&image, &mount.inside))
        };
        let tree = tree.map_err(failed)?;
        let target = dir.join(PARTS).join(number.to_string());
        attach(&tree, &target).map_err(failed)?;
        if mount.all_read_only {
            sys::make_all_read_only(&target).map_err(failed)?;
        }
        if mount.propagation != Propagation::Bidirectional {
            // What the machine mounts there later is seen here, but not the other way round.
            sys::change_mount(&target, libc::MS_SLAVE | libc::MS_REC).map_err(failed)?;
        } else if !rootfs::is_shared(&target).map_err(failed)? {
            return Err(format!(
                "the volume at `{}` cannot have the mount propagation Bidirectional: `{}` is not on a shared mount",
                mount.path, mount.source
            ));
        }
        Ok(target)
    }

    /// A copy of the machine's mounts there, which is nowhere yet.
    fn find(&self, mount: &LinuxMount) -> io::Result<OwnedFd> {
        sys::enter(self.machine.as_fd(), libc::CLONE_NEWNS)?;
        let found = tree_at(Path::new(&mount.source), &mount.inside);
        if let Err(error) = sys::enter(self.own.as_fd(), libc::CLONE_NEWNS) {
            // Among the machine's mounts everything else would go wrong, and into others' hands.
            say(&format!("failed to go back to the pod's mounts: {error}"));
            sys::exit_now(1);
        }
        found
    }
}

fn tree_at(source: &Path, inside: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let whole = openat(CWD, source, flags, Mode::empty())?;
    if inside.is_empty() {
        return sys::copy_mounts(whole.as_fd());
    }
    // By no link: containers may have had their hands in it.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let part = openat2(&whole, inside, flags | OFlags::NOFOLLOW, Mode::empty(), resolve)?;
    sys::copy_mounts(part.as_fd())
}

fn attach(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    if let Some(parts) = target.parent() {
        fs::create_dir_all(parts)?;
    }
    if FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir() {
        fs::create_dir(target)?;
    } else {
        File::create_new(target)?;
    }
    sys::attach_mounts(tree.as_fd(), target)
}

/// That of this process.
const NAMESPACE: &str = "/proc/self/ns/mnt";

/// Where images are mounted that are its volumes.
const IMAGES: &str = "images";

/// Where a container's volumes are, in its folder.
const PARTS: &str = "parts";

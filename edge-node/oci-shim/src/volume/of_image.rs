//! Folders that an image wants to be written to (`VOLUME`): they are there, and can be written where the rest of the image cannot.
//!
//! What is written goes with the container, as everything that it writes to its image's files. Links of the image lead to nothing
//! outside of it.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
};

use dunlin_edge_node_core::sandbox::linux::LinuxSpec;
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2},
    io::Errno,
};

use super::{PARTS, attach};
use crate::sys;

/// Makes the folders below `rootfs` that are missing; where nothing else of it can be written, answers for each where it is to be
/// mounted, and what.
///
/// # Errors
/// In words for the container's status.
pub(crate) fn bring(
    spec: &LinuxSpec,
    (rootfs, dir): (&Path, &Path),
) -> Result<Vec<(String, PathBuf)>, String> {
    let mut mounts = Vec::new();
    for (number, path) in spec.volumes.iter().enumerate() {
        let failed = |error: io::Error| format!("failed to make the image's volume `{path}`: {error}");
        let folder = make(rootfs, Path::new(path)).map_err(failed)?;
        if spec.security.read_only_root {
            let target = dir.join(PARTS).join(format!("image-{number}"));
            let tree = sys::copy_mounts(folder.as_fd()).map_err(failed)?;
            attach(&tree, &target).map_err(failed)?;
            mounts.push((format!("/{}", path.trim_start_matches('/')), target));
        }
    }
    Ok(mounts)
}

/// Opens a folder below `root`, made where it is missing.
fn make(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let inside = |path: &Path| {
        openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    };
    let mut walked = PathBuf::from(".");
    let mut at = inside(&walked)?;
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        walked.push(name);
        at = match inside(&walked) {
            Err(Errno::NOENT) => {
                mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                inside(&walked)?
            }
            found => found?,
        };
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn folders_are_made_inside_whatever_links_say() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir_all(root.join("there")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink("../../..", root.join("up")).unwrap();
        symlink("/there", root.join("link")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let made = |path: &str| make(&root, Path::new(path)).map(drop);
        for path in ["/a/b/c", "d", "/link/below", "/up/e", "/there"] {
            made(path).unwrap();
        }
        for path in ["a/b/c", "d", "there/below", "e"] {
            assert!(root.join(path).is_dir(), "{path}");
        }
        for path in ["/out", "/out/f", "/file", "/a/../../g"] {
            made(path).unwrap_err();
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

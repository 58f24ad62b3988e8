//! Where volumes in memory are: a folder of this node on the file system that every Linux keeps there.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use dunlin_link::Digest;

/// The folder for the node with this state folder, which is made when it is needed; `None` where there can be none that is ours alone.
pub(super) fn folder(state_dir: &Path) -> Option<PathBuf> {
    let root = Path::new(SHARED_MEMORY);
    let is_memory = rustix::fs::statfs(root).is_ok_and(|stat| stat.f_type == TMPFS_MAGIC);
    let state_dir = std::path::absolute(state_dir).ok()?;
    let name = Digest::of(state_dir.as_os_str().as_encoded_bytes()).hex();
    let dir = root.join(format!("dunlin-{}", &name[..NAME_DIGITS]));
    let is_free = fs::symlink_metadata(&dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    (is_memory && (is_free || is_ours(&dir))).then_some(dir)
}

/// Makes the folder, or sees that the one which is there is nobody else's: everybody may write to its parent.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_ours(dir) => Ok(()),
        made => made,
    }
}

fn is_ours(dir: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(dir)
        .is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}

/// Where POSIX shared memory is, and all of it is gone with the machine's power.
const SHARED_MEMORY: &str = "/dev/shm";

/// Of a file system in memory, in `statfs`.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// Enough that no two nodes of a machine share a name.
const NAME_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_that_others_could_have_made_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("d");
        make(&dir).unwrap();
        make(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(make(&dir).is_err(), "others can look into it");
        let link = parent.path().join("l");
        symlink(parent.path(), &link).unwrap();
        assert!(make(&link).is_err() && make(&parent.path().join("no/where")).is_err());
        let folder = folder(parent.path());
        assert!(folder.is_none_or(|folder| !folder.exists()), "not made before it is needed");
    }
}

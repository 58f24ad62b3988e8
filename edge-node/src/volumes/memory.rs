//! Where volumes in memory are: a folder of this node on the file system that every Linux keeps there. It says whose it is, since nothing
//! else goes with a state folder that somebody removes.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use dunlin_link::Digest;

/// The folder for the node with this state folder, which is made when it is needed; `None` where there can be none that is ours alone.
pub(super) fn folder(state_dir: &Path) -> Option<PathBuf> {
    let root = Path::new(SHARED_MEMORY);
    let is_memory = rustix::fs::statfs(root).is_ok_and(|stat| stat.f_type == TMPFS_MAGIC);
    let state_dir = std::path::absolute(state_dir).ok()?;
    let name = Digest::of(state_dir.as_os_str().as_encoded_bytes()).hex();
    let dir = root.join(format!("{PREFIX}{}", &name[..NAME_DIGITS]));
    let is_free = fs::symlink_metadata(&dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    (is_memory && (is_free || is_ours(&dir))).then_some(dir)
}

/// Makes the folder for the node with this state folder, or sees that the one which is there is nobody else's: everybody may write to
/// its parent.
pub(super) fn make(dir: &Path, state_dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_ours(dir) => {}
        made => made?,
    }
    fs::write(dir.join(OWNER), std::path::absolute(state_dir)?.as_os_str().as_encoded_bytes())
}

/// Removes the folder if no pod has anything in it.
pub(super) fn remove_if_empty(dir: &Path, state_dir: &Path) {
    let is_used = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != OWNER);
    if !fs::read_dir(dir).is_ok_and(|mut entries| !entries.any(is_used)) {
        return;
    }
    // One of an earlier version does not say whose it is.
    let _ = fs::remove_file(dir.join(OWNER));
    if fs::remove_dir(dir).is_err() {
        // Somebody has begun to use it meanwhile.
        drop(make(dir, state_dir));
    }
}

/// Removes the folders of nodes whose state folders are gone: what is in them is secret, and takes memory for ever.
pub(super) fn sweep() {
    sweep_in(Path::new(SHARED_MEMORY));
}

fn sweep_in(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !is_ours(&dir) {
            continue;
        }
        let Ok(owner) = fs::read(dir.join(OWNER)) else { continue };
        let state_dir = Path::new(OsStr::from_bytes(&owner));
        let is_gone = state_dir.is_absolute()
            && fs::symlink_metadata(state_dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_gone {
            continue;
        }
        match fs::remove_dir_all(&dir) {
            Ok(()) => {
                tracing::info!(dir = %dir.display(), "removed volumes in memory of a node that is gone")
            }
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "volumes in memory of a node that is gone are left");
            }
        }
    }
}

fn is_ours(dir: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(dir)
        .is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}

/// Where POSIX shared memory is, and all of it is gone with the machine's power.
const SHARED_MEMORY: &str = "/dev/shm";

/// How our folders' names begin.
const PREFIX: &str = "dunlin-";

/// File in the folder that holds the path of its node's state folder. No pod's folder begins with a dot.
const OWNER: &str = ".state-dir";

/// Of a file system in memory, in `statfs`.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// Enough that no two nodes of a machine share a name.
const NAME_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_of_a_node_whose_state_is_gone_goes() {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [ours, gone, unknown, other] =
            ["dunlin-1", "dunlin-2", "dunlin-3", "other"].map(|name| root.path().join(name));
        make(&ours, state.path()).unwrap();
        make(&gone, &state.path().join("gone")).unwrap();
        fs::create_dir_all(gone.join("ns_p_u/files")).unwrap();
        fs::DirBuilder::new().mode(0o700).create(&unknown).unwrap();
        make(&other, &state.path().join("gone")).unwrap();
        sweep_in(root.path());
        assert!(ours.exists() && !gone.exists() && unknown.exists() && other.exists());
        // The last pod takes the folder along.
        fs::create_dir(ours.join("ns_p_u")).unwrap();
        remove_if_empty(&ours, state.path());
        assert!(ours.join(OWNER).exists());
        fs::remove_dir(ours.join("ns_p_u")).unwrap();
        remove_if_empty(&ours, state.path());
        assert!(!ours.exists());
        remove_if_empty(&unknown, state.path());
        assert!(!unknown.exists());
    }

    #[test]
    fn a_folder_that_others_could_have_made_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("d");
        let made = |dir: &Path| make(dir, parent.path());
        made(&dir).unwrap();
        made(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(made(&dir).is_err(), "others can look into it");
        let link = parent.path().join("l");
        symlink(parent.path(), &link).unwrap();
        assert!(made(&link).is_err() && made(&parent.path().join("no/where")).is_err());
        let folder = folder(parent.path());
        assert!(folder.is_none_or(|folder| !folder.exists()), "not made before it is needed");
    }
}

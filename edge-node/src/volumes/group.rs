//! `fsGroup`: volumes that a pod has for itself are the group's, as the kubelet makes them.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, lchown},
    path::{Path, PathBuf},
};

use dunlin_link::volumes::Access;

/// Gives a folder and all in it to the group. Nothing else writes there meanwhile: it is done before a container sees the folder.
///
/// # Errors
/// When the machine refuses; a part may be the group's then.
pub(super) fn give(dir: &Path, gid: u32, access: Access) -> io::Result<()> {
    let mut waiting: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path)?;
        lchown(&path, None, Some(gid))?;
        if found.is_symlink() {
            continue;
        }
        let mode = found.permissions().mode();
        let wanted = match access {
            Access::ReadWrite => mode | 0o660,
            Access::ReadOnly => mode | 0o440,
        };
        if found.is_dir() {
            // What is made in there is the group's, too.
            fs::set_permissions(&path, Permissions::from_mode(wanted | 0o2110))?;
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else {
            fs::set_permissions(&path, Permissions::from_mode(wanted))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_in_a_volume_is_the_groups() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: only root gives files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("v");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/f"), "x").unwrap();
        fs::set_permissions(root.join("a/f"), Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.path().join("out"), "x").unwrap();
        symlink("../out", root.join("link")).unwrap();
        give(&root, 4242, Access::ReadWrite).unwrap();
        let seen = |path: &str| fs::symlink_metadata(dir.path().join(path)).unwrap();
        assert_eq!((seen("v").gid(), seen("v").mode() & 0o2070), (4242, 0o2070));
        assert_eq!((seen("v/a/f").gid(), seen("v/a/f").mode() & 0o777), (4242, 0o660));
        assert_eq!((seen("v/link").gid(), seen("out").gid()), (4242, 0));
    }
}

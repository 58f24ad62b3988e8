//! Devices of the machine: those that a container is given, and all of them for a privileged one.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::sandbox::linux::LinuxDevice as Wanted;
use dunlin_link::volumes::Access;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};
use rustix::fs::{major, minor};

/// A device, and what may be done with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Device {
    pub(crate) node: LinuxDevice,
    pub(crate) access: Access,
}

/// Those that a container names.
///
/// # Errors
/// In words for the container's status.
pub(crate) fn find(wanted: &[Wanted]) -> Result<Vec<Device>, String> {
    let find = |wanted: &Wanted| {
        let failed = |why: String| format!("failed to find the device `{}`: {why}", wanted.path_on_machine);
        let found = read(Path::new(&wanted.path_on_machine), Path::new(&wanted.path));
        let node = found.map_err(|error| failed(error.to_string()))?;
        let node = node.ok_or_else(|| failed("it is no device".to_owned()))?;
        Ok(Device { node, access: wanted.access })
    };
    wanted.iter().map(find).collect()
}

/// All that are in `/dev`, where each container has them, too. What each container has of its own is left out.
pub(crate) fn all() -> Vec<Device> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        // What goes away meanwhile is not there.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if OWN.iter().any(|own| path == Path::new(own)) || found.len() >= DEVICES_MAX {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if let Ok(Some(node)) = read(&path, &path) {
                found.push(Device { node, access: Access::ReadWrite });
            }
        }
    }
    // In the same order each time.
    found.sort_by(|one, other| one.node.path().cmp(other.node.path()));
    found
}

/// The device at `path`, as it is to be at `inside`; `None` when it is something else. Links are followed where the caller named one.
fn read(path: &Path, inside: &Path) -> io::Result<Option<LinuxDevice>> {
    let metadata = if path == inside { fs::symlink_metadata(path)? } else { fs::metadata(path)? };
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return Ok(None),
    };
    let number = metadata.rdev();
    let device = LinuxDeviceBuilder::default()
        .path(inside)
        .typ(kind)
        .major(i64::from(major(number)))
        .minor(i64::from(minor(number)))
        .file_mode(metadata.mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid());
    device.build().map(Some).map_err(io::Error::other)
}

/// What of `/dev` each container has of its own.
const OWN: [&str; 6] = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/ptmx"];

/// More than any machine has.
const DEVICES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path_on_machine: &str) -> Wanted {
        let (path_on_machine, path) = (path_on_machine.into(), "/dev/inside".into());
        Wanted { path_on_machine, path, access: Access::ReadOnly }
    }

    #[test]
    fn a_device_is_found_by_its_file() {
        let found = find(&[wanted("/dev/null")]).unwrap();
        let [Device { node, access: Access::ReadOnly }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((node.path().as_path(), node.typ()), (Path::new("/dev/inside"), LinuxDeviceType::C));
        assert_eq!((node.major(), node.minor(), node.file_mode()), (1, 3, Some(0o666)));
        let none = find(&[wanted("/etc")]).unwrap_err();
        assert_eq!(none, "failed to find the device `/etc`: it is no device");
        let missing = find(&[wanted("/dev/none")]).unwrap_err();
        assert!(missing.starts_with("failed to find the device `/dev/none`: No such file"), "{missing}");
    }

    #[test]
    fn all_are_those_of_the_machine() {
        let all = all();
        let has = |path: &str| all.iter().any(|device| device.node.path() == Path::new(path));
        assert!(has("/dev/null") && has("/dev/zero") && !has("/dev/ptmx") && !has("/dev/pts/ptmx"));
    }
}

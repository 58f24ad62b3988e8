//! `hostPath`: what has to be at a path of the machine, in the kubelet's words.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use dunlin_link::volumes::HostPathKind;

use super::Placed;

/// Finds what is at `path`, and makes it where the type says so.
///
/// # Errors
/// When something else is there, or nothing and it is not to be made.
pub(super) fn place(path: &Path, kind: HostPathKind) -> io::Result<Placed> {
    let shown = path.display();
    let refused =
        |what: &str| Err(io::Error::other(format!("hostPath type check failed: {shown} is not {what}")));
    let there = match fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match (kind, there) {
        (HostPathKind::Unset | HostPathKind::DirectoryOrCreate, None) => {
            fs::create_dir_all(path)?;
            Ok(Placed::Folder(path.to_owned()))
        }
        (HostPathKind::FileOrCreate, None) => {
            fs::OpenOptions::new().create(true).append(true).mode(0o644).open(path)?;
            Ok(Placed::File(path.canonicalize()?))
        }
        (HostPathKind::Unset | HostPathKind::DirectoryOrCreate | HostPathKind::Directory, Some(kind))
            if kind.is_dir() =>
        {
            Ok(Placed::Folder(path.to_owned()))
        }
        (HostPathKind::Unset | HostPathKind::FileOrCreate | HostPathKind::File, Some(kind))
            if kind.is_file() =>
        {
            Ok(Placed::File(path.canonicalize()?))
        }
        (HostPathKind::DirectoryOrCreate | HostPathKind::Directory, _) => refused("a directory"),
        (HostPathKind::FileOrCreate | HostPathKind::File, _) => refused("a file"),
        (HostPathKind::Socket, found) if !found.is_some_and(|kind| kind.is_socket()) => {
            refused("a socket file")
        }
        (HostPathKind::CharDevice, found) if !found.is_some_and(|kind| kind.is_char_device()) => {
            refused("a character device")
        }
        (HostPathKind::BlockDevice, found) if !found.is_some_and(|kind| kind.is_block_device()) => {
            refused("a block device")
        }
        // A guest cannot be given it, and is told so.
        _ => Ok(Placed::Special(path.canonicalize()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_has_to_be_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let folder = |name: &str| Placed::Folder(path(name));
        let file = |name: &str| Placed::File(path(name));
        assert_eq!(place(&path("new/a"), HostPathKind::DirectoryOrCreate).unwrap(), folder("new/a"));
        assert_eq!(place(&path("new/b"), HostPathKind::Unset).unwrap(), folder("new/b"));
        assert_eq!(place(&path("new"), HostPathKind::Directory).unwrap(), folder("new"));
        assert_eq!(place(&path("made"), HostPathKind::FileOrCreate).unwrap(), file("made"));
        assert_eq!(place(&path("file"), HostPathKind::Unset).unwrap(), file("file"));
        let check = |name: &str, kind, expected: &str| {
            let error = place(&path(name), kind).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        };
        check("none", HostPathKind::Directory, "is not a directory");
        check("none", HostPathKind::File, "is not a file");
        check("file", HostPathKind::DirectoryOrCreate, "is not a directory");
        check("new", HostPathKind::FileOrCreate, "is not a file");
        check("file", HostPathKind::Socket, "is not a socket file");
        check("file", HostPathKind::CharDevice, "is not a character device");
        check("none", HostPathKind::BlockDevice, "is not a block device");
        let socket = Placed::Special(path("socket").canonicalize().unwrap());
        assert_eq!(place(&path("socket"), HostPathKind::Socket).unwrap(), socket);
        assert_eq!(place(&path("socket"), HostPathKind::Unset).unwrap(), socket);
    }
}

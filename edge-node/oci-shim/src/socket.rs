//! Names of sockets in deep folders. The kernel takes 107 bytes for the name of a socket (`sun_path`, unix(7)), which a state folder and
//! the names of a pod and a container are easily beyond; by a descriptor of its folder, every socket has a short one.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    process,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// What to bind or to connect to, for as long as it is kept.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// Of the folder that the name begins with, where the path itself is too long.
    _folder: Option<OwnedFd>,
}

impl SocketPath {
    /// The one at `path`, whose folder is there.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidFilename));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, folder, flags, Mode::empty())?;
        // By number, so that a program which this one starts understands it as well.
        let short = format!("/proc/{}/fd/{}", process::id(), folder.as_raw_fd());
        Ok(Self { path: Path::new(&short).join(name), _folder: Some(folder) })
    }

    /// A name for it that is short enough. It is borrowed: nobody may keep it for longer than the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// One byte of the kernel's 108 ends the name.
const BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    #[test]
    fn a_socket_in_a_deep_folder_is_bound_and_found() {
        let top = tempfile::tempdir().unwrap();
        for name in ["short", &"deep/".repeat(60)] {
            let folder = top.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join("it.sock");
            let _listener = UnixListener::bind(SocketPath::of(&path).unwrap().path()).unwrap();
            assert!(path.exists(), "it is not at {}", path.display());
            UnixStream::connect(SocketPath::of(&path).unwrap().path()).unwrap();
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let path = Path::new("/nowhere").join("deep/".repeat(60)).join("it.sock");
        assert_eq!(SocketPath::of(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

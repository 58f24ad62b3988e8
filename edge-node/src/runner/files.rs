//! What a container sees of the machine, and what it leaves as its last words.

use std::{
    fs, io,
    io::Read as _,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::sandbox::Mount;
use dunlin_link::volumes;
use dunlin_wasm_host::{Access, Preopen};

use crate::volumes::{Found, find};

/// The folders of a container, to be kept for as long as it runs.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub(super) preopens: Vec<Preopen>,
    /// Those that are named by their descriptors.
    _held: Vec<OwnedFd>,
}

impl Folders {
    /// Opens what `mounts` name.
    ///
    /// # Errors
    /// When something of it is not there, or no folder.
    pub(super) fn open(mounts: &[Mount]) -> Result<Self, String> {
        let (mut preopens, mut held) = (Vec::with_capacity(mounts.len()), Vec::new());
        for mount in mounts {
            let failed = |error: io::Error| format!("failed to open the volume at `{}`: {error}", mount.path);
            let dir = if mount.inside.is_empty() {
                let root = PathBuf::from(&mount.dir);
                fs::read_dir(&root).map_err(failed)?;
                root
            } else {
                match find(Path::new(&mount.dir), &mount.inside).map_err(failed)? {
                    // By its descriptor it is the folder that was found, whatever a guest puts into its place.
                    Found::Folder(folder) => {
                        let dir = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
                        held.push(folder);
                        dir
                    }
                    Found::File(..) | Found::Nothing => {
                        return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
                    }
                }
            };
            let access = match mount.access {
                volumes::Access::ReadWrite => Access::ReadWrite,
                volumes::Access::ReadOnly => Access::ReadOnly,
            };
            preopens.push(Preopen { dir, path: mount.path.clone(), access });
        }
        Ok(Self { preopens, _held: held })
    }

    /// Puts an empty folder at `/`, for programs that look around there before they look anywhere, unless something is mounted there.
    pub(super) fn with_root(mut self, empty: &Path) -> Self {
        if !self.preopens.iter().any(|preopen| preopen.path == "/") {
            let (dir, path) = (empty.to_owned(), "/".to_owned());
            self.preopens.push(Preopen { dir, path, access: Access::ReadOnly });
        }
        self
    }
}

/// What the guest left in its file for last words, if anything: its beginning, as text. Nothing but a file is looked at.
pub(super) fn last_words(path: &Path) -> String {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
    let mut bytes = Vec::new();
    // What cannot be read is not there; the end itself counts.
    let read = file.map(|file| file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes));
    if !matches!(read, Some(Ok(_))) {
        return String::new();
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.truncate(text.floor_char_boundary(usize::try_from(LAST_WORDS_BYTES_MAX).unwrap_or(usize::MAX)));
    text
}

/// The message of an end: what the host has to say, then what the guest said.
pub(super) fn with_last_words(mut message: String, words: &str) -> String {
    if !message.is_empty() && !words.is_empty() {
        message.push_str(": ");
    }
    message.push_str(words);
    message
}

/// Kubernetes' bound on what a container says.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_the_beginning_of_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(last_words(&path("none")), "");
        fs::write(path("long"), "x".repeat(5000)).unwrap();
        assert_eq!(last_words(&path("long")).len(), 4096);
        fs::write(path("odd"), b"a\xff").unwrap();
        assert_eq!(last_words(&path("odd")), "a\u{fffd}");
        symlink("/etc/passwd", path("link")).unwrap();
        assert_eq!(last_words(&path("link")), "");
        assert_eq!(last_words(dir.path()), "");
        assert_eq!(with_last_words("trap".to_owned(), "bye"), "trap: bye");
        assert_eq!(with_last_words(String::new(), "bye"), "bye");
        assert_eq!(with_last_words("trap".to_owned(), ""), "trap");
    }

    #[test]
    fn a_folder_that_was_found_stays_the_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/mine"), "").unwrap();
        let mount = |inside: &str| Mount {
            dir: root.to_str().unwrap().to_owned(),
            inside: inside.to_owned(),
            path: "/m".to_owned(),
            access: volumes::Access::ReadWrite,
        };
        let folders = Folders::open(&[mount("a"), mount("")]).unwrap().with_root(dir.path());
        assert_eq!((folders.preopens[2].path.as_str(), folders.preopens[2].access), ("/", Access::ReadOnly));
        fs::rename(root.join("a"), root.join("b")).unwrap();
        symlink("/etc", root.join("a")).unwrap();
        assert!(folders.preopens[0].dir.join("mine").exists());
        assert_eq!(folders.preopens[1].dir, root);
        assert!(Folders::open(&[mount("a")]).unwrap_err().contains("symbolic link"));
        assert!(Folders::open(&[mount("c")]).is_err());
    }
}

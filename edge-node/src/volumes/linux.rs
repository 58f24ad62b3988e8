//! What a Linux container sees of the machine: volumes, single files of them, and the file for its last words.
//!
//! Other than a guest, it can be given single files; so nothing is copied or linked for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::{
    sandbox::linux::{LinuxMount, Propagation},
    volumes::{File, MountSetup, PartSetup},
};
use dunlin_link::volumes::Access;

use super::{
    Placed,
    atomic::write_file,
    beneath::{Found, find, make},
    group, make_private,
};

/// The mounts of a run, as they are gathered.
#[derive(Debug)]
pub(super) struct LinuxMounts {
    dir: PathBuf,
    mounts: Vec<LinuxMount>,
    /// `fsGroup`, whose the files are that the node writes.
    group: Option<u32>,
    /// How many folders were made.
    made: usize,
}

impl LinuxMounts {
    /// None yet. What the container's earlier runs had goes; `dir` is where it is.
    pub(super) fn new(dir: &Path, attempt: u32, group: Option<u32>) -> io::Result<Self> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { dir: dir.join(attempt.to_string()), mounts: Vec::new(), group, made: 0 })
    }

    /// Adds what is mounted; `placed` is its volume, if it is of one.
    pub(super) fn add(&mut self, mount: &MountSetup, placed: Option<&Placed>) -> io::Result<()> {
        let (source, inside) = match (&mount.part, placed) {
            (PartSetup::File(file), _) => {
                let path = self.written(file)?;
                self.give(&path)?;
                (path, String::new())
            }
            (PartSetup::Folder(files), _) => {
                let dir = self.make_folder()?;
                files.iter().try_for_each(|file| write_file(&dir, file))?;
                self.give(&dir)?;
                (dir, String::new())
            }
            (PartSetup::Volume { inside, .. }, Some(Placed::Folder(root))) => {
                if let Found::Nothing = find(root, inside)? {
                    make(root, inside)?;
                }
                (root.clone(), inside.clone())
            }
            (PartSetup::Volume { inside, .. }, Some(Placed::File(path) | Placed::Special(path)))
                if inside.is_empty() =>
            {
                (path.clone(), String::new())
            }
            (PartSetup::Image { layers, inside, .. }, _) => {
                self.mounts.push(LinuxMount {
                    source: String::new(),
                    layers: layers.clone(),
                    inside: inside.clone(),
                    path: mount.path.clone(),
                    access: Access::ReadOnly,
                    all_read_only: false,
                    propagation: Propagation::None,
                });
                return Ok(());
            }
            (PartSetup::Volume { inside, .. }, _) => {
                return Err(io::Error::other(format!("subPath \"{inside}\" is not in the volume")));
            }
        };
        self.mount(&source, inside, (&mount.path, mount.access));
        Ok(())
    }

    /// All of them, with the file for last words at `last_words`; and where that is on the machine.
    pub(super) fn finish(mut self, last_words: &str) -> io::Result<(Vec<LinuxMount>, Option<String>)> {
        let is_taken = self.mounts.iter().any(|mount| mount.path == last_words);
        if is_taken || last_words == "/" {
            return Ok((self.mounts, None));
        }
        let file = File {
            path: LAST_WORDS.to_owned(),
            mode: LAST_WORDS_MODE,
            data: Default::default(),
            owner: None,
        };
        let path = self.written(&file)?;
        self.mount(&path, String::new(), (last_words, Access::ReadWrite));
        Ok((self.mounts, Some(path.to_string_lossy().into_owned())))
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        self.group.map_or(Ok(()), |gid| group::give(path, gid, Access::ReadOnly))
    }

    /// Writes a file that is mounted by itself.
    fn written(&mut self, file: &File) -> io::Result<PathBuf> {
        let dir = self.make_folder()?;
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        write_file(&dir, &File { path: name.to_owned(), ..file.clone() })?;
        Ok(dir.join(name))
    }

    fn mount(&mut self, source: &Path, inside: String, (path, access): (&str, Access)) {
        self.mounts.push(LinuxMount {
            layers: Vec::new(),
            source: source.to_string_lossy().into_owned(),
            inside,
            path: path.to_owned(),
            access,
            propagation: Propagation::None,
            all_read_only: false,
        });
    }

    fn make_folder(&mut self) -> io::Result<PathBuf> {
        let dir = self.dir.join(self.made.to_string());
        self.made += 1;
        make_private(&dir)?;
        Ok(dir)
    }
}

/// The file for last words, and its mode: whoever the container runs as writes it.
const LAST_WORDS: &str = "termination-log";
const LAST_WORDS_MODE: u32 = 0o666;

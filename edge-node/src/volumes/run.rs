//! Folders of one run of a container, for what is no folder by itself: single files of volumes, and the place for last words.
//!
//! WASI gives guests folders only. A file that is mounted at `/a/b/c` is in a folder of its own, which the guest sees as `/a/b`, and which
//! holds nothing else but what is mounted into the same place. Where the guest may change the file, it is the same one by another name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::{
    launch::GuestFiles,
    sandbox::Mount,
    volumes::{self, MountSetup, PartSetup},
};
use dunlin_link::volumes::{Access, Medium};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat},
    io::Errno,
};

use super::{
    Placed,
    atomic::write_file,
    beneath::{Found, find, make},
    make_private,
};

/// Where the folders of a container's runs are.
#[derive(Debug)]
pub(super) struct RunDirs {
    pub(super) disk: PathBuf,
    /// For what belongs into memory; the same one where there is none for us.
    pub(super) memory: PathBuf,
}

/// The folders of a run, as they are gathered.
#[derive(Debug)]
pub(super) struct RunFolders {
    dirs: RunDirs,
    /// Mounts that are folders by themselves.
    whole: Vec<Mount>,
    /// Single files by the guest's folder and their name in it.
    single: BTreeMap<String, BTreeMap<String, Single>>,
    /// How many folders were made.
    made: usize,
}

#[derive(Debug)]
struct Single {
    source: Source,
    access: Access,
    medium: Medium,
}

#[derive(Debug)]
enum Source {
    /// The node writes it.
    Written(volumes::File),
    /// It is there, in this folder by this name.
    There(OwnedFd, String),
}

impl RunFolders {
    /// None yet. Those of the container's earlier runs go.
    pub(super) fn new(dirs: &RunDirs, attempt: u32) -> io::Result<Self> {
        for dir in [&dirs.disk, &dirs.memory] {
            match fs::remove_dir_all(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let of = |dir: &Path| dir.join(attempt.to_string());
        let dirs = RunDirs { disk: of(&dirs.disk), memory: of(&dirs.memory) };
        Ok(Self { dirs, whole: Vec::new(), single: BTreeMap::new(), made: 0 })
    }

    /// Adds what is mounted; `placed` is its volume, if it is of one.
    pub(super) fn add(&mut self, mount: &MountSetup, placed: Option<&Placed>) -> io::Result<()> {
        match (&mount.part, placed) {
            (PartSetup::File(file), _) => self.add_single(mount, Source::Written(file.clone())),
            (PartSetup::Folder(files), _) => {
                let dir = self.make_folder(mount.medium)?;
                files.iter().try_for_each(|file| write_file(&dir, file))?;
                self.add_whole(mount, &dir, "");
                Ok(())
            }
            (PartSetup::Volume { inside, .. }, Some(Placed::Folder(root))) => match find(root, inside)? {
                Found::Folder(_) => {
                    self.add_whole(mount, root, inside);
                    Ok(())
                }
                Found::Nothing => {
                    make(root, inside)?;
                    self.add_whole(mount, root, inside);
                    Ok(())
                }
                Found::File(folder, name) => self.add_single(mount, Source::There(folder, name)),
            },
            (PartSetup::Image { layers, inside, .. }, _) => self.add_image(mount, layers, inside),
            (PartSetup::Volume { inside, .. }, Some(Placed::File(path))) if inside.is_empty() => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let folder = File::open(path.parent().unwrap_or_else(|| Path::new("/")))?;
                self.add_single(mount, Source::There(folder.into(), name))
            }
            (PartSetup::Volume { .. }, Some(Placed::Special(path))) => Err(io::Error::other(format!(
                "{} is neither a folder nor a file, and WASI has no way to give a guest anything else",
                path.display()
            ))),
            (PartSetup::Volume { inside, .. }, _) => {
                Err(io::Error::other(format!("subPath \"{inside}\" is not in the volume")))
            }
        }
    }

    /// Adds what an image holds. Nothing lays folders over each other for a guest.
    fn add_image(&mut self, mount: &MountSetup, layers: &[String], inside: &str) -> io::Result<()> {
        let [layer] = layers else {
            return Err(io::Error::other(format!(
                "the image has {} layers, and a WASM container sees images of one layer only",
                layers.len()
            )));
        };
        let root = Path::new(layer);
        match find(root, inside)? {
            Found::Folder(_) => {
                self.add_whole(mount, root, inside);
                Ok(())
            }
            Found::File(folder, name) => self.add_single(mount, Source::There(folder, name)),
            Found::Nothing => Err(io::Error::other(format!("subPath \"{inside}\" is not in the image"))),
        }
    }

    /// Makes what was gathered, with a file for last words at `last_words`.
    pub(super) fn finish(mut self, last_words: &str) -> io::Result<GuestFiles> {
        let taken: BTreeSet<_> = self.whole.iter().map(|mount| mount.path.clone()).collect();
        if let Some(folder) = self.single.keys().find(|folder| taken.contains(*folder)) {
            return Err(io::Error::other(format!(
                "a single file cannot be mounted into {folder}, where another volume is: WASI mounts folders only"
            )));
        }
        let mut message = None;
        // Where a volume is, the guest's words are in it, and the node does not look for them there.
        if let Some((folder, name)) = split(last_words)
            && !taken.contains(&folder)
            && !self.single.get(&folder).is_some_and(|files| files.contains_key(&name))
        {
            let file = volumes::File {
                path: name.clone(),
                mode: LAST_WORDS_MODE,
                data: Default::default(),
                owner: None,
            };
            let (access, medium) = (Access::ReadWrite, Medium::Disk);
            let single = Single { source: Source::Written(file), access, medium };
            self.single.entry(folder.clone()).or_default().insert(name.clone(), single);
            message = Some((folder, name));
        }
        let mut files = GuestFiles::default();
        for (path, singles) in std::mem::take(&mut self.single) {
            // Beside what is kept off the disk, everything is.
            let in_memory = singles.values().any(|single| single.medium == Medium::Memory);
            let dir = self.make_folder(if in_memory { Medium::Memory } else { Medium::Disk })?;
            let is_changed = singles.values().any(|single| single.access == Access::ReadWrite);
            let access = if is_changed { Access::ReadWrite } else { Access::ReadOnly };
            singles.iter().try_for_each(|(name, single)| bring(single, &dir.join(name), access))?;
            if let Some((folder, name)) = &message
                && *folder == path
            {
                files.termination_message = Some(text(&dir.join(name)));
            }
            self.whole.push(Mount { dir: text(&dir), inside: String::new(), path, access });
        }
        files.mounts = self.whole;
        Ok(files)
    }

    fn add_whole(&mut self, mount: &MountSetup, dir: &Path, inside: &str) {
        self.whole.push(Mount {
            dir: text(dir),
            inside: inside.to_owned(),
            path: mount.path.clone(),
            access: mount.access,
        });
    }

    fn add_single(&mut self, mount: &MountSetup, source: Source) -> io::Result<()> {
        let (folder, name) =
            split(&mount.path).ok_or_else(|| io::Error::other("a file cannot be mounted at /"))?;
        let source = match source {
            Source::Written(file) => Source::Written(volumes::File { path: name.clone(), ..file }),
            there => there,
        };
        let single = Single { source, access: mount.access, medium: mount.medium };
        self.single.entry(folder).or_default().insert(name, single);
        Ok(())
    }

    fn make_folder(&mut self, medium: Medium) -> io::Result<PathBuf> {
        let dir = match medium {
            Medium::Disk => &self.dirs.disk,
            Medium::Memory => &self.dirs.memory,
        };
        let dir = dir.join(self.made.to_string());
        self.made += 1;
        make_private(&dir)?;
        Ok(dir)
    }
}

/// Puts a file where a guest will see it, in a folder that the guest may change or not.
fn bring(single: &Single, path: &Path, folder_access: Access) -> io::Result<()> {
    let (source_folder, name) = match &single.source {
        Source::Written(file) => {
            return write_file(path.parent().unwrap_or_else(|| Path::new("/")), file);
        }
        Source::There(folder, name) => (folder, name),
    };
    // Another name of a file that may not be changed must not be where things may be changed.
    if single.access == folder_access {
        match linkat(source_folder, name, CWD, path, AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(Errno::XDEV | Errno::PERM) if single.access == Access::ReadOnly => {}
            Err(Errno::XDEV | Errno::PERM) => {
                return Err(io::Error::other(format!(
                    "{name} cannot be given by itself to be changed: it is on another disk, or somebody else's; mount its folder"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = File::from(openat(source_folder, name, flags, Mode::empty())?);
    if !source.metadata()?.is_file() || source.metadata()?.len() > COPY_BYTES_MAX {
        return Err(io::Error::other(format!(
            "{name} is too large to be copied ({COPY_BYTES_MAX} bytes at most); mount its folder"
        )));
    }
    io::copy(&mut source.take(COPY_BYTES_MAX), &mut File::create_new(path)?)?;
    Ok(())
}

/// A guest's path as its folder and the name in it.
fn split(path: &str) -> Option<(String, String)> {
    let (folder, name) = path.rsplit_once('/')?;
    let folder = if folder.is_empty() { "/" } else { folder };
    (!name.is_empty()).then(|| (folder.to_owned(), name.to_owned()))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Largest file that is copied for a guest: settings, not data.
const COPY_BYTES_MAX: u64 = 16 << 20;

/// Of the file for last words.
const LAST_WORDS_MODE: u32 = 0o666;

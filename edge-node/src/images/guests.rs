//! Images for WASM that are more than a module: their files, as guests see them at `/`, and which modules are among these.
//!
//! ```text
//! guest-files/HEX/root         the files, by the digest of the image
//! guest-files/HEX/module.wasm  the module of an artifact, which is none of its files
//! guest-files/HEX/config       the config of an ordinary image, as it was written
//! guest-files/HEX/programs     what the image starts, or `-`; then digest and path of each module among the files
//! guest-files/part-N, gone-N   what is put together or removed; goes when the folder is opened
//! ```

mod export;
mod stage;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use dunlin_layers::remove_tree;
use dunlin_link::Digest;
use dunlin_registry::image::Execution;

pub(super) use self::stage::{Parts, StageError, Staged, StagedGuest, stage};
use crate::folders;

/// An image whose files are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestImage {
    folder: PathBuf,
    programs: Programs,
    execution: Execution,
}

/// The modules of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Programs {
    /// What it starts by itself.
    start: Option<Digest>,
    /// By their paths from the root.
    by_path: BTreeMap<String, Digest>,
}

/// All that are here.
#[derive(Debug)]
pub(super) struct Guests {
    folder: PathBuf,
    known: HashMap<Digest, Arc<GuestImage>>,
}

impl GuestImage {
    /// What a container sees at `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join(ROOT)
    }

    /// How it runs where a pod says nothing else.
    pub(crate) const fn execution(&self) -> &Execution {
        &self.execution
    }

    /// The modules among its files.
    pub(crate) fn modules(&self) -> impl Iterator<Item = Digest> + '_ {
        self.programs.start.into_iter().chain(self.programs.by_path.values().copied())
    }

    /// The module that a container with this command runs, and where it lies. A command that is the path of a module chooses that one.
    ///
    /// # Errors
    /// In words, when there is none.
    pub(crate) fn program(&self, command: &[String]) -> Result<(Digest, PathBuf), String> {
        let named = command.first().filter(|program| program.starts_with('/') && program.ends_with(SUFFIX));
        let listed = || {
            let names: Vec<_> =
                self.programs.by_path.keys().take(NAMED_MAX).map(|path| format!("`{path}`")).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        match (named, self.programs.start) {
            (Some(named), _) => match self.programs.by_path.get(named) {
                Some(digest) => Ok((*digest, self.file(named))),
                None => Err(format!("`{named}` is not in the image; its WASM modules are {}", listed())),
            },
            (None, Some(start)) => {
                let path = self.programs.by_path.iter().find(|(_, digest)| **digest == start);
                let own = || self.folder.join(MODULE);
                Ok((start, path.map_or_else(own, |(path, _)| self.file(path))))
            }
            (None, None) => Err(format!(
                "the image does not say which of its WASM modules it starts; name one as the command: {}",
                listed()
            )),
        }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }
}

impl Guests {
    /// `folder` is made when it is missing.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        folders::make(&folder)?;
        let mut known = HashMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let programs = fs::read_to_string(path.join(PROGRAMS)).ok().as_deref().and_then(Programs::parse);
            match (format!("sha256:{name}").parse(), programs) {
                (Ok(image), Some(programs)) => {
                    let config = fs::read(path.join(CONFIG)).ok();
                    let execution = stage::execution(config.as_deref());
                    known.insert(image, Arc::new(GuestImage { folder: path, programs, execution }));
                }
                // What cannot be removed costs room and nothing else.
                _ => drop(remove_tree(&path)),
            }
        }
        Ok(Self { folder, known })
    }

    pub(super) fn get(&self, image: &Digest) -> Option<Arc<GuestImage>> {
        self.known.get(image).cloned()
    }

    /// Where what is put together lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives an image its name, unless it is here.
    pub(super) fn insert(&mut self, image: Digest, staged: &StagedGuest) -> io::Result<()> {
        if self.known.contains_key(&image) {
            return Ok(());
        }
        let folder = self.folder.join(image.hex());
        fs::rename(staged.folder.path(), &folder)?;
        folders::flush(&self.folder)?;
        let (programs, execution) = (staged.programs.clone(), staged.execution.clone());
        self.known.insert(image, Arc::new(GuestImage { folder, programs, execution }));
        Ok(())
    }

    /// Images by their last use, the latest last.
    pub(super) fn by_use(&self) -> Vec<Digest> {
        let used = |image: &GuestImage| {
            fs::metadata(image.folder.join(PROGRAMS)).and_then(|file| file.modified()).ok()
        };
        let mut images: Vec<_> = self.known.iter().map(|(image, guest)| (used(guest), *image)).collect();
        images.sort_unstable();
        images.into_iter().map(|(_, image)| image).collect()
    }

    /// Remembers the use of an image, as well as a power cut lets it.
    pub(super) fn touch(&self, image: &Digest) {
        let Some(guest) = self.known.get(image) else { return };
        let programs = fs::File::open(guest.folder.join(PROGRAMS));
        if let Err(error) = programs.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(%error, "the use of an image could not be remembered");
        }
    }

    /// Forgets what no name leads to. What it leaves is removed by [`remove_gone`].
    pub(super) fn retain(&mut self, is_named: impl Fn(&Digest) -> bool) {
        let folder = &self.folder;
        self.known.retain(|image, guest| {
            let keep = is_named(image);
            if !keep
                && let Err(error) = fs::rename(&guest.folder, folder.join(format!("{GONE}{}", image.hex())))
            {
                tracing::warn!(%error, "an unused image could not be removed");
            }
            keep
        });
    }
}

/// Removes the files of images that were forgotten.
pub(super) fn remove_gone(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(GONE) {
            let _left = remove_tree(&entry.path());
        }
    }
    Ok(())
}

impl Programs {
    fn text(&self) -> String {
        let start = self.start.map_or_else(|| "-".to_owned(), |start| start.to_string());
        let by_path = self.by_path.iter().map(|(path, digest)| format!("{digest} {path}\n"));
        format!("{start}\n{}", by_path.collect::<String>())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let start = match lines.next()? {
            "-" => None,
            digest => Some(digest.parse().ok()?),
        };
        let by_path = lines.map(|line| {
            let (digest, path) = line.split_once(' ')?;
            Some((path.to_owned(), digest.parse().ok()?))
        });
        Some(Self { start, by_path: by_path.collect::<Option<_>>()? })
    }
}

const ROOT: &str = "root";
const MODULE: &str = "module.wasm";
const CONFIG: &str = "config";
const PROGRAMS: &str = "programs";
const PART: &str = "part-";
const GONE: &str = "gone-";
/// What modules end in.
const SUFFIX: &str = ".wasm";
/// Modules that a message names.
const NAMED_MAX: usize = 5;
#[cfg(test)]
mod tests;

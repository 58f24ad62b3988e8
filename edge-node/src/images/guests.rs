//! Images for WASM that are more than a module: their files, as guests see them at `/`, and which modules are among these.
//!
//! ```text
//! guest-files/HEX/root         the files, by the digest of the image
//! guest-files/HEX/module.wasm  the module of an artifact, which is none of its files
//! guest-files/HEX/programs     what the image starts, or `-`; then digest and path of each module among the files
//! guest-files/part-N, gone-N   what is put together or removed; goes when the folder is opened
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read as _, Write as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use dunlin_layers::{Bounds, Compression, UnpackError, merge, remove_tree};
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX};
use dunlin_registry::{layer::Layer, media};
use sha2::{Digest as _, Sha256};

use crate::folders;

/// An image whose files are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GuestImage {
    folder: PathBuf,
    programs: Programs,
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

/// What an image for WASM consists of, in files.
#[derive(Debug)]
pub(super) struct Parts {
    /// The module of an artifact.
    pub(super) module: Option<(PathBuf, Digest)>,
    /// Archives with files, the lowest first.
    pub(super) layers: Vec<Layer>,
    /// What the image says that it starts.
    pub(super) program: Option<String>,
}

/// An image that was put together.
#[derive(Debug)]
pub(super) enum Staged {
    /// It is a module and nothing else; where that lies, for as long as this is kept.
    Module { file: PathBuf, digest: Digest, _folder: tempfile::TempDir },
    /// It has files.
    Guest(StagedGuest),
}

/// Files that have no name yet; they go with it.
#[derive(Debug)]
pub(super) struct StagedGuest {
    folder: tempfile::TempDir,
    programs: Programs,
}

/// Why an image was not put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    /// A layer is none, too large, or there to do harm; or no module is in it.
    #[error("{0}")]
    Layers(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl GuestImage {
    /// What a container sees at `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join(ROOT)
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
                    known.insert(image, Arc::new(GuestImage { folder: path, programs }));
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
        self.known.insert(image, Arc::new(GuestImage { folder, programs: staged.programs.clone() }));
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

/// Puts an image together in `folder`. It takes its time.
///
/// # Errors
/// When its layers cannot be laid over each other, there is no module in it, or the disk fails.
pub(super) fn stage(folder: &Path, parts: &Parts) -> Result<Staged, StageError> {
    let staged = tempfile::Builder::new().prefix(PART).tempdir_in(folder)?;
    let root = staged.path().join(ROOT);
    let mut layers = Vec::new();
    for layer in &parts.layers {
        layers.push((fs::File::open(&layer.file)?, compression(layer.compression)));
    }
    merge(&mut layers, &root, BOUNDS).map_err(stage_error)?;
    let Files { mut programs, others } = look_at(&root, parts.program.as_deref())?;
    let wanted = parts.program.as_deref().and_then(|program| normal(Path::new(program)));
    programs.start = match (&parts.module, &wanted, programs.by_path.len()) {
        (Some((_, digest)), ..) => Some(*digest),
        (None, Some(path), _) => programs.by_path.get(path).copied(),
        (None, None, 1) => programs.by_path.values().next().copied(),
        (None, None, _) => None,
    };
    if parts.module.is_none() && programs.by_path.is_empty() {
        return Err(StageError::Layers("there is no WASM module in it".to_owned()));
    }
    if let (None, Some(digest), [path]) =
        (&parts.module, programs.start, &programs.by_path.keys().collect::<Vec<_>>()[..])
        && others == 0
    {
        let file = root.join(path.trim_start_matches('/'));
        return Ok(Staged::Module { file, digest, _folder: staged });
    }
    if let Some((module, _)) = &parts.module {
        fs::copy(module, staged.path().join(MODULE))?;
        fs::File::open(staged.path().join(MODULE))?.sync_all()?;
    }
    let mut file = fs::File::create_new(staged.path().join(PROGRAMS))?;
    file.write_all(programs.text().as_bytes())?;
    file.sync_all()?;
    folders::flush(staged.path())?;
    Ok(Staged::Guest(StagedGuest { folder: staged, programs }))
}

/// What is in a folder.
#[derive(Default)]
struct Files {
    programs: Programs,
    /// Whatever else has a name, but for folders.
    others: usize,
}

/// Finds the modules: by their names, and the one that the image starts, whatever it is called.
fn look_at(root: &Path, program: Option<&str>) -> Result<Files, StageError> {
    let program = program.and_then(|program| normal(Path::new(program)));
    let mut found = Files::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).ok().and_then(normal);
            let is_one = |name: &String| name.ends_with(SUFFIX) || program.as_ref() == Some(name);
            let module = match name.filter(is_one) {
                Some(name) if kind.is_file() => digest_of(&path)?.map(|digest| (name, digest)),
                _ => None,
            };
            match module {
                Some((name, digest)) if found.programs.by_path.len() < PROGRAMS_MAX => {
                    found.programs.by_path.insert(name, digest);
                }
                Some(_) => {
                    return Err(StageError::Layers(format!("it has more than {PROGRAMS_MAX} WASM modules")));
                }
                None => found.others += 1,
            }
        }
    }
    Ok(found)
}

/// Of a module; `None` for something else, or one that is larger than a module may be.
fn digest_of(path: &Path) -> io::Result<Option<Digest>> {
    let mut file = fs::File::open(path)?;
    let mut magic = [0; 4];
    if file.metadata()?.len() > MODULE_BYTES_MAX || file.read_exact(&mut magic).is_err() || magic != *b"\0asm"
    {
        return Ok(None);
    }
    let (mut hash, mut chunk) = (Sha256::new_with_prefix(magic), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Some(Digest::from_bytes(hash.finalize().into()))),
            count => hash.update(&chunk[..count]),
        }
    }
}

/// A path from the root of the image; `None` for one that leads out of it, or is no text.
fn normal(path: &Path) -> Option<String> {
    let mut normal = String::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => {
                normal.push('/');
                normal.push_str(part.to_str().filter(|part| !part.contains('\n'))?);
            }
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!normal.is_empty()).then_some(normal)
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

fn stage_error(error: UnpackError) -> StageError {
    match error {
        UnpackError::Write { source, .. } => StageError::Disk(source),
        other => StageError::Layers(other.to_string()),
    }
}

const fn compression(compression: media::Compression) -> Compression {
    match compression {
        media::Compression::None => Compression::None,
        media::Compression::Gzip => Compression::Gzip,
        media::Compression::Zstd => Compression::Zstd,
    }
}

const ROOT: &str = "root";
const MODULE: &str = "module.wasm";
const PROGRAMS: &str = "programs";
const PART: &str = "part-";
const GONE: &str = "gone-";
/// What modules end in.
const SUFFIX: &str = ".wasm";
/// What an image for WASM may unpack to: a language with its whole library, and then some.
const BOUNDS: Bounds = Bounds { bytes_max: 4 << 30, entries_max: 200_000 };
/// Modules of one image.
const PROGRAMS_MAX: usize = 256;
/// Modules that a message names.
const NAMED_MAX: usize = 5;
/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;

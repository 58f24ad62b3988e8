//! Puts an image for WASM together out of its parts, in a folder that has no name yet.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use dunlin_layers::{Bounds, Compression, UnpackError, merge};
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX};
use dunlin_registry::{
    image::{Execution, ImageConfig},
    layer::Layer,
    media,
};
use sha2::{Digest as _, Sha256};

use super::{CONFIG, MODULE, PART, PROGRAMS, Programs, ROOT, SUFFIX};
use crate::folders;

/// What an image for WASM consists of, in files.
#[derive(Debug)]
pub(in crate::images) struct Parts {
    /// The module of an artifact.
    pub(in crate::images) module: Option<(PathBuf, Digest)>,
    /// Archives with files, the lowest first.
    pub(in crate::images) layers: Vec<Layer>,
    /// The config of an ordinary image, as it is written.
    pub(in crate::images) config: Option<Bytes>,
}

/// An image that was put together.
#[derive(Debug)]
pub(in crate::images) enum Staged {
    /// It is a module and nothing else; where that lies, for as long as this is kept.
    Module { file: PathBuf, digest: Digest, _folder: tempfile::TempDir },
    /// It has files.
    Guest(StagedGuest),
}

/// Files that have no name yet; they go with it.
#[derive(Debug)]
pub(in crate::images) struct StagedGuest {
    pub(super) folder: tempfile::TempDir,
    pub(super) programs: Programs,
    pub(super) execution: Execution,
}

/// Why an image was not put together.
#[derive(Debug, thiserror::Error)]
pub(in crate::images) enum StageError {
    /// A layer is none, too large, or there to do harm; or no module is in it.
    #[error("{0}")]
    Layers(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Puts an image together in `folder`. It takes its time.
///
/// # Errors
/// When its layers cannot be laid over each other, there is no module in it, or the disk fails.
pub(in crate::images) fn stage(folder: &Path, parts: &Parts) -> Result<Staged, StageError> {
    let staged = tempfile::Builder::new().prefix(PART).tempdir_in(folder)?;
    let root = staged.path().join(ROOT);
    let mut layers = Vec::new();
    for layer in &parts.layers {
        layers.push((fs::File::open(&layer.file)?, compression(layer.compression)));
    }
    merge(&mut layers, &root, BOUNDS).map_err(stage_error)?;
    let execution = execution(parts.config.as_deref());
    let Files { mut programs, others } = look_at(&root, execution.program())?;
    let wanted = execution.program().and_then(|program| normal(Path::new(program)));
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
        && says_nothing_more(&execution)
    {
        let file = root.join(path.trim_start_matches('/'));
        return Ok(Staged::Module { file, digest, _folder: staged });
    }
    if let Some((module, _)) = &parts.module {
        fs::copy(module, staged.path().join(MODULE))?;
        fs::File::open(staged.path().join(MODULE))?.sync_all()?;
    }
    if let Some(config) = &parts.config {
        write(&staged.path().join(CONFIG), config)?;
    }
    write(&staged.path().join(PROGRAMS), programs.text().as_bytes())?;
    folders::flush(staged.path())?;
    Ok(Staged::Guest(StagedGuest { folder: staged, programs, execution }))
}

/// How an image says that it runs.
pub(super) fn execution(config: Option<&[u8]>) -> Execution {
    let parsed = config.and_then(|config| ImageConfig::parse(config).ok());
    parsed.map(|config| config.config).unwrap_or_default()
}

/// Whether an image says no more than every image does that somebody builds: what it starts, and a search path.
fn says_nothing_more(execution: &Execution) -> bool {
    let Execution { entrypoint, cmd, env, working_dir, .. } = execution;
    let is_root = working_dir.as_deref().is_none_or(|folder| matches!(folder, "" | "/"));
    let is_path = |variable: &String| variable.starts_with("PATH=");
    entrypoint.iter().chain(cmd).flatten().count() <= 1 && is_root && env.iter().flatten().all(is_path)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
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

/// What an image for WASM may unpack to: a language with its whole library, and then some.
const BOUNDS: Bounds = Bounds { bytes_max: 4 << 30, entries_max: 200_000 };
/// Modules of one image.
const PROGRAMS_MAX: usize = 256;
/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;

//! Modules as programs: compiled once per module file and configuration, loaded once while any container uses them.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use dunlin_wasm_host::{Host, LoadError, Program};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::compile::{CompileModuleError, Compiler};

/// The programs of one host.
#[derive(Debug)]
pub(crate) struct Modules {
    host: Host,
    compiler: Compiler,
    /// One slot per module file in use. Its own lock makes containers of one module wait for one compilation.
    slots: Mutex<HashMap<PathBuf, Arc<Slot>>>,
    compiling: Semaphore,
    attempts: AtomicU64,
}

type Slot = AsyncMutex<Weak<Program>>;

/// Why a module is not a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// It cannot run here, now or later.
    #[error("{0}")]
    CannotRun(String),
    /// The host could not do its part.
    #[error("{0}")]
    Host(String),
}

impl Modules {
    pub(crate) fn new(host: Host, compiler: Compiler) -> Self {
        let (slots, attempts) = (Mutex::default(), AtomicU64::new(0));
        Self { host, compiler, slots, compiling: Semaphore::new(COMPILING_MAX), attempts }
    }

    /// The program of a module file, which is immutable and named by its digest.
    pub(crate) async fn program(&self, module: &Path) -> Result<Arc<Program>, ModuleError> {
        let slot = self.slot(module);
        let mut loaded = slot.lock().await;
        if let Some(program) = loaded.upgrade() {
            return Ok(program);
        }
        let program = Arc::new(self.load_or_compile(module).await?);
        *loaded = Arc::downgrade(&program);
        Ok(program)
    }

    fn slot(&self, module: &Path) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(module) {
            return Arc::clone(slot);
        }
        // A slot that nobody waits for and whose program is gone has served.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|program| program.strong_count() > 0)
        });
        let slot = Arc::new(Slot::default());
        slots.insert(module.to_owned(), Arc::clone(&slot));
        slot
    }

    async fn load_or_compile(&self, module: &Path) -> Result<Program, ModuleError> {
        let artifact = with_suffix(module, &format!(".{}.cwasm", self.host.artifact_key()));
        make_private(module)?;
        if is_ours(&artifact) {
            match self.load(&artifact).await {
                // Damaged, or of a machine that differs in what the key does not hold: made anew below.
                Err(LoadError::Artifact(reason)) => tracing::warn!(reason, "a compiled module is made anew"),
                loaded => return loaded.map_err(unusable),
            }
        }
        self.compile(module, &artifact).await?;
        self.load(&artifact).await.map_err(unusable)
    }

    /// Off the guests' threads, since it reads a file.
    async fn load(&self, artifact: &Path) -> Result<Program, LoadError> {
        let (host, artifact) = (self.host.clone(), artifact.to_owned());
        let loaded = tokio::task::spawn_blocking(move || host.load(&artifact)).await;
        loaded.unwrap_or_else(|failed| Err(LoadError::Artifact(failed.to_string())))
    }

    async fn compile(&self, module: &Path, artifact: &Path) -> Result<(), ModuleError> {
        let _permit = self.compiling.acquire().await.expect("never closed");
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let partial = with_suffix(artifact, &format!(".{}-{attempt}.part", std::process::id()));
        self.compiler.run(module, &partial).await.map_err(|error| match error {
            CompileModuleError::Module(message) => ModuleError::CannotRun(message),
            CompileModuleError::Host(_) => ModuleError::Host(error.to_string()),
        })?;
        fs::rename(&partial, artifact)
            .map_err(|error| ModuleError::Host(format!("failed to keep the compiled module: {error}")))
    }
}

fn unusable(error: LoadError) -> ModuleError {
    match error {
        LoadError::Artifact(_) => ModuleError::Host(error.to_string()),
        _ => ModuleError::CannotRun(error.to_string()),
    }
}

/// Artifacts are native code: nobody else may write where they are kept.
fn make_private(module: &Path) -> Result<(), ModuleError> {
    let folder = module.parent().unwrap_or_else(|| Path::new("."));
    let failed =
        |reason: String| ModuleError::Host(format!("`{}` is no place for code: {reason}", folder.display()));
    let metadata = fs::metadata(folder).map_err(|error| failed(error.to_string()))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed("it belongs to another user".to_owned()));
    }
    let mode = metadata.mode();
    if mode & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    let private = fs::Permissions::from_mode(mode & !WRITABLE_BY_OTHERS);
    fs::set_permissions(folder, private).map_err(|error: io::Error| failed(error.to_string()))
}

/// Whether a file is a compiled module that this user wrote.
fn is_ours(artifact: &Path) -> bool {
    fs::symlink_metadata(artifact).is_ok_and(|metadata| {
        metadata.is_file()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & WRITABLE_BY_OTHERS == 0
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Permission bits of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Compilations at once; each may take a core and much memory.
const COMPILING_MAX: usize = 1;

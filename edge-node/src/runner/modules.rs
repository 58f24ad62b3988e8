//! Modules as programs: code that was checked, or compiled here where there is none, loaded once while any container uses it.

mod checked;
mod memory;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use dunlin_compiler::{CompileError, Compiler};
use dunlin_wasm_host::{Host, LoadError, Program};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use self::{checked::Checked, memory::has_memory_for};
use super::own_compiler;
use crate::compiled::{CompileMode, CompiledFiles, with_suffix};

/// What is done about a module of which there is no code.
#[derive(Clone, Debug)]
pub enum OwnCode {
    /// It is compiled here.
    Compiled(Compiler),
    /// It does not run.
    None,
}

impl OwnCode {
    /// It is compiled by this very program, or does not run where that has no compiler.
    pub fn of_this_program() -> Self {
        own_compiler().map_or(Self::None, Self::Compiled)
    }

    const fn mode(&self) -> CompileMode {
        match self {
            Self::Compiled(_) => CompileMode::Auto,
            Self::None => CompileMode::Never,
        }
    }
}

/// The programs of one host.
#[derive(Debug)]
pub(crate) struct Modules {
    host: Host,
    own: OwnCode,
    checked: Arc<Checked>,
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
    pub(crate) fn new(host: Host, own: OwnCode) -> Self {
        let (slots, attempts) = (Mutex::default(), AtomicU64::new(0));
        let compiling = Semaphore::new(COMPILING_MAX);
        Self { host, own, checked: Arc::default(), slots, compiling, attempts }
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
        let target = self.host.target().key();
        let files = CompiledFiles::of(module, &target);
        make_private(module)?;
        let refused = match self.load(&files).await {
            Ok(loaded) => return Ok(loaded),
            Err(NotLoaded::Unusable(error)) => return Err(error),
            Err(NotLoaded::Missing) => format!("there is no compiled module for {target} here"),
            Err(NotLoaded::Refused(reason)) => {
                // Never to be tried again; the coordinator is asked for another when the container is started again.
                files.remove();
                tracing::warn!(module = %module.display(), reason, "refused a compiled module");
                format!("refused the compiled module: {reason}")
            }
        };
        self.compile(module, &files, &target).await.map_err(|error| error.after(&refused))?;
        match self.load(&files).await {
            Ok(program) => Ok(program),
            Err(NotLoaded::Unusable(error)) => Err(error),
            Err(NotLoaded::Missing) => Err(ModuleError::Host("the compiled module is gone".to_owned())),
            Err(NotLoaded::Refused(reason)) => Err(ModuleError::Host(reason)),
        }
    }

    /// Checks and maps code, off the guests' threads, since that reads files.
    async fn load(&self, files: &CompiledFiles) -> Result<Program, NotLoaded> {
        let (host, files, checked) = (self.host.clone(), files.clone(), Arc::clone(&self.checked));
        let mode = self.own.mode();
        let loaded = tokio::task::spawn_blocking(move || {
            if !checked.pass(&files, &host.target().key(), mode)? {
                return Err(NotLoaded::Missing);
            }
            let program = host.load(&files.code).map_err(|error| match error {
                LoadError::Artifact(reason) => NotLoaded::Refused(reason),
                error => NotLoaded::Unusable(ModuleError::CannotRun(error.to_string())),
            })?;
            if let Err(error) = files.remove_others() {
                tracing::warn!(%error, "code of earlier versions could not be removed");
            }
            Ok(program)
        });
        loaded.await.unwrap_or_else(|failed| Err(NotLoaded::Refused(failed.to_string())))
    }

    async fn compile(&self, module: &Path, files: &CompiledFiles, target: &str) -> Result<(), ModuleError> {
        let OwnCode::Compiled(compiler) = &self.own else {
            return Err(ModuleError::Host("this node does not compile modules (--compile never)".to_owned()));
        };
        let _permit = self.compiling.acquire().await.expect("never closed");
        has_memory_for(module).map_err(ModuleError::Host)?;
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let partial = with_suffix(&files.code, &format!(".{}-{attempt}.new", std::process::id()));
        compiler.run(module, &partial, target).await.map_err(|error| match error {
            CompileError::Module(message) => ModuleError::CannotRun(message),
            CompileError::Host(_) => ModuleError::Host(error.to_string()),
        })?;
        let (checked, files) = (Arc::clone(&self.checked), files.clone());
        let kept = tokio::task::spawn_blocking(move || checked.keep_own(&files, &partial)).await;
        let kept = kept.unwrap_or_else(|failed| Err(io::Error::other(failed)));
        kept.map_err(|error| ModuleError::Host(format!("failed to keep the compiled module: {error}")))
    }
}

/// Why there is no program yet.
enum NotLoaded {
    Missing,
    /// Not to be run, or damaged.
    Refused(String),
    /// The module itself is at fault.
    Unusable(ModuleError),
}

impl ModuleError {
    /// The same, with why it was compiled at all where that tells more than the failure.
    fn after(self, refused: &str) -> Self {
        match self {
            Self::Host(reason) => Self::Host(format!("{refused}, and {reason}")),
            error @ Self::CannotRun(_) => error,
        }
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

/// Permission bits of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Compilations at once; each may take a core and much memory.
const COMPILING_MAX: usize = 1;

//! Compiles modules for the machines of nodes, once for each pair, before nodes ask where it can.
//!
//! The work is done by processes of a command that this one was given; nothing here knows wasmtime. What comes out is signed and kept
//! in the data folder. `docs/design/compiling.md`.

mod compilers;
mod folder;
mod foreign;
mod jobs;
mod own;
mod targets;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_compiler::{CompileError, Compiler, Cost};
use dunlin_link::{
    Digest,
    assignment::Desired,
    compiled::{CompileRefusal, SignedCompiled},
    limits::TARGET_BYTES_MAX,
};
use tokio::{fs::File, sync::Semaphore, task::spawn_blocking};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{artifacts::Artifacts, pki::CodeSigner};

use self::{
    compilers::Compilers,
    folder::Folder,
    foreign::{Foreign, Registries},
    jobs::Jobs,
    targets::Targets,
};

/// The coordinator's compiling; cheap to clone.
#[derive(Clone, Debug)]
pub struct Compiling {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    artifacts: Artifacts,
    foreign: Foreign,
    folder: Folder,
    signer: CodeSigner,
    compilers: Compilers,
    targets: Targets,
    jobs: Mutex<Jobs>,
    turns: Semaphore,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A module and the kind of machine that it is compiled for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) module: Digest,
    pub(crate) target: String,
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// In a word.
    pub reason: CompileRefusal,
    /// For a person.
    pub message: String,
}

/// How a wish ended.
pub type Outcome = Result<Arc<SignedCompiled>, Refused>;

impl Compiling {
    /// Opens what was compiled before. Without a compiler only that is served, and without registries only what was pushed here is
    /// compiled. With registries comes who is told of images that turn out to be for Linux.
    ///
    /// # Errors
    /// When the folders cannot be made or read.
    pub(crate) fn open(
        data_folder: &Path,
        artifacts: Artifacts,
        signer: CodeSigner,
        (compiler, registries): (Option<Compiler>, Option<Registries>),
    ) -> io::Result<Self> {
        let inner = Inner {
            foreign: Foreign::new(registries, artifacts.clone()),
            artifacts,
            folder: Folder::open(data_folder)?,
            signer,
            compilers: Compilers::open(data_folder, compiler)?,
            targets: Targets::default(),
            jobs: Mutex::default(),
            turns: Semaphore::new(COMPILING_MAX),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Has a module compiled if it is not yet; nobody waits for it.
    pub(crate) fn want(&self, module: Digest, target: &str) {
        if is_target(target) {
            self.inner.targets.note(target);
            let wanted = Wanted { module, target: target.to_owned() };
            // What comes of it is told to whoever asks.
            let _ = self.jobs().begin(&wanted, || self.start(wanted.clone()));
        }
    }

    /// The same for the images of other registries in a node's set.
    pub(crate) fn want_foreign(&self, desired: &Desired, target: &str) {
        let images = self.inner.foreign.images(desired);
        if images.is_empty() {
            return;
        }
        let desired = Arc::new(desired.clone());
        for image in images {
            let (this, desired, target) = (self.clone(), Arc::clone(&desired), target.to_owned());
            self.spawn(async move {
                // Why there is none is told to whoever asks.
                if let Ok(module) = this.inner.foreign.module_of(&image, &desired).await {
                    this.want(module, &target);
                }
            });
        }
    }

    /// The code of a module that an image of another registry in a node's set holds.
    pub(crate) async fn get_foreign(&self, desired: &Desired, module: Digest, target: &str) -> Outcome {
        let refused = |message: String| Refused { reason: CompileRefusal::NotHere, message };
        let images = self.inner.foreign.images(desired);
        if images.is_empty() {
            return Err(refused(format!("no pod of this node runs {module}")));
        }
        match self.inner.foreign.holds(&images, desired, module).await {
            Ok(true) => self.get(module, target).await,
            Ok(false) => Err(refused(format!("no image that a pod of this node names holds {module}"))),
            Err(why) => Err(refused(format!("the coordinator cannot pull the image: {why}"))),
        }
    }

    /// The code of a module, when it is there; waits for as long as it is being compiled.
    pub(crate) async fn get(&self, module: Digest, target: &str) -> Outcome {
        if !is_target(target) {
            return Err(no_compiler(target));
        }
        self.inner.targets.note(target);
        let wanted = Wanted { module, target: target.to_owned() };
        let begun = self.jobs().begin(&wanted, || self.start(wanted.clone()));
        let mut outcome = match begun {
            Ok(outcome) => return outcome,
            Err(running) => running,
        };
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.unwrap_or_else(|| Err(failed("the coordinator is stopping".to_owned())))
    }

    /// Code that [`Compiling::get`] told of, placed at an offset.
    pub(crate) async fn open_code(&self, signed: &SignedCompiled, offset: u64) -> io::Result<File> {
        let wanted = Wanted { module: signed.record.module, target: signed.record.target.clone() };
        let opened = self.inner.folder.open_code(&wanted, offset).await;
        if opened.is_err() {
            // Somebody removed it; the next wish finds that out.
            self.jobs().forget(&wanted);
        }
        opened
    }

    async fn shut_down(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Begins a job; its outcome is told by what is returned.
    fn start(&self, wanted: Wanted) -> tokio::sync::watch::Receiver<Option<Outcome>> {
        let (tell, told) = tokio::sync::watch::channel(None);
        let this = self.clone();
        self.spawn(async move {
            let outcome = this.make(&wanted).await;
            if let Err(refused) = &outcome {
                let Wanted { module, target } = &wanted;
                warn!(%module, target, reason = %refused, "no code of a module");
            }
            this.jobs().ended(&wanted, &outcome);
            tell.send_replace(Some(outcome));
        });
        told
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            // Dropping a compilation ends its process.
            stop.run_until_cancelled(work).await;
        });
    }

    async fn make(&self, wanted: &Wanted) -> Outcome {
        if let Some(signed) = self.stored(wanted).await? {
            return Ok(signed);
        }
        let compiler = self.inner.compilers.of(&wanted.target).await;
        let compiler = compiler.ok_or_else(|| no_compiler(&wanted.target))?;
        let module = self.inner.artifacts.module_path(wanted.module);
        if !tokio::fs::try_exists(&module).await.unwrap_or(false) {
            let message = format!("the coordinator does not have {}", wanted.module);
            return Err(Refused { reason: CompileRefusal::NotHere, message });
        }
        let _turn = self.inner.turns.acquire().await.expect("never closed");
        let new = self.inner.folder.new_file();
        let cost = compiler.run(&module, new.path(), &wanted.target).await.map_err(refused)?;
        let (this, kept) = (self.clone(), wanted.clone());
        let signed = blocking(move || this.inner.folder.keep(&kept, new, &this.inner.signer)).await?;
        tell(wanted, &signed, cost);
        self.sweep().await;
        Ok(Arc::new(signed))
    }

    /// Code of an earlier time, if it is whole and vouched for by the key of now.
    async fn stored(&self, wanted: &Wanted) -> Result<Option<Arc<SignedCompiled>>, Refused> {
        let (this, wanted) = (self.clone(), wanted.clone());
        let found = blocking(move || this.inner.folder.find(&wanted, &this.inner.signer)).await?;
        Ok(found.map(Arc::new))
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Each of its calls leaves it consistent.
        self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(wanted: &Wanted, signed: &SignedCompiled, cost: Cost) {
    let Wanted { module, target } = wanted;
    let Cost { took, peak_bytes } = cost;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    info!(%module, target, took_ms, peak_bytes, code_bytes = signed.record.bytes, "compiled a module");
}

/// Whether a text may be a key: it becomes a folder's name.
fn is_target(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= TARGET_BYTES_MAX
        && text.bytes().all(is_fine)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn no_compiler(target: &str) -> Refused {
    let shown: String = target.chars().take(TARGET_BYTES_MAX).collect();
    let message = format!("the coordinator has no compiler for machines of the kind `{shown}`");
    Refused { reason: CompileRefusal::Target, message }
}

fn failed(message: String) -> Refused {
    Refused { reason: CompileRefusal::Failed, message }
}

fn refused(error: CompileError) -> Refused {
    match error {
        CompileError::Module(message) => Refused { reason: CompileRefusal::Module, message },
        CompileError::Host(_) => failed(error.to_string()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| failed(format!("the coordinator cannot keep compiled code: {error}")))
}

/// Compilations at a time; each may take a core and 2 GiB.
const COMPILING_MAX: usize = 1;

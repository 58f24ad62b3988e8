//! Sees to it that the code of a module is here before a container of it starts.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_edge_node_core::{
    launch::{ImageDefaults, LinuxMaterial},
    node::{Preparation, Prepared, RunKey},
    volumes::{MountError, PartSetup, Setup},
};
use dunlin_layers::Layers;
use dunlin_link::Digest;
use dunlin_registry::image::Execution;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Agent,
    clerk::{Guest, Program},
};
use crate::{
    compiled::{CompileMode, CompiledFiles},
    images::{GuestImage, ImageContent, LinuxImage},
    session::{NoCode, SessionHandle},
};

/// Where code comes from.
#[derive(Clone, Debug)]
pub(crate) struct Codes {
    pub(crate) session: SessionHandle,
    pub(crate) mode: CompileMode,
    pub(crate) target: RunnerTarget,
}

/// The target that the node's runner runs code of: this version's, or that of the earlier version whose runner goes on. `None` where
/// nothing is compiled for machines like this one.
#[derive(Clone, Debug)]
pub(crate) struct RunnerTarget {
    own: Option<String>,
    now: Arc<Mutex<Option<String>>>,
}

/// A container that waits for its code; none when the code is fetched ahead.
type Waiting = Option<(Preparation, Guest)>;

/// How far a fetch of code has come.
#[derive(Debug)]
pub(super) enum CodeStep {
    /// It has ended.
    Ended(Waiting, Seen),
    /// A container has waited so long that a person wonders.
    Late { run: RunKey, target: String },
    /// One has not.
    InTime,
}

/// Whether a container can start, for all that code has to do with it.
#[derive(Debug)]
pub(super) enum Seen {
    /// The code is here, or the runner may make it.
    Here,
    /// The module is at fault, in words.
    CannotRun(String),
    /// There is none yet, in words.
    Nowhere(String),
}

impl RunnerTarget {
    /// `own` is what a runner of this version runs.
    pub(crate) fn new(own: Option<String>) -> Self {
        Self { now: Arc::new(Mutex::new(own.clone())), own }
    }

    /// A runner said what it runs.
    pub(crate) fn set(&self, target: String) {
        *self.lock() = Some(target);
    }

    /// There is no runner; the next one is of this version.
    pub(crate) fn reset(&self) {
        self.lock().clone_from(&self.own);
    }

    fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // A text is replaced whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Codes {
    /// The code's files, if nothing is left to do about them.
    fn missing(&self, module: &Path) -> Option<(String, CompiledFiles)> {
        let target = self.target.get()?;
        let files = CompiledFiles::of(module, &target);
        (!files.are_here(self.mode)).then_some((target, files))
    }

    /// Has the coordinator's code brought here, or finds that the runner may go on without; else says in words why the container
    /// cannot start.
    async fn see_to(&self, digest: Digest, module: &Path) -> Seen {
        let Some((target, files)) = self.missing(module) else { return Seen::Here };
        match self.session.fetch_compiled(digest, &target, (&files, self.mode)).await {
            Ok(()) => Seen::Here,
            Err(NoCode::Module(reason)) => {
                Seen::CannotRun(format!("the module cannot be compiled: {reason}"))
            }
            Err(no_code) if self.mode == CompileMode::Auto => {
                tracing::info!(%digest, reason = %no_code, "no compiled code from the coordinator; the runner compiles the module");
                Seen::Here
            }
            Err(no_code) => Seen::Nowhere(format!(
                "there is no compiled code of the module for {target}, and this node does not compile (--compile never): {no_code}"
            )),
        }
    }
}

impl Agent {
    /// Prepares a run, once its code is here.
    pub(super) fn prepare(&mut self, mut preparation: Preparation) {
        if let Err(error) = self.find_image_volumes(&mut preparation.setup) {
            let now = self.clock.now();
            return self.core.handle_prepared(preparation.run, Prepared::Unmounted(error), now);
        }
        let Some(digest) = preparation.run.module else {
            return self.clerk.prepare(preparation, Program::Module(Guest::default()));
        };
        let (digest, root, defaults) = match self.images.content_of(&digest) {
            ImageContent::Module(module) => (module, None, ImageDefaults::default()),
            ImageContent::Guest(image) => match self.program_of(&image, &preparation) {
                Ok(module) => (module, Some(image.root()), image_defaults(image.execution().clone())),
                Err(why) => {
                    let now = self.clock.now();
                    return self.core.handle_prepared(preparation.run, Prepared::Failed(why), now);
                }
            },
            ImageContent::Linux(image) => {
                let material = Box::new(linux_material(&image, self.images.layers()));
                return self.clerk.prepare(preparation, Program::Linux(material));
            }
        };
        let guest = Guest { module: self.modules.path(&digest), root, image: Box::new(defaults) };
        let Some((target, _)) = self.codes.missing(&guest.module) else {
            return self.clerk.prepare(preparation, Program::Module(guest));
        };
        let (codes, run) = (self.codes.clone(), preparation.run.clone());
        let (waits, over) = oneshot::channel::<()>();
        self.code_waits.spawn(async move {
            let seen = codes.see_to(digest, &guest.module).await;
            drop(waits);
            CodeStep::Ended(Some((preparation, guest)), seen)
        });
        self.code_waits.spawn(async move {
            match timeout(COMPILING_TOLD_AFTER, over).await {
                Ok(_ended) => CodeStep::InTime,
                Err(_late) => CodeStep::Late { run, target },
            }
        });
    }

    /// The module that a container runs of an image with files, put among the others.
    fn program_of(&mut self, image: &GuestImage, preparation: &Preparation) -> Result<Digest, String> {
        let container =
            preparation.pod.containers().find(|container| container.name == preparation.container);
        let command = container.map(|container| container.command.as_slice()).unwrap_or_default();
        let (module, file) = image.program(command)?;
        let used = self.clock.now().wall.0.unsigned_abs();
        if !self.modules.has(&module) {
            let bytes = self.modules.take(&module, &file);
            let bytes =
                bytes.map_err(|error| format!("failed to take the module out of its image: {error}"))?;
            self.modules.insert(module, bytes, used);
        }
        self.modules.touch(&module, used);
        Ok(module)
    }

    /// Finds out where the layers of images are that are volumes.
    fn find_image_volumes(&self, setup: &mut Setup) -> Result<(), MountError> {
        for mount in &mut setup.mounts {
            let PartSetup::Image { name, digest, layers, .. } = &mut mount.part else { continue };
            *layers = match self.images.content_of(digest) {
                ImageContent::Linux(image) => layer_paths(&image, self.images.layers()),
                ImageContent::Guest(image) => vec![image.root().to_string_lossy().into_owned()],
                ImageContent::Module(_) => {
                    let why =
                        format!("{digest} is a WASM module, or not here; an image of files can be mounted");
                    return Err(MountError { volume: name.clone(), why });
                }
            };
        }
        Ok(())
    }

    /// Begins to fetch code while the module itself is being fetched.
    pub(super) fn fetch_code(&mut self, digest: Digest) {
        let (codes, module) = (self.codes.clone(), self.modules.path(&digest));
        self.code_waits.spawn(async move {
            // Whoever starts a container asks again, and is told why there is none.
            CodeStep::Ended(None, codes.see_to(digest, &module).await)
        });
    }

    pub(super) fn handle_code(&mut self, step: CodeStep) {
        let now = self.clock.now();
        let (preparation, guest, seen) = match step {
            CodeStep::Late { run, target } => return self.core.handle_compiling(&run, &target, now),
            CodeStep::Ended(Some((preparation, guest)), seen) => (preparation, guest, seen),
            CodeStep::Ended(None, _) | CodeStep::InTime => return,
        };
        let prepared = match seen {
            Seen::Here => return self.clerk.prepare(preparation, Program::Module(guest)),
            Seen::CannotRun(reason) => Prepared::CannotRun(reason),
            Seen::Nowhere(reason) => Prepared::NoCode(reason),
        };
        self.core.handle_prepared(preparation.run, prepared, now);
    }
}

fn layer_paths(image: &LinuxImage, layers: &Layers) -> Vec<String> {
    image.layers.iter().map(|layer| layers.path(layer).to_string_lossy().into_owned()).collect()
}

/// What a Linux image gives to a run of it.
fn linux_material(image: &LinuxImage, layers: &Layers) -> LinuxMaterial {
    let (layers, image) = (layer_paths(image, layers), image_defaults(image.config.clone()));
    LinuxMaterial { layers, image, ..LinuxMaterial::default() }
}

/// How an image runs where a pod says nothing else.
fn image_defaults(config: Execution) -> ImageDefaults {
    ImageDefaults {
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        volumes: config.volumes,
        stop_signal: config.stop_signal.unwrap_or_default(),
    }
}

/// How long a container waits for code until that is told: code that is there already is here sooner.
const COMPILING_TOLD_AFTER: Duration = Duration::from_secs(2);

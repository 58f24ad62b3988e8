//! Modules of images that nodes pull from other registries, and of those in the coordinator's own that hold them among files. They are
//! pulled here, too, so that their code is made by the coordinator like that of all others.
//!
//! What an image is, is asked with the credentials of the pod that names it, and what was found counts for whoever shows the same. A
//! node learns nothing of a module but by an image that one of its own pods names.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use dunlin_link::{
    Digest,
    assignment::{AssignedPod, Desired},
    limits::MODULE_BYTES_MAX,
    pod::ConfigKind,
    reference::{Reference, Source},
};
use dunlin_registry::{Client, Keyring, Kind, PullError, Resolved, manifest::Platform};
use tokio::{
    fs::File,
    sync::{OnceCell, Semaphore, mpsc},
    time::timeout,
};
use tracing::{debug, info};

use super::own::Own;
use crate::artifacts::{Artifacts, FREE_BYTES_MIN, UploadError, has_room};

/// Pulls for the sake of compiling.
#[derive(Debug)]
pub(super) struct Foreign {
    /// Without it only the coordinator's own registry is looked at.
    registries: Option<Registries>,
    artifacts: Artifacts,
    looks: Mutex<HashMap<Image, Looks>>,
    pulls: Semaphore,
    /// The turns of each registry that is being pulled from: none holds up the others.
    turns: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Other registries, and who is told of images there that hold no module but something else that runs.
pub(crate) type Registries = (Client, mpsc::Sender<Reference>);

/// An image as some pod names it, and what that pod has to show for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Image {
    reference: String,
    /// The pod's Secrets, by what they hold.
    secrets: Vec<Digest>,
    /// The file that the pod has run of an image with several; none for what the image itself starts.
    program: Option<String>,
}

/// What is known of one image.
#[derive(Clone, Debug)]
struct Looks {
    /// The newest look, which may be under way.
    newest: Arc<Look>,
    /// What it was found to hold: tags move, and nodes are not all asked to look at the same time.
    modules: BTreeSet<Digest>,
}

#[derive(Debug)]
struct Look {
    begun: Instant,
    found: OnceCell<Result<Digest, String>>,
}

/// Why an image's module is not here.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("the module cannot be kept: {0}")]
    Keep(#[from] UploadError),
    #[error("the module cannot be kept: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the coordinator's disk would have less than {FREE_BYTES_MIN} bytes left")]
    NoRoom,
    #[error("the coordinator pulls from no other registry")]
    NotPulled,
    #[error("it was not here within {} s", PULL_TIME_MAX.as_secs())]
    Late,
}

fn of_pod(pod: &AssignedPod) -> impl Iterator<Item = Image> {
    let assignment = &pod.assignment;
    let secrets = assignment.config.iter().filter(|config| config.kind == ConfigKind::Secret);
    let secrets: Vec<_> = secrets.filter_map(|secret| secret.digest).collect();
    let containers = assignment.containers();
    containers.filter_map(move |container| {
        let reference: Reference = container.image.reference.parse().ok()?;
        let digest = container.image.digest;
        // Of its own the coordinator has told what they are.
        let reference = match (reference.is_local(), digest) {
            (true, Some(_)) => Reference { tag: None, digest, ..reference },
            // A file of the node is nobody else's.
            (false, None) if reference.source != Source::Disk => reference,
            _ => return None,
        };
        let program = container.command.first().filter(|program| is_program(program)).cloned();
        Some(Image { reference: reference.to_string(), secrets: secrets.clone(), program })
    })
}

/// Whether a command names a module of its image by path, as nodes take it.
fn is_program(command: &str) -> bool {
    command.starts_with('/') && command.ends_with(".wasm")
}

impl Foreign {
    pub(super) fn new(registries: Option<Registries>, artifacts: Artifacts) -> Self {
        let (looks, turns) = (Mutex::default(), Mutex::default());
        Self { registries, artifacts, looks, pulls: Semaphore::new(PULLS_MAX), turns }
    }

    /// The images that a node's pods name and that may hold modules, but for those of which that is known already.
    pub(super) fn images(&self, desired: &Desired) -> BTreeSet<Image> {
        let images = desired.pods.values().flat_map(of_pod);
        let is_looked_at = |image: &Image| {
            let reference: Option<Reference> = image.reference.parse().ok();
            match reference.filter(Reference::is_local) {
                Some(own) => own.digest.is_some_and(|digest| !self.artifacts.has_module(digest)),
                None => self.registries.is_some(),
            }
        };
        images.filter(is_looked_at).collect()
    }

    /// The module of an image, fetched unless it is here; what was found lately is believed. `objects` holds what the image's Secrets
    /// are.
    pub(super) async fn module_of(&self, image: &Image, desired: &Desired) -> Result<Digest, String> {
        self.look(image, desired, FRESH).await
    }

    /// Whether one of these images holds a module, or else why nothing is known of that. What nobody found so far is looked for now.
    pub(super) async fn holds(
        &self,
        images: &BTreeSet<Image>,
        desired: &Desired,
        module: Digest,
    ) -> Result<bool, String> {
        let is_known =
            |image: &Image| self.looks().get(image).is_some_and(|looks| looks.modules.contains(&module));
        if images.iter().any(is_known) && self.artifacts.has_module(module) {
            return Ok(true);
        }
        let mut failed = None;
        for image in images {
            match self.look(image, desired, AGAIN).await {
                Ok(found) if found == module => return Ok(true),
                Ok(_) => {}
                Err(why) => failed = Some(why),
            }
        }
        failed.map_or(Ok(false), Err)
    }

    /// A look that is younger than `age` and brought something, or that is under way, is everybody's.
    async fn look(&self, image: &Image, desired: &Desired, age: Duration) -> Result<Digest, String> {
        let look = self.newest(image, age);
        let found = look.found.get_or_init(|| self.fetch(image, desired)).await.clone();
        if let Ok(module) = found {
            self.note(image, module);
        }
        found
    }

    fn newest(&self, image: &Image, age: Duration) -> Arc<Look> {
        let mut looks = self.looks();
        if looks.len() >= LOOKS_MAX && !looks.contains_key(image) {
            looks.clear();
        }
        let new = || Arc::new(Look { begun: Instant::now(), found: OnceCell::new() });
        let looks =
            looks.entry(image.clone()).or_insert_with(|| Looks { newest: new(), modules: BTreeSet::new() });
        let serves = match looks.newest.found.get() {
            None => true,
            Some(Ok(module)) => {
                // What a digest names is the same for ever.
                let is_fresh = looks.newest.begun.elapsed() < age || image.reference.contains('@');
                is_fresh && self.artifacts.has_module(*module)
            }
            Some(Err(_)) => looks.newest.begun.elapsed() < FAILURE_LASTS,
        };
        if !serves {
            looks.newest = new();
        }
        Arc::clone(&looks.newest)
    }

    fn note(&self, image: &Image, module: Digest) {
        let mut looks = self.looks();
        let Some(looks) = looks.get_mut(image) else { return };
        if looks.modules.len() >= MODULES_MAX {
            looks.modules.clear();
        }
        looks.modules.insert(module);
    }

    async fn fetch(&self, image: &Image, desired: &Desired) -> Result<Digest, String> {
        // After that nodes go on by themselves, as without a coordinator.
        let fetched = timeout(PULL_TIME_MAX, self.take_turn(image, desired)).await;
        fetched.unwrap_or(Err(FetchError::Late)).map_err(|error| {
            debug!(image = image.reference, %error, "an image cannot be pulled to compile it");
            error.to_string()
        })
    }

    async fn take_turn(&self, image: &Image, desired: &Desired) -> Result<Digest, FetchError> {
        let reference: Reference = image.reference.parse().expect("it was one before");
        let registry = self.registry(&reference.registry);
        let _turn = registry.acquire().await.expect("never closed");
        let _permit = self.pulls.acquire().await.expect("never closed");
        let attempted = self.attempt(image, &reference, &keyring(image, desired)).await;
        if let Err(FetchError::Pull(PullError::Platform { .. })) = attempted {
            // Of the coordinator's own images it is known.
            if let Some((_, linux)) = self.registries.as_ref().filter(|_| !reference.is_local()) {
                info!(
                    image = image.reference,
                    "an image holds no module; its pods need a node that runs containers"
                );
                // Who has no time for it now is told at the next look.
                let _ = linux.try_send(reference);
            }
        }
        attempted
    }

    /// The turns of a registry, for as long as somebody holds them.
    fn registry(&self, name: &str) -> Arc<Semaphore> {
        let mut registries = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        registries.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = registries.get(name).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(PULLS_OF_REGISTRY_MAX));
        registries.insert(name.to_owned(), Arc::downgrade(&turns));
        turns
    }

    async fn attempt(
        &self,
        image: &Image,
        reference: &Reference,
        keyring: &Keyring,
    ) -> Result<Digest, FetchError> {
        let origin = reference.name();
        let platforms = ["wasi", "wasip2", "wasip1"].map(Platform::wasm);
        let resolved = match &self.registries {
            _ if reference.is_local() => {
                let own = Own::new(self.artifacts.clone(), &reference.repository);
                Resolved::from(Arc::new(own), reference, &platforms).await?
            }
            Some((client, _)) => client.resolve(reference, keyring, &platforms).await?,
            None => return Err(FetchError::NotPulled),
        };
        if let Kind::Module(module) = resolved.kind().await?
            && (reference.is_local() || self.artifacts.is_from(module, &origin))
        {
            self.artifacts.touch_foreign(module);
            return Ok(module);
        }
        let announced: u64 =
            resolved.manifest.layers.iter().map(|layer| layer.size.min(MODULE_BYTES_MAX)).sum();
        let folder = self.artifacts.foreign_folder();
        if !has_room(&folder, announced.min(MODULE_BYTES_MAX))? {
            return Err(FetchError::NoRoom);
        }
        let staging = tempfile::tempdir_in(folder)?;
        let file = staging.path().join("module");
        let program = image.program.as_deref();
        let fetched = resolved.fetch_module((&file, program), MODULE_BYTES_MAX).await?;
        let module = self.artifacts.keep_foreign(File::open(&file).await?, fetched.digest).await?;
        self.artifacts.note_origin(module.digest, &origin)?;
        info!(image = image.reference, module = %module.digest, bytes = module.bytes, "pulled an image to compile it");
        Ok(module.digest)
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<Image, Looks>> {
        // Each of its changes leaves it consistent.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the pod has to show, as its node reads it.
fn keyring(image: &Image, desired: &Desired) -> Keyring {
    let mut keyring = Keyring::default();
    for object in image.secrets.iter().filter_map(|secret| desired.objects.get(secret)) {
        // Most Secrets hold something else; one that is malformed is told of by the node.
        let _ = keyring.add_secret(object.data.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    }
    keyring
}

/// Images that are pulled at a time.
const PULLS_MAX: usize = 8;

/// The same of one registry: those that give little at a time keep no others from being pulled from.
const PULLS_OF_REGISTRY_MAX: usize = 2;

/// How long an image may take, waiting for its turn included: a node has pulled it in that time, or has not either.
const PULL_TIME_MAX: Duration = Duration::from_secs(600);

/// How long what a name meant is believed before a node has asked for anything.
const FRESH: Duration = Duration::from_secs(60);

/// The same when a node asks for what was not found: its look was another one.
const AGAIN: Duration = Duration::from_secs(2);

/// How long a registry that is out of reach is not asked again.
const FAILURE_LASTS: Duration = Duration::from_secs(60);

/// Images that are remembered; beyond it they are looked at again.
const LOOKS_MAX: usize = 4096;

/// Modules of one image that are remembered: those that its tag meant.
const MODULES_MAX: usize = 64;

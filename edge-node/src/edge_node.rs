//! A node as a whole: state, agent, session and sandbox put together, and their end in order.

mod api;
mod joining;

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use dunlin_edge_node_core::{content::Seal, doctor::container_support};
use dunlin_link::{
    BootId, Bytes, NodeName, container_support::ContainerSupport, join::ParseTokenError,
    labels::TARGET_LABEL, sealed::SealingPlace, status::NodeFacts,
};
use dunlin_registry::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::joining::{Beginning, begin, join_at_last};
use crate::{
    agent::{AgentHost, AgentOptions, AgentParts, Codes, RunnerTarget},
    buckets::BucketUpkeep,
    config::EdgeNodeConfig,
    console::{self, Desk},
    containers, doctor,
    facts::{self, Declared},
    folders,
    health::{RunnerPid, Watcher, Writers},
    images::{Containers, Images, ModuleFiles},
    local::{Local, OpenError},
    logs::LogKeeper,
    lookout::Lookout,
    modules::Modules,
    preload::Preload,
    runner,
    sandbox::{ContainerKit, Doors, RunnerProcess, Sandbox, end_left_over},
    server_time::ServerTime,
    session::{
        Identity, IdentityError, JoinError, JoinOptions, Session, SessionHandle, SessionOptions, sealing_key,
        wall,
    },
    statics::{Folder, ManifestParser, RejectedManifest, Scan},
    volumes::Volumes,
};

/// Where a node's guests run.
#[derive(Debug)]
pub enum Guests {
    /// In a runner process, which outlives the agent. Program and leading arguments; `--socket PATH` is added.
    Process(Vec<std::ffi::OsString>),
    /// In this process.
    InProcess(runner::InProcess),
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("failed to use the state folder `{path}`")]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its identity cannot be read.
    #[error("failed to read the node's identity")]
    Identity(#[from] IdentityError),
    /// It has no identity and no token to get one with.
    #[error(
        "this machine is not a node of any cluster yet: give it a join token (`dunlin node token create`)"
    )]
    NotJoined,
    /// The token's file cannot be read.
    #[error("failed to read the join token from `{path}`")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is configured of registries cannot be used.
    #[error(transparent)]
    Registries(dunlin_registry::config::ConfigError),
    /// The token is not one.
    #[error("failed to read the join token")]
    Token(#[from] ParseTokenError),
    /// The cluster did not take it.
    #[error("failed to join the cluster")]
    Join(#[from] JoinError),
    /// Its local state cannot be read.
    #[error(transparent)]
    Local(#[from] OpenError),
    /// The machine does not tell what it is.
    #[error("failed to read the facts of this machine")]
    Facts(#[source] io::Error),
}

/// A node that runs. Dropping it leaves it running; [`EdgeNode::shut_down`] ends the agent and leaves guests alone.
#[derive(Debug)]
pub struct EdgeNode {
    name: NodeName,
    session: SessionHandle,
    shutdown: CancellationToken,
    /// Cancelled when any task ends, in whatever way.
    over: CancellationToken,
    /// In the order in which they are waited for; the agent is the last.
    tasks: Vec<JoinHandle<()>>,
    /// Cancelled when a machine that started without an identity has one.
    joined: CancellationToken,
    host: AgentHost,
}

impl EdgeNode {
    /// Starts a node: its pods at once from its own disk, its session as soon as a coordinator can be reached. Only a machine that
    /// never joined needs the coordinator now, and waits for it; one with static pods runs them meanwhile, see [`EdgeNode::joined`].
    ///
    /// # Errors
    /// When its state cannot be used, or joining is refused.
    pub async fn start(
        config: EdgeNodeConfig,
        guests: Guests,
        manifests: ManifestParser,
    ) -> Result<Self, StartError> {
        let dir = |path: PathBuf, source| StartError::StateDir { path, source };
        make_private(&config.state_dir).map_err(|error| dir(config.state_dir.clone(), error))?;
        let Beginning { identity, to_join, again } = begin(&config).await?;
        let place = place(identity.as_ref(), &config);
        let (name, cluster) = (place.node.clone(), place.cluster_id.clone());
        let seal = Arc::new(Seal { key: sealing_key(&config.state_dir)?, place });
        let server_time = Arc::new(ServerTime::new());
        let opened = open_local(&config.state_dir, (&seal, &server_time)).await?;
        let state_dir = absolute(&config.state_dir)?;
        let modules_dir = state_dir.join("modules");
        let modules = Modules::open(modules_dir.clone()).map_err(|error| dir(modules_dir.clone(), error))?;
        let (facts, containers) = facts(&config, &guests).await.map_err(StartError::Facts)?;
        let (images, module_files) = (images(&config, &containers)?, modules.files());
        let mut folder = static_folder(&config, modules_dir, &name, manifests);
        // Static pods of an earlier start, when there was a folder, are wanted no more when there is none.
        let statics = folder.as_mut().map_or_else(|| Some(Scan::default()), Folder::look);
        let api = api::for_pods(identity.as_ref(), &config.coordinators, containers.as_ref().ok());
        let session = identity
            .map(|identity| session(identity, &config, (&facts, &seal, server_time)).joining_again(again));
        let handle = handle_of(session.as_ref(), &facts);
        let keeper = LogKeeper::new(config.state_dir.join("logs"), log_bound(&config, &facts));
        let (sandbox, writers) = sandbox(guests, &config.state_dir);
        let codes = codes(&config, &handle);
        let volumes = Volumes::new(&state_dir);
        let options = AgentOptions {
            node_name: name.as_str(),
            state_dir: &state_dir,
            api,
            sysctls: config.sysctls.clone(),
            facts: facts.clone(),
            blocks: config.blocks,
            loopback: config.loopback,
            seal,
            volumes: volumes.clone(),
            thresholds: config.thresholds.clone(),
            image_bounds: config.image_bounds,
            codes,
            doors: Doors::new(sandbox.door()),
            containers,
        };
        let (parts, host) = AgentParts::new(options, opened, (modules, images.clone()));
        let preload = preload(&config, (&images, &module_files), &handle);
        let [shutdown, over, joined] = std::array::from_fn(|_| CancellationToken::new());
        let buckets = BucketUpkeep { cluster, session: handle.clone(), file: volumes.keyvalue() };
        let lookout = Lookout { state_dir: config.state_dir.clone(), volumes };
        let watcher = Watcher { state_dir: config.state_dir, session: handle.clone(), writers };
        let desk = Desk {
            host: host.clone(),
            images,
            modules: module_files,
            watcher: watcher.clone(),
            logs: keeper.clone(),
            name: name.to_string(),
            facts,
            started_at: wall(),
        };
        let tasks = vec![
            spawn(&over, become_node(to_join, joined.clone(), shutdown.clone())),
            spawn(&over, console::serve(desk, shutdown.clone())),
            spawn(&over, link(session, host.clone(), shutdown.clone())),
            spawn(&over, watcher.run(host.clone(), shutdown.clone())),
            spawn(&over, lookout.run(host.clone(), shutdown.clone())),
            spawn(&over, preload.run(host.clone(), shutdown.clone())),
            spawn(&over, buckets.run(host.clone(), shutdown.clone())),
            spawn(&over, watch(folder, host.clone(), shutdown.clone())),
            spawn(&over, keeper.run(shutdown.clone())),
            spawn(&over, parts.run(handle.clone(), sandbox, statics, shutdown.clone())),
        ];
        Ok(Self { name, session: handle, shutdown, over, tasks, joined, host })
    }

    /// The node's name, as its identity has it.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// Manifests in its folder of static pods that are none, as of the last look.
    pub fn rejected_manifests(&self) -> Vec<RejectedManifest> {
        self.host.rejected_manifests()
    }

    /// Whether its session is up now.
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    /// Ends session and agent; what has to survive is durable then. Guests in a runner process go on.
    pub async fn shut_down(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the node panicked");
            }
        }
    }

    /// Waits until a machine that runs static pods alone has joined its cluster: it is to be shut down and started again then, as the
    /// node that it is. Its guests go on if they are in a runner process. Never ends for one that was a node from the start.
    pub async fn joined(&self) {
        self.joined.cancelled().await;
    }

    /// Waits for an end that nobody asked for: a node runs until it is shut down.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }
}

/// Which node of which cluster this is; of none, until it has joined.
fn place(identity: Option<&Identity>, config: &EdgeNodeConfig) -> SealingPlace {
    let cluster_id = identity.map_or_else(String::new, |identity| identity.cluster_id().to_owned());
    let node = identity.map_or_else(|| NodeName::new(&*config.node_name), |identity| identity.node().clone());
    SealingPlace { cluster_id, node }
}

/// Runs a part of the node; its end ends `over`, even if it is a panic.
fn spawn(over: &CancellationToken, part: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let guard = over.clone().drop_guard();
    tokio::spawn(async move {
        part.await;
        drop(guard);
    })
}

/// Where guests run, and whose writes are theirs.
fn sandbox(guests: Guests, state_dir: &std::path::Path) -> (Sandbox, Writers) {
    let pid = RunnerPid::default();
    match guests {
        Guests::InProcess(runner) => (Sandbox::InProcess(runner), Writers::Shared),
        Guests::Process(command) => {
            let (socket, log) = (state_dir.join(RUNNER_SOCKET), state_dir.join("runner.log"));
            let process = RunnerProcess { command, socket, log, pid: pid.clone() };
            (Sandbox::Process(process), Writers::Own(pid))
        }
    }
}

/// Joins the cluster, if that is to be done while static pods run. A refusal does not stop them.
async fn become_node(options: Option<JoinOptions>, joined: CancellationToken, shutdown: CancellationToken) {
    let join = async {
        let Some(options) = options else { return };
        match join_at_last(options).await {
            Ok(_) => joined.cancel(),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "this machine did not join its cluster, and runs static pods only until it is started with another token"
            ),
        }
    };
    tokio::select! {
        () = join => shutdown.cancelled().await,
        () = shutdown.cancelled() => {}
    }
}

/// Keeps the session up, if the machine is a node of a cluster.
async fn link(session: Option<Session>, host: AgentHost, shutdown: CancellationToken) {
    match session {
        Some(session) => session.run(Arc::new(host), shutdown).await,
        None => shutdown.cancelled().await,
    }
}

/// Keeps the agent told of the folder of static pods, if there is one.
async fn watch(folder: Option<Folder>, host: AgentHost, shutdown: CancellationToken) {
    match folder {
        Some(folder) => folder.watch(host, shutdown).await,
        None => shutdown.cancelled().await,
    }
}

fn session(
    identity: Identity,
    config: &EdgeNodeConfig,
    (facts, seal, server_time): (&NodeFacts, &Seal, Arc<ServerTime>),
) -> Session {
    let options = SessionOptions {
        addresses: config.coordinators.clone(),
        facts: facts.clone(),
        boot_id: boot_id(&facts.boot_id),
        transport: config.transport,
        sealing_key: seal.key.public(),
        server_time,
    };
    Session::new(identity, options)
}

/// The folder for those who are elsewhere: OCI runtimes change theirs.
fn absolute(dir: &std::path::Path) -> Result<PathBuf, StartError> {
    let failed = |source| StartError::StateDir { path: dir.to_owned(), source };
    std::path::absolute(dir).map_err(failed)
}

/// Where the code of modules comes from.
fn codes(config: &EdgeNodeConfig, session: &SessionHandle) -> Codes {
    let target = RunnerTarget::new(runner::target());
    Codes { session: session.clone(), mode: config.compile, target }
}

/// Who loads the folder of archives.
fn preload(
    config: &EdgeNodeConfig,
    (images, modules): (&Images, &ModuleFiles),
    session: &SessionHandle,
) -> Preload {
    Preload {
        dir: config.images_dir.clone().unwrap_or_else(|| config.state_dir.join("images-to-load")),
        record: config.state_dir.join("images-loaded"),
        images: images.clone(),
        modules: modules.clone(),
        session: session.clone(),
    }
}

/// What is known of images of other registries, and the way to those.
fn images(config: &EdgeNodeConfig, kit: &Result<ContainerKit, String>) -> Result<Images, StartError> {
    let client = Client::new(&config.registries).map_err(StartError::Registries)?;
    let path = absolute(&config.state_dir)?;
    let containers = match kit {
        Ok(_) => Containers::Run,
        Err(why) => Containers::Refused(why.as_str().into()),
    };
    let images = Images::open(client, &path, containers);
    let images = images.map_err(|source| StartError::StateDir { path, source })?;
    Ok(images.with_module_dirs(config.module_dirs.clone()))
}

/// What the node is and has, and with what it runs Linux containers, or in words why it runs none. Those that an earlier agent ran end then.
async fn facts(
    config: &EdgeNodeConfig,
    guests: &Guests,
) -> io::Result<(NodeFacts, Result<ContainerKit, String>)> {
    let declared = Declared {
        labels: config.labels.clone(),
        taints: config.taints.clone(),
        reserved: config.reserved,
        pods_max: config.pods_max,
        addresses: config.addresses.clone(),
    };
    let mut facts = facts::read(&config.state_dir, &declared, config.blocks.capacity())?;
    facts.runtime_version = runner::runtime_version();
    let machine = doctor::read_for_containers(config.runtime.clone());
    let kit = containers::kit(&machine, config, guests);
    if kit.is_err() {
        end_left_over(&config.state_dir.join("pods")).await;
    }
    let support = kit.as_ref().map_or_else(Clone::clone, |_| container_support(&machine));
    facts.containers = Some(Box::new(support));
    if let Some(target) = runner::target() {
        facts.labels.retain(|(key, _)| key != TARGET_LABEL);
        facts.labels.push((TARGET_LABEL.to_owned(), target));
    }
    Ok((facts, kit.map_err(in_words)))
}

fn in_words(support: ContainerSupport) -> String {
    match support {
        ContainerSupport::Lacks { message, .. } => message,
        ContainerSupport::Runs { runtime, .. } => format!("{runtime} is not used"),
    }
}

/// What all logs may take: as was asked for, or what a disk of this size can well spare.
fn log_bound(config: &EdgeNodeConfig, facts: &NodeFacts) -> Bytes {
    let share = facts.capacity.ephemeral_storage.0 / LOG_DISK_PARTS;
    config.logs_max.unwrap_or_else(|| Bytes(share.min(LOG_BYTES_MAX)))
}

/// What tells of the session; of none as long as the machine is no node.
fn handle_of(session: Option<&Session>, facts: &NodeFacts) -> SessionHandle {
    session.map_or_else(|| SessionHandle::detached(facts.clone()), Session::handle)
}

/// The folder of static pods, if there is to be one.
fn static_folder(
    config: &EdgeNodeConfig,
    modules: PathBuf,
    node: &NodeName,
    manifests: ManifestParser,
) -> Option<Folder> {
    let dir = config.static_pods.clone()?;
    Some(Folder::new(dir, modules, node.as_str().to_owned(), manifests))
}

/// The runner's socket in the state folder.
const RUNNER_SOCKET: &str = "runner.sock";

/// Opens the local state. An agent of this process that has just ended lets go of it in a moment.
async fn open_local(
    dir: &std::path::Path,
    known: (&Arc<Seal>, &Arc<ServerTime>),
) -> Result<(Local, dunlin_edge_node_core::node::Loaded), OpenError> {
    for _ in 0..IN_USE_TRIES {
        match Local::open(dir, known) {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(IN_USE_PAUSE).await,
            opened => return opened,
        }
    }
    Local::open(dir, known)
}

/// How often, and how far apart, a state that is in use is tried.
const IN_USE_TRIES: u32 = 20;
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// The state holds secrets and keys: its folder is its owner's only.
fn make_private(dir: &std::path::Path) -> io::Result<()> {
    folders::make(dir)?;
    // One that was there already may be open to others.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// The kernel's boot id; where there is none, one for this start.
fn boot_id(text: &str) -> BootId {
    let known = text.parse::<uuid::Uuid>().ok();
    BootId(known.unwrap_or_else(uuid::Uuid::new_v4).into_bytes())
}

/// Logs take at most one of so many parts of the disk, unless more was asked for,
const LOG_DISK_PARTS: u64 = 10;

/// and at most this.
const LOG_BYTES_MAX: u64 = 1 << 30;

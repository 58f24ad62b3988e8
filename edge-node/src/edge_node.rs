//! A node as a whole: state, agent, session and sandbox put together, and their end in order.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
    sync::Arc,
};

use dunlin_edge_node_core::content::Seal;
use dunlin_link::{
    BootId, Bytes, NodeName,
    join::{JoinToken, ParseTokenError},
    sealed::SealingPlace,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{AgentHost, AgentOptions, AgentParts},
    config::{EdgeNodeConfig, JoinSource, Machine},
    console::{self, Desk},
    facts::{self, Declared},
    health::{RunnerPid, Watcher, Writers},
    local::{Local, OpenError},
    logs::LogKeeper,
    modules::Modules,
    runner,
    sandbox::{RunnerProcess, Sandbox},
    server_time::ServerTime,
    session::{
        Identity, IdentityError, JoinError, JoinOptions, Session, SessionHandle, SessionOptions, join,
        sealing_key, wall,
    },
    statics::{Folder, ManifestParser, RejectedManifest, Scan},
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
    /// Cancelled when either task ends, in whatever way.
    over: CancellationToken,
    agent: JoinHandle<()>,
    link: JoinHandle<()>,
    health: JoinHandle<()>,
    console: JoinHandle<()>,
    folder: JoinHandle<()>,
    logs: JoinHandle<()>,
    host: AgentHost,
}

impl EdgeNode {
    /// Starts a node: its pods at once from its own disk, its session as soon as a coordinator can be reached. Only a machine that
    /// never joined needs the coordinator now.
    ///
    /// # Errors
    /// When its state cannot be used, or joining fails.
    pub async fn start(
        config: EdgeNodeConfig,
        guests: Guests,
        manifests: ManifestParser,
    ) -> Result<Self, StartError> {
        let dir = |path: PathBuf, source| StartError::StateDir { path, source };
        make_private(&config.state_dir).map_err(|error| dir(config.state_dir.clone(), error))?;
        let identity = match identity(&config).await {
            Err(StartError::NotJoined) if config.static_pods.is_some() => {
                tracing::warn!(
                    "this machine is no node of a cluster: it runs static pods only, until it is given a join token"
                );
                None
            }
            identity => Some(identity?),
        };
        let own_name = || NodeName::new(&*config.node_name);
        let name = identity.as_ref().map_or_else(own_name, |identity| identity.node().clone());
        let cluster_id =
            identity.as_ref().map_or_else(String::new, |identity| identity.cluster_id().to_owned());
        let place = SealingPlace { cluster_id, node: name.clone() };
        let seal = Arc::new(Seal { key: sealing_key(&config.state_dir)?, place });
        let server_time = Arc::new(ServerTime::new());
        let opened = Local::open(&config.state_dir, (&seal, &server_time))?;
        let modules_dir = config.state_dir.join("modules");
        let modules = Modules::open(modules_dir.clone()).map_err(|error| dir(modules_dir.clone(), error))?;
        let static_pods = config.static_pods.clone();
        let mut folder =
            static_pods.map(|dir| Folder::new(dir, modules_dir, name.as_str().to_owned(), manifests));
        // Static pods of an earlier start, when there was a folder, are wanted no more when there is none.
        let statics = folder.as_mut().map_or_else(|| Some(Scan::default()), Folder::look);
        let facts = facts(&config).map_err(StartError::Facts)?;
        let session = identity.map(|identity| session(identity, &config, (&facts, &seal, server_time)));
        let detached = || SessionHandle::detached(facts.clone());
        let handle = session.as_ref().map_or_else(detached, Session::handle);
        let told = facts.clone();
        let keeper = LogKeeper::new(config.state_dir.join("logs"), log_bound(&config, &facts));
        let options = AgentOptions {
            node_name: name.as_str(),
            state_dir: &config.state_dir,
            facts,
            blocks: config.blocks,
            loopback: config.loopback,
            seal,
        };
        let (parts, host) = AgentParts::new(options, opened, modules);
        let pid = RunnerPid::default();
        let (sandbox, writers) = match guests {
            Guests::InProcess(runner) => (Sandbox::InProcess(runner), Writers::Shared),
            Guests::Process(command) => {
                let socket = config.state_dir.join("runner.sock");
                let log = config.state_dir.join("runner.log");
                let process = RunnerProcess { command, socket, log, pid: pid.clone() };
                (Sandbox::Process(process), Writers::Own(pid))
            }
        };
        let (shutdown, over) = (CancellationToken::new(), CancellationToken::new());
        let watcher = Watcher { state_dir: config.state_dir, session: handle.clone(), writers };
        let looked_at = host.clone();
        let desk = Desk {
            host: host.clone(),
            watcher: watcher.clone(),
            logs: keeper.clone(),
            name: name.to_string(),
            facts: told,
            started_at: wall(),
        };
        let console = spawn(&over, console::serve(desk, shutdown.clone()));
        let fixed = host.fixed();
        let health = spawn(&over, watcher.run(move || looked_at.held(), fixed, shutdown.clone()));
        let agent = spawn(&over, parts.run(handle.clone(), sandbox, statics, shutdown.clone()));
        let link = spawn(&over, link(session, host.clone(), shutdown.clone()));
        let folder = spawn(&over, watch(folder, host.clone(), shutdown.clone()));
        let logs = spawn(&over, keeper.run(shutdown.clone()));
        Ok(Self { name, session: handle, shutdown, over, agent, link, health, console, folder, logs, host })
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
        for task in [self.console, self.link, self.health, self.folder, self.logs, self.agent] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the node panicked");
            }
        }
    }

    /// Waits for an end that nobody asked for: a node runs until it is shut down.
    pub async fn ended(&mut self) {
        self.over.cancelled().await;
    }
}

/// Runs a part of the node; its end ends `over`, even if it is a panic.
fn spawn(over: &CancellationToken, part: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let guard = over.clone().drop_guard();
    tokio::spawn(async move {
        part.await;
        drop(guard);
    })
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
    (facts, seal, server_time): (&dunlin_link::status::NodeFacts, &Seal, Arc<ServerTime>),
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

/// The identity on disk, or a new one by the join token.
async fn identity(config: &EdgeNodeConfig) -> Result<Identity, StartError> {
    if let Some(identity) = Identity::load(&config.state_dir)? {
        let (node, asked) = (identity.node(), &config.node_name);
        // A name that nobody chose is no wish: the machine may have been renamed since it joined.
        if node.as_str() != asked && *asked != Machine::hostname() {
            tracing::warn!(
                %node, asked, state_dir = %config.state_dir.display(),
                "this state folder is that of another node, which runs now; for a node of the name asked for, give another state folder and a join token"
            );
        }
        return Ok(identity);
    }
    let token = match &config.join {
        None => return Err(StartError::NotJoined),
        Some(JoinSource::Token(token)) => token.clone(),
        Some(JoinSource::File(path)) => {
            fs::read_to_string(path).map_err(|source| StartError::TokenFile { path: path.clone(), source })?
        }
    };
    let token: JoinToken = token.trim().parse()?;
    let options = JoinOptions {
        token,
        addresses: config.coordinators.clone(),
        node: NodeName::new(&*config.node_name),
        state_dir: config.state_dir.clone(),
        transport: config.transport,
    };
    Ok(join(options).await?)
}

fn facts(config: &EdgeNodeConfig) -> io::Result<dunlin_link::status::NodeFacts> {
    let declared = Declared {
        labels: config.labels.clone(),
        taints: config.taints.clone(),
        reserved: config.reserved,
        pods_max: config.pods_max,
        addresses: config.addresses.clone(),
    };
    let mut facts = facts::read(&config.state_dir, &declared, config.blocks.capacity())?;
    facts.runtime_version = runner::runtime_version();
    Ok(facts)
}

/// What all logs may take: as was asked for, or what a disk of this size can well spare.
fn log_bound(config: &EdgeNodeConfig, facts: &dunlin_link::status::NodeFacts) -> Bytes {
    let share = facts.capacity.ephemeral_storage.0 / LOG_DISK_PARTS;
    config.logs_max.unwrap_or_else(|| Bytes(share.min(LOG_BYTES_MAX)))
}

/// The state holds secrets and keys: its folder is its owner's only.
fn make_private(dir: &std::path::Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
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

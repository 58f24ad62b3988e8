//! `dev`: a whole cluster in one process, for trying things out: a coordinator, some nodes, and their guests.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use dunlin_coordinator::{Coordinator, CoordinatorArgs, CoordinatorConfig, StartError};
use dunlin_edge_node::{
    EdgeNode, Guests,
    config::{EdgeNodeArgs, EdgeNodeConfig, Machine},
    runner::{self, InProcess, LogBounds, OwnCode, SharedHost},
    session::Identity,
};

use crate::{
    context::kube::Merged,
    daemon::{self, Signals},
    session::ConnectionArgs,
    static_pods, terminal,
};

use self::{blocks::Blocks, contexts::KubeContext};

mod blocks;
mod contexts;

/// Options of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Number of nodes, 1 to 64.
    #[arg(long, env = "DUNLIN_DEV_NODES", value_name = "NUMBER", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Folder for all state; a cluster that is in it already is resumed.
    #[arg(
        long,
        alias = "state",
        env = "DUNLIN_DEV_STATE_DIR",
        value_name = "DIR",
        default_value = "./.dunlin"
    )]
    state_dir: PathBuf,
    /// Port on loopback, UDP and TCP; another free one is taken when it is in use.
    #[arg(long, env = "DUNLIN_DEV_PORT", value_name = "PORT", default_value_t = dunlin_coordinator::config::DEFAULT_PORT)]
    port: u16,
    /// Name of the context that is written to the client configuration and selected.
    #[arg(
        long = "context-name",
        env = "DUNLIN_DEV_CONTEXT",
        value_name = "NAME",
        default_value = "dunlin-dev"
    )]
    context_name: String,
    /// Whether kubectl's configuration ($KUBECONFIG, else ~/.kube/config) gets the context, too.
    #[arg(long, env = "DUNLIN_DEV_KUBE_CONTEXT", value_enum, value_name = "WHAT", default_value = "add")]
    kube_context: KubeContext,
    /// Folder of whose files pods may run modules as `image: file:///PATH`; may be given several times [default: none]
    #[arg(long = "module-dir", env = "DUNLIN_MODULE_DIRS", value_name = "DIR", value_delimiter = ',')]
    module_dirs: Vec<PathBuf>,

    /// What the nodes run ordinary images with, as `dunlin edge-node --runtime` has it [default: auto]
    #[arg(long, env = "DUNLIN_RUNTIME", value_name = "NAME|PATH")]
    runtime: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  dunlin dev                      three nodes, state in ./.dunlin; Ctrl-C stops, the same command resumes
  dunlin dev --nodes 1 --state-dir /tmp/try
Then, in another terminal:
  dunlin get nodes";

/// Runs until a signal.
///
/// # Errors
/// When the state folder is in use, or a part cannot start.
pub(crate) fn run(args: &Args, connection: &ConnectionArgs, verbosity: u8) -> Result<()> {
    terminal::start_logging(verbosity);
    daemon::block_on(serve(args, connection.config.as_deref()))
}

async fn serve(args: &Args, client_config: Option<&Path>) -> Result<()> {
    let mut signals = Signals::listen()?;
    fs::create_dir_all(&args.state_dir)
        .with_context(|| format!("cannot make the state folder {}", args.state_dir.display()))?;
    // Everything below is told absolute paths, for the compiler's processes too.
    let state_dir = fs::canonicalize(&args.state_dir)?;
    let _lock = lock(&state_dir)?;

    let blocks = blocks::of_nodes(&state_dir, args.nodes)?;
    let mut coordinator = start_coordinator(&state_dir, args.port, &blocks).await?;
    let config_file = contexts::select(&coordinator, client_config, &args.context_name)?;
    terminal::print(&format!("coordinator ready on {}\n", coordinator.address()))?;
    let for_kubectl = contexts::add_for_kubectl(&coordinator, args, &config_file);
    let nodes = start_nodes(&state_dir, (args, blocks), &coordinator).await?;
    if !rustix::process::geteuid().is_root() {
        terminal::remark(
            "not started by root: pods with Linux containers do not run here, those of WebAssembly do",
        );
    }
    terminal::print(&welcome(args, &config_file, for_kubectl.as_ref()))?;
    daemon::notify_ready();

    let failed = tokio::select! {
        () = signals.next() => None,
        error = coordinator.failed() => Some(error),
    };
    let shutdown = async {
        for node in nodes {
            node.shut_down().await;
        }
        coordinator.shutdown().await;
    };
    signals.unless_again(shutdown).await?;
    match failed {
        None => Ok(()),
        Some(error) => {
            let error = error.map_or_else(|| anyhow!("the driver ended"), Into::into);
            Err(error.context("the coordinator cannot go on"))
        }
    }
}

/// Two processes on one state would corrupt nothing, for stores lock their files, but only this says what is wrong.
fn lock(state_dir: &Path) -> Result<File> {
    let path = state_dir.join("lock");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(&path).unwrap_or_default();
            Err(anyhow!(
                "a dev cluster runs already on {} (process {owner}); use it, stop it with `kill {owner}`, or give another --state-dir",
                state_dir.display()
            ))
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

async fn start_coordinator(state_dir: &Path, port: u16, blocks: &[Blocks]) -> Result<Coordinator> {
    let usual = coordinator_config(state_dir, port, blocks)?;
    match Coordinator::start(usual).await {
        Err(error) if is_in_use(&error) => {
            terminal::remark(&format!("port {port} is taken; using a free one"));
            Coordinator::start(coordinator_config(state_dir, 0, blocks)?).await
        }
        started => started,
    }
    .context("the coordinator cannot start")
}

/// Pods with a network of their own call it by the address that the machine has there.
fn coordinator_config(state_dir: &Path, port: u16, blocks: &[Blocks]) -> Result<CoordinatorConfig> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
    let tls_san = blocks.iter().filter_map(|blocks| blocks.gateway).map(|gateway| gateway.to_string());
    let args =
        CoordinatorArgs { listen: Some(listen), tls_san: tls_san.collect(), ..CoordinatorArgs::default() };
    let config = args.validate(state_dir.join("coordinator")).map_err(|error| daemon::usage(error.into()))?;
    Ok(CoordinatorConfig { compiler: runner::own_compiler(), ..config })
}

fn is_in_use(error: &StartError) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            return true;
        }
        source = error.source();
    }
    false
}

async fn start_nodes(
    state_dir: &Path,
    (args, blocks): (&Args, Vec<Blocks>),
    coordinator: &Coordinator,
) -> Result<Vec<EdgeNode>> {
    let host = SharedHost::start(OwnCode::of_this_program(), state_dir, None);
    let host = host.context("cannot start the WebAssembly host")?;
    host.lead_to_api(coordinator.address());
    let mut nodes = Vec::new();
    for (number, blocks) in (1..).zip(blocks) {
        let name = blocks::name(number);
        let node_dir = state_dir.join(&name);
        let join = match Identity::load(&node_dir).with_context(|| format!("{name} cannot start"))? {
            Some(_) => None,
            None => {
                let token = coordinator.join_token(&format!("dunlin dev {name}")).await;
                Some(token.context("cannot make a join token")?.reveal())
            }
        };
        let (runtime, module_dirs) = (args.runtime.clone(), args.module_dirs.clone());
        let own = EdgeNodeArgs { join, runtime, module_dirs, ..EdgeNodeArgs::default() };
        let config = node_config(&name, node_dir, blocks, own, coordinator.address())?;
        let runner = InProcess::new(host.clone(), LogBounds::DEFAULT).context("cannot start the runner")?;
        let node = EdgeNode::start(config, Guests::InProcess(runner), static_pods::parser()).await;
        nodes.push(node.with_context(|| format!("{name} cannot start"))?);
    }
    Ok(nodes)
}

/// All nodes share one machine, so each gets its own part of the pod range.
fn node_config(
    name: &str,
    state_dir: PathBuf,
    blocks: Blocks,
    own: EdgeNodeArgs,
    coordinator: SocketAddr,
) -> Result<EdgeNodeConfig> {
    let args = EdgeNodeArgs {
        node_name: Some(name.to_owned()),
        state_dir: Some(state_dir.clone()),
        coordinator: vec![coordinator.to_string()],
        node_addresses: vec![Ipv4Addr::LOCALHOST.to_string()],
        address_blocks: Some(blocks.text),
        // A person's own machine is full for reasons of its own.
        eviction_hard: Some(String::new()),
        ..own
    };
    let config = args.validate(Machine::this(state_dir)).map_err(|error| daemon::usage(error.into()))?;
    Ok(EdgeNodeConfig { claim: blocks.claim, ..config })
}

fn welcome(args: &Args, config_file: &Path, for_kubectl: Option<&Merged>) -> String {
    let nodes = args.nodes;
    let context = &args.context_name;
    let kubectl = for_kubectl.map_or_else(String::new, |Merged { path, current }| {
        let path = path.display();
        if current == context {
            format!("context \"{context}\" is kubectl's current one, in {path}\n")
        } else {
            format!(
                "context \"{context}\" added to {path} for `kubectl --context {context}`; the current one there is still \
                 \"{current}\"\n"
            )
        }
    });
    format!(
        "{nodes} node(s) joined; state in {}\n\
         context \"{context}\" selected in {}\n\
         {kubectl}\n\
         Try next, in another terminal:\n  \
           dunlin get nodes -o wide\n  \
           dunlin push FILE.wasm NAME\n  \
           dunlin apply -f manifests/demo\n  \
           dunlin get pods -A -w\n\
         Ctrl-C stops the cluster; the same command resumes it.\n",
        args.state_dir.display(),
        config_file.display(),
    )
}

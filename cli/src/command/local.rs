//! `local`: a node's own pods, asked from its agent on this machine, with no coordinator in between.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use dunlin_edge_node::console::{Console, Log, PodView, SOCKET};
use dunlin_link::{UnixMillis, logs::LogRequest};
use jiff::Timestamp;

use self::object::pod_of;
use super::describe;
use crate::{
    daemon,
    failure::UsageError,
    resource,
    session::{self, ConnectionArgs},
    table::{Options, Printer},
    terminal,
};

mod node;
mod object;
mod reset;

/// Options of `local`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin local pods                               all pods of this machine's node, with or without a coordinator
  dunlin local logs ticker -f --tail=10
  dunlin local describe                           the node itself: what it holds, and what waits to be told
  dunlin local describe kube-system/agent
  dunlin local restart web                        restart its containers, whatever the restart policy says
  dunlin local shutdown --grace=60                end all pods before the machine is switched off")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: LocalCommand,
    /// The node's state folder (default: that of this machine's node, else that of the only node of ./.dunlin).
    #[arg(long, global = true, alias = "state-dir", env = "DUNLIN_STATE_DIR", value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    /// List the node's pods: assigned, held, being deleted, refused.
    Pods {
        /// More columns.
        #[arg(long, short, value_name = "FORMAT", value_parser = ["wide"])]
        output: Option<String>,
        /// Leave out the row of column names.
        #[arg(long)]
        no_headers: bool,
    },
    /// Show all about the node, or about one of its pods.
    Describe {
        /// POD or NAMESPACE/POD.
        pod: Option<String>,
    },
    /// Print what a container wrote.
    Logs(LogsArgs),
    /// Print the core dump that a container left when it trapped, for tools that read core dumps of WebAssembly.
    #[command(name = "coredump")]
    CoreDump {
        /// POD or NAMESPACE/POD.
        pod: String,
        /// The container, needed when the pod has several.
        container: Option<String>,
    },
    /// Restart one container of a pod, or all of them.
    Restart {
        /// POD or NAMESPACE/POD.
        pod: String,
        /// The container; all, when it is not named.
        container: Option<String>,
    },
    /// End the node's pods, because the machine goes down; they have failed then, and the coordinator makes others elsewhere.
    Shutdown {
        /// Seconds that all pods have together to stop by themselves.
        #[arg(long, value_name = "SECONDS", default_value_t = SHUTDOWN_GRACE_SECONDS)]
        grace: u32,
        /// Seconds of these that are kept for critical pods.
        #[arg(long, value_name = "SECONDS", default_value_t = CRITICAL_GRACE_SECONDS)]
        critical_grace: u32,
    },
    /// Set a state that cannot be read aside, so that the node can begin anew from its coordinator.
    Reset(reset::Args),
}

#[derive(Debug, clap::Args)]
struct LogsArgs {
    /// POD or NAMESPACE/POD.
    pod: String,
    /// The container, needed when the pod has several.
    container: Option<String>,
    /// Go on printing lines as they come.
    #[arg(long, short)]
    follow: bool,
    /// Of the run before the current one.
    #[arg(long, short)]
    previous: bool,
    /// Only the last so many lines; -1 means all.
    #[arg(long, value_name = "LINES", allow_negative_numbers = true, default_value_t = -1)]
    tail: i64,
    /// Only lines newer than this, for instance 5m.
    #[arg(long, value_name = "TIME", value_parser = session::duration)]
    since: Option<std::time::Duration>,
    /// Put the time before each line.
    #[arg(long)]
    timestamps: bool,
}

/// Finds the node and runs the subcommand.
pub(crate) fn run(args: Args, connection: &ConnectionArgs) -> Result<()> {
    let state = args.state.map_or_else(find_state, Ok)?;
    let namespace = connection.namespace.as_deref();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let console = Console::of(&state);
    runtime.context("cannot start the runtime")?.block_on(async {
        match args.command {
            LocalCommand::Pods { output, no_headers } => {
                let mut pods = console.pods().await?;
                pods.retain(|pod| namespace.is_none_or(|wanted| pod.assignment.namespace == wanted));
                let wide = output.is_some();
                print_pods(&pods, Options { wide, no_headers, with_namespace: true, ..Options::default() })
            }
            LocalCommand::Describe { pod: None } => {
                Ok(terminal::print(&node::described(&console.node().await?, Timestamp::now()))?)
            }
            LocalCommand::Describe { pod: Some(name) } => {
                let pod = find(&console, &name, namespace).await?;
                Ok(terminal::print(&describe::pod(&pod_of(&pod), object::endpoints(&pod), Timestamp::now()))?)
            }
            LocalCommand::Logs(args) => logs(&console, args, namespace).await,
            LocalCommand::CoreDump { pod, container } => {
                let pod = find(&console, &pod, namespace).await?;
                let container = one_container(&pod, container);
                print_all(console.core_dump(pod.assignment.uid, container).await?).await
            }
            LocalCommand::Restart { pod, container } => {
                let found = find(&console, &pod, namespace).await?;
                let containers = console.restart(found.assignment.uid.clone(), container).await?;
                for container in containers {
                    terminal::print(&format!(
                        "container {container} of pod {} restarted\n",
                        found.assignment.name
                    ))?;
                }
                Ok(())
            }
            LocalCommand::Shutdown { grace, critical_grace } => {
                Ok(console.shut_down(grace, critical_grace.min(grace)).await?)
            }
            LocalCommand::Reset(args) => reset::run(&args, &state),
        }
    })
}

/// The state folder of this machine's node, or of the only node of a dev cluster here.
pub(super) fn find_state() -> Result<PathBuf> {
    let usual = daemon::state_home().map(|home| home.join("node")).ok();
    if let Some(state) = usual.clone().filter(|state| is_state(state)) {
        return Ok(state);
    }
    let folders = std::fs::read_dir(DEV_STATE).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut nodes: Vec<PathBuf> = folders.filter(|folder| is_state(folder)).collect();
    nodes.sort();
    match nodes.as_slice() {
        [] => {
            // Asking there tells what is missing.
            usual.ok_or_else(|| {
                anyhow!("no node is found on this machine; name its state folder with --state")
            })
        }
        [node] => Ok(node.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(UsageError(format!("which node? Name one with --state: {}", names.join(", "))).into())
        }
    }
}

fn is_state(folder: &Path) -> bool {
    folder.join(SOCKET).exists() || folder.join("node.redb").exists()
}

fn print_pods(pods: &[PodView], options: Options) -> Result<()> {
    if pods.is_empty() {
        terminal::remark("No pods on this node");
        return Ok(());
    }
    let objects: Vec<_> = pods.iter().map(pod_of).collect();
    let kind = resource::find("pods")?;
    let include = dunlin_api::table::IncludeObject::Metadata;
    let mut table = dunlin_api::table::render(kind, &objects, include, Timestamp::now());
    object::widen(&mut table, pods);
    Ok(terminal::print(&Printer::new(kind, options).render(&table))?)
}

/// The one pod of that name.
async fn find(console: &Console, name: &str, namespace: Option<&str>) -> Result<PodView> {
    let (namespace, name) = match name.strip_prefix("pod/").unwrap_or(name).split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (namespace, name),
    };
    let mut pods = console.pods().await?;
    pods.retain(|pod| {
        pod.assignment.name == name && namespace.is_none_or(|wanted| pod.assignment.namespace == wanted)
    });
    match pods.len() {
        0 => Err(anyhow!("pod {name:?} is not on this node; `dunlin local pods` lists those that are")),
        // A pod that is being deleted may still be here beside its successor.
        1 => Ok(pods.remove(0)),
        _ if pods.iter().all(|pod| pod.assignment.namespace == pods[0].assignment.namespace) => {
            let newest = pods.into_iter().max_by_key(|pod| pod.report.start_time);
            newest.ok_or_else(|| anyhow!("pod {name:?} is not on this node"))
        }
        _ => {
            let names = pods.iter().map(|pod| format!("{}/{name}", pod.assignment.namespace));
            let names: Vec<String> = names.collect();
            Err(UsageError(format!("which one? There are {}", names.join(", "))).into())
        }
    }
}

async fn logs(console: &Console, args: LogsArgs, namespace: Option<&str>) -> Result<()> {
    let pod = find(console, &args.pod, namespace).await?;
    let container = one_container(&pod, args.container);
    let since = args.since.map(|since| {
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        UnixMillis(Timestamp::now().as_millisecond().saturating_sub(since))
    });
    let request = LogRequest {
        uid: pod.assignment.uid,
        container,
        follow: args.follow,
        previous: args.previous,
        since,
        tail_lines: u64::try_from(args.tail).ok(),
        timestamps: args.timestamps,
        limit_bytes: None,
    };
    print_all(console.log(request).await?).await
}

/// The container that was named, or the first.
fn one_container(pod: &PodView, named: Option<String>) -> String {
    let containers = &pod.assignment.spec.containers;
    match (named, containers.as_slice()) {
        (Some(name), _) => name,
        (None, [one]) => one.name.clone(),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|container| container.name.as_str()).collect();
            let first = names.first().copied().unwrap_or_default().to_owned();
            terminal::remark(&format!("Defaulted container {first:?} out of: {}", names.join(", ")));
            first
        }
    }
}

async fn print_all(mut log: Log) -> Result<()> {
    loop {
        let chunk = log.chunk().await?;
        if chunk.is_empty() {
            return Ok(());
        }
        terminal::write_stdout(&chunk)?;
    }
}

/// Where `dunlin dev` keeps its nodes unless it is told otherwise.
const DEV_STATE: &str = ".dunlin";

/// What pods have together when the machine goes down, unless more is given: less than what systemd waits for.
const SHUTDOWN_GRACE_SECONDS: u32 = 30;

/// What of that is kept for critical pods.
const CRITICAL_GRACE_SECONDS: u32 = 10;

//! `edge-node`: runs this machine as a node until it is told to stop; guests run on without it.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use dunlin_edge_node::{
    CompileMode, EdgeNode, Guests,
    config::{EdgeNodeArgs, EdgeNodeConfig, Machine},
};

use crate::{
    daemon::{self, DaemonArgs, Signals},
    static_pods, terminal,
};

/// Options of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    options: EdgeNodeArgs,
    #[command(flatten)]
    daemon: DaemonArgs,
}

const EXAMPLES: &str = "\
Examples:
  dunlin edge-node --join TOKEN               the first time, with a token of `dunlin node token create`
  dunlin edge-node                            from then on
  dunlin edge-node --join-file /boot/dunlin-token --label site=harbour";

/// Runs until a signal. Guests are left running, and are adopted by the next start.
///
/// # Errors
/// When the options are wrong (exit code 64), joining is refused, or the local state cannot be opened.
pub(crate) fn run(args: Args, verbosity: u8) -> Result<()> {
    let file = args.daemon.read_config()?;
    let state_dir = daemon::state_home().map(|home| home.join("node")).unwrap_or_default();
    let config = args.options.or(file.edge_node).validate(Machine::this(state_dir));
    let config = config.map_err(|error| daemon::usage(error.into()))?;
    args.daemon.start_logging(verbosity);
    daemon::block_on(serve(config))
}

async fn serve(config: EdgeNodeConfig) -> Result<()> {
    let mut signals = Signals::listen()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    loop {
        let mut runner: Vec<OsString> = vec![program.clone().into(), "runner".into()];
        if config.compile == CompileMode::Never {
            runner.extend(["--compile".into(), "never".into()]);
        }
        if let Some(mib) = config.keyvalue_quota_mib {
            runner.extend(["--keyvalue-quota-mib".into(), mib.to_string().into()]);
        }
        let guests = Guests::Process(runner);
        let node = tokio::select! {
            node = EdgeNode::start(config.clone(), guests, static_pods::parser()) => node.context("the node cannot start")?,
            () = signals.next() => return Ok(()),
        };
        let name = node.name().clone();
        tracing::info!(node = %name, "node is ready");
        terminal::print(&format!("node {name} ready\n"))?;
        daemon::notify_ready();
        let has_joined = tokio::select! {
            () = signals.next() => false,
            () = node.joined() => true,
            () = node.ended() => anyhow::bail!("a part of the node ended; its pods go on, and the next start adopts them"),
        };
        if !has_joined {
            tracing::info!("node is stopping; its pods go on");
            return signals.unless_again(node.shut_down()).await;
        }
        tracing::info!(
            "the machine has joined its cluster; its agent starts anew as a node, and its pods go on"
        );
        node.shut_down().await;
    }
}

//! `coordinator`: runs the coordinator on this machine until it is told to stop.

use std::path::Path;

use anyhow::{Context as _, Result};
use dunlin_coordinator::{Coordinator, CoordinatorArgs, CoordinatorConfig};
use dunlin_edge_node::runner;

use crate::{
    context::{self, NewContext},
    daemon::{self, DaemonArgs, Signals},
    terminal,
};

/// Options of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    options: CoordinatorArgs,
    #[command(flatten)]
    daemon: DaemonArgs,
}

const EXAMPLES: &str = "\
Examples:
  dunlin coordinator                                      with everything as usual
  dunlin coordinator --listen :7443 --advertise hub.example:7443
  export DUNLIN_CONFIG=/var/lib/dunlin/coordinator/admin.config
  dunlin node token create                                a token for the next node";

/// Runs until a signal.
///
/// # Errors
/// When the options are wrong (exit code 64), the coordinator cannot start, or its disk fails.
pub(crate) fn run(args: Args, verbosity: u8) -> Result<()> {
    let file = args.daemon.read_config()?;
    let default_data_dir = daemon::state_home().map(|home| home.join("coordinator")).unwrap_or_default();
    let config = args.options.or(file.coordinator).validate(default_data_dir);
    let mut config = config.map_err(|error| daemon::usage(error.into()))?;
    config.compiler = runner::own_compiler();
    args.daemon.start_logging(verbosity);
    daemon::block_on(serve(config))
}

async fn serve(config: CoordinatorConfig) -> Result<()> {
    let mut signals = Signals::listen()?;
    let access_file = config.data_dir.join(ACCESS_FILE);
    let mut coordinator = Coordinator::start(config).await.context("the coordinator cannot start")?;
    write_access(&coordinator, &access_file)?;
    tracing::info!(address = %coordinator.address(), "coordinator is ready");
    terminal::print(&format!(
        "coordinator ready on {} (administrator: {})\n",
        coordinator.address(),
        access_file.display()
    ))?;
    daemon::notify_ready();
    tokio::select! {
        () = signals.next() => {}
        error = coordinator.failed() => {
            let error = error.map_or_else(|| anyhow::anyhow!("the driver ended"), Into::into);
            // Clients and nodes are told, and so need not find out by silence.
            signals.unless_again(coordinator.shutdown()).await?;
            return Err(error.context("the coordinator cannot go on"));
        }
    }
    tracing::info!("coordinator is stopping");
    signals.unless_again(coordinator.shutdown()).await
}

/// A client configuration for the administrator, beside the data it opens.
fn write_access(coordinator: &Coordinator, file: &Path) -> Result<()> {
    let access = coordinator.admin_access().context("cannot issue the administrator's certificate")?;
    context::install(
        Some(file),
        NewContext {
            name: "dunlin",
            server: &format!("quic://{}", access.address),
            authority_pem: &access.ca_pem,
            certificate_pem: &access.credentials.certificate_pem,
            key_pem: &access.credentials.key_pem,
        },
    )?;
    Ok(())
}

/// Beside the store, in the data folder.
const ACCESS_FILE: &str = "admin.config";

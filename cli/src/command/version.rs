//! `version`: of this binary, and of the coordinator when one answers.

use anyhow::Result;

use crate::{
    document::text,
    session::{self, ConnectionArgs},
    terminal,
};

/// Options of `version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not ask the coordinator.
    #[arg(long)]
    client: bool,
}

/// Prints the versions.
pub(crate) fn run(args: &Args, connection: &ConnectionArgs) -> Result<()> {
    terminal::print(concat!("Client Version: v", env!("CARGO_PKG_VERSION"), "\n"))?;
    if args.client {
        return Ok(());
    }
    session::run(connection, |session| async move {
        let version = session.api.get("/version", &[]).await?;
        Ok(terminal::print(&format!("Server Version: {}\n", text(&version, &["gitVersion"])))?)
    })
}

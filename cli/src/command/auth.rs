//! `auth`: who one is, and what one may do.

mod can_i;
mod whoami;

use anyhow::Result;

use crate::session::Session;

/// Commands about identity and rights.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Ask whether something may be done, or list what may be done.
    #[command(name = "can-i")]
    CanI(can_i::Args),
    /// Show as whom the coordinator knows you.
    #[command(name = "whoami")]
    WhoAmI(whoami::Args),
}

/// Runs the command.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    match args.what {
        What::CanI(args) => can_i::run(args, session).await,
        What::WhoAmI(args) => whoami::run(&args, session).await,
    }
}

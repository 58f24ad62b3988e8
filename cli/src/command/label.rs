//! `label`: sets and removes labels.

use anyhow::Result;

use crate::session::Session;

use super::metadata::{self, Map};

/// Options of `label`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin label pod hello tier=web
  dunlin label pod hello tier=edge --overwrite
  dunlin label pods --all tier-
  dunlin label node/n1 --list")]
pub(crate) struct Args {
    #[command(flatten)]
    shared: metadata::Args,
}

/// Changes labels of every object named.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    metadata::run(args.shared, Map::Labels, session).await
}

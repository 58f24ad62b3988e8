//! `annotate`: sets and removes annotations.

use anyhow::Result;

use crate::session::Session;

use super::metadata::{self, Map};

/// Options of `annotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin annotate pod hello tier=web
  dunlin annotate pod hello tier=edge --overwrite
  dunlin annotate pods --all tier-
  dunlin annotate node/n1 --list")]
pub(crate) struct Args {
    #[command(flatten)]
    shared: metadata::Args,
}

/// Changes annotations of every object named.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    metadata::run(args.shared, Map::Annotations, session).await
}

//! `local reset`: the way out for a node whose state cannot be read. Only a person can choose it.

use std::path::Path;

use anyhow::Result;
use dunlin_edge_node::{ResetError, reset};

use crate::terminal;

/// Options of `local reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The state is set aside, not deleted. Identity, modules and logs stay. At its next start the node holds nothing and runs no
pod until its coordinator tells it anew what to run; containers that still run are taken over then.

Examples:
  dunlin local reset                              a state that cannot be read
  dunlin local reset --even-if-readable           any state: the node forgets its pods until it is told again")]
pub(super) struct Args {
    /// Also a state that could be read.
    #[arg(long)]
    even_if_readable: bool,
}

pub(super) fn run(args: &Args, state: &Path) -> Result<()> {
    if !args.even_if_readable
        && let Some(problem) = reset::problem(state)?
    {
        terminal::remark(&format!("{problem}"));
    } else if !args.even_if_readable {
        return Err(ResetError::Readable { dir: state.to_owned() }.into());
    }
    let aside = reset::set_aside(state)?;
    Ok(terminal::print(&format!(
        "the state was set aside as {}; the node begins anew from its coordinator at its next start\n",
        aside.display()
    ))?)
}

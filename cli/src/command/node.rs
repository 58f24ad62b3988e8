//! `node`: the machines of the cluster and their keys, what lets further ones join, and what one holds that the cluster does not know.

mod held;
mod list;
mod revoke;
mod token;

use anyhow::Result;
use clap::Subcommand;
use jiff::Timestamp;
use serde_json::Value;

use crate::session::Session;

/// Options of `node`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: NodeCommand,
}

const EXAMPLES: &str = "\
Examples:
  dunlin node token create         a token for the next machine
  dunlin node list                 which machines have joined, with which keys
  dunlin node revoke kiosk-7       the machine was stolen
  dunlin node replace kiosk-7      a token for the machine that takes its place";

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Manage join tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// List pods that a node goes on running though the cluster does not know them, as after a restore.
    Held {
        /// The node.
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Stop pods that a node holds.
    #[command(after_help = "\
Examples:
  dunlin node held shed
  dunlin node bury shed hello                 in the namespace in effect
  dunlin node bury shed 6f9b2c1e-5d3a-4c55-9f0e-2b7a9d1c8e44 --grace-period 0")]
    Bury {
        /// The node.
        #[arg(value_name = "NODE")]
        node: String,
        /// Names, or uids as `held` shows them.
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        /// Seconds that a pod has to stop by itself.
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        grace_period: u32,
    },
    /// List the machines that have joined, with their keys and certificates.
    List(list::Args),
    /// Refuse the keys of nodes from now on.
    Revoke(revoke::RevokeArgs),
    /// Print a token for a machine that takes the place of a node.
    Replace(revoke::ReplaceArgs),
}

/// Runs the subcommand.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    match args.command {
        NodeCommand::Token(command) => token::run(command, session).await,
        NodeCommand::Held { node } => held::list(&session, &node).await,
        NodeCommand::Bury { node, pods, grace_period } => {
            held::bury(&session, &node, &pods, grace_period).await
        }
        NodeCommand::List(args) => list::run(&args, session).await,
        NodeCommand::Revoke(args) => revoke::revoke(&args, session).await,
        NodeCommand::Replace(args) => revoke::replace(&args, session).await,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Where the API has the machines that are nodes.
const NODES: &str = "/dunlin/v1/nodes";

//! `rollout`: how the newest version of a workload comes into place, which versions there were, and back to one of them.

use anyhow::{Result, anyhow};
use clap::Subcommand;

use crate::{failure::Failures, session::Session, terminal};

use super::{
    create::OutputArgs,
    target::{self, Found, ObjectArgs, Unnamed},
};

mod change;
mod history;
mod status;
mod undo;

/// Options of `rollout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin rollout status deployment/web            wait until it is done, with the reasons why it is not
  dunlin rollout history deployment/web --revision=3
  dunlin rollout undo deployment/web              back to the version before
  dunlin rollout undo daemonset/agent --to-revision=3
  dunlin rollout restart deployment -l tier=web")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Wait until a rollout is done.
    Status(status::Args),
    /// List the versions that a workload had, or show one.
    History(history::Args),
    /// Go back to an earlier version.
    Undo(undo::Args),
    /// Let changes of a Deployment gather without being rolled out.
    Pause(ChangeArgs),
    /// Roll out what has changed while it was paused.
    Resume(ChangeArgs),
    /// Replace all pods by new ones, as its strategy says.
    Restart(ChangeArgs),
}

/// Which workloads.
#[derive(Debug, clap::Args)]
struct WorkloadArgs {
    /// TYPE [NAME..], or TYPE/NAME..; a type alone means all there are.
    #[arg(value_name = "RESOURCE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    objects: ObjectArgs,
}

/// Options of what changes a workload by a word alone.
#[derive(Debug, clap::Args)]
struct ChangeArgs {
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// Name under which the changed fields are managed.
    #[arg(long, value_name = "NAME", default_value = "kubectl-rollout")]
    field_manager: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    match args.what {
        What::Status(args) => status::run(&args, &session).await,
        What::History(args) => history::run(&args, &session).await,
        What::Undo(args) => undo::run(&args, &session).await,
        What::Pause(args) => change::run(&args, change::Change::Pause, &session).await,
        What::Resume(args) => change::run(&args, change::Change::Resume, &session).await,
        What::Restart(args) => change::run(&args, change::Change::Restart, &session).await,
    }
}

impl WorkloadArgs {
    /// The workloads that could be read; the others are noted, and so is that there are none.
    async fn found(&self, failures: &mut Failures, session: &Session) -> Result<Vec<Found>> {
        let all = target::found(&self.resources, &self.objects, Unnamed::All, session).await?;
        if all.is_empty() {
            terminal::remark(&format!("No resources found in {} namespace.", session.namespace));
        }
        let mut found = Vec::new();
        for one in all {
            found.extend(failures.note(one)?);
        }
        Ok(found)
    }
}

/// A mistake about one workload, named as kubectl does: `deployments.apps "web" is already paused`.
fn refused(found: &Found, why: &str) -> anyhow::Error {
    anyhow!("{} {:?} {why}", found.target.kind.group_resource(), found.target.name)
}

//! `diff`: what an apply would change, without changing it: each object as it is and as it would be, compared line by line.

use anyhow::Result;
use serde_json::Value;

use crate::{
    document,
    failure::{self, AlreadyReported, Ended, Failures, UsageError},
    manifest::{self, FileArgs, Manifest},
    resource::Kind,
    session::{self, ConnectionArgs, Session},
    terminal,
};

use super::{
    apply::{
        DEFAULT_MANAGER,
        applier::{Applier, Outcome},
        conflict::Conflict,
    },
    create::DryRun,
};

mod masked;
mod unified;

/// Options of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin diff -f pod.yaml
  dunlin diff -R -f manifests/ > changes.diff
Exit codes: 0 when nothing would change, 1 when something would, more when it cannot be told.")]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    /// Name under which the manifests' fields would be managed.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_MANAGER)]
    field_manager: String,
    /// Say nothing of fields that other managers have.
    #[arg(long)]
    force_conflicts: bool,
    /// Compare on the server, as this command always does.
    #[arg(long, hide = true)]
    server_side: bool,
    /// Compare metadata.managedFields, too.
    #[arg(long)]
    show_managed_fields: bool,
}

/// Compares every object; one that fails does not stop the others.
///
/// # Errors
/// [`Ended`] with 1 when anything differs, with 2 when anything failed.
pub(crate) fn run(args: Args, connection: &ConnectionArgs) -> Result<()> {
    session::run(connection, |session| compare(args, session)).map_err(|error| {
        if error.is::<Ended>() || error.is::<UsageError>() {
            return error;
        }
        if !error.is::<AlreadyReported>() {
            failure::print(&error);
        }
        Ended(EXIT_TROUBLE).into()
    })
}

async fn compare(args: Args, session: Session) -> Result<()> {
    let manifests = manifest::read(&args.files, &session).await?;
    let applier = Applier::new(&session, &args.field_manager, DryRun::Server, "comparing");
    let mut failures = Failures::default();
    let mut untried = manifests.len();
    let mut differ = false;
    for manifest in manifests {
        untried -= 1;
        let Some(manifest) = failures.note(manifest)? else { continue };
        let outcome = outcome(&args, &applier, &manifest).await;
        let Some(outcome) = failures.note_before(untried, outcome)? else { continue };
        let text = difference(&args, &manifest, outcome);
        differ |= !text.is_empty();
        failures.note(terminal::print(&unified::coloured(&text)).map_err(Into::into))?;
    }
    failures.into_result()?;
    if differ { Err(Ended(EXIT_DIFFERENT).into()) } else { Ok(()) }
}

/// What an apply would do. One that conflicts is shown as if it did not, and said to.
async fn outcome(args: &Args, applier: &Applier<'_>, manifest: &Manifest) -> Result<Outcome> {
    if args.force_conflicts {
        return applier.force(manifest).await;
    }
    match applier.apply(manifest).await {
        Err(error) if error.is::<Conflict>() => {
            terminal::warn(&format!("without --force-conflicts, `dunlin apply` {error:#}"));
            applier.force(manifest).await
        }
        outcome => outcome,
    }
}

/// The difference as text; empty when there is none.
fn difference(args: &Args, manifest: &Manifest, outcome: Outcome) -> String {
    let Outcome { before, mut after } = outcome;
    let mut before = before.unwrap_or_default();
    if !args.show_managed_fields {
        [&mut before, &mut after].into_iter().for_each(document::without_managed_fields);
    }
    if manifest.kind.kind == "Secret" && manifest.kind.group.is_empty() {
        masked::mask(&mut before, &mut after);
    }
    let text = |object: &Value| if object.is_null() { String::new() } else { document::yaml(object) };
    let name = name(manifest.kind, &manifest.namespace, &manifest.name);
    unified::diff(&text(&before), &text(&after), &name)
}

/// As kubectl names the files that it compares.
fn name(kind: &Kind, namespace: &str, name: &str) -> String {
    let parts = [kind.group, kind.version, kind.kind, namespace, name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// As of kubectl and diff.
const EXIT_DIFFERENT: u8 = 1;
const EXIT_TROUBLE: u8 = 2;

//! `apply`: makes objects be as manifests declare them, by server-side apply: the server remembers which fields each manager
//! declares, removes those that a manifest no longer has, and refuses to change fields that others manage.

use anyhow::Result;
use clap::ArgAction;

use crate::{
    failure::{Failures, UsageError},
    manifest::{self, FileArgs},
    session::Session,
    terminal,
};

use self::{
    applier::{Applier, Outcome},
    conflict::Conflict,
};
use super::create::{OutputArgs, print_outcome};

pub(super) mod applier;
pub(super) mod conflict;
mod migration;
mod place;

/// Options of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin apply -f pod.yaml
  dunlin apply -R -f manifests/
  cat pod.yaml | dunlin apply -f -
  dunlin apply -f pod.yaml --dry-run=server       see what would happen; `dunlin diff` shows it in full
  dunlin apply -f pod.yaml --force-conflicts      take over fields that others manage")]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    /// Name under which the manifests' fields are managed. Under the default, an apply goes on from what `create`, `replace`, `run`,
    /// `expose` and client-side apply of kubectl set; under any other name their fields are conflicts.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_MANAGER)]
    field_manager: String,
    /// Take over fields that other managers have, instead of failing.
    #[arg(long)]
    force_conflicts: bool,
    /// Apply on the server, as this command always does.
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set, require_equals = true, hide_default_value = true)]
    server_side: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Applies every object; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if !args.server_side {
        return Err(
            UsageError("dunlin applies on the server only; leave --server-side out".to_owned()).into()
        );
    }
    args.output.dry_run.needs_server("an apply")?;
    let manifests = manifest::read(&args.files, &session).await?;
    let applier = Applier::new(&session, &args.field_manager, args.output.dry_run, "applying");
    let mut failures = Failures::default();
    let mut untried = manifests.len();
    let mut conflicts = 0;
    for manifest in manifests {
        untried -= 1;
        let Some(manifest) = failures.note(manifest)? else { continue };
        let applied = if args.force_conflicts {
            applier.force(&manifest).await
        } else {
            applier.apply(&manifest).await
        };
        conflicts += usize::from(applied.as_ref().is_err_and(|error| error.is::<Conflict>()));
        if let Some(Outcome { before, after }) = failures.note_before(untried, applied)? {
            let what = applier::word(before.as_ref(), &after);
            failures.note(print_outcome(&args.output, manifest.kind, &after, what))?;
        }
    }
    if conflicts > 0 {
        terminal::remark(conflict::ADVICE);
    }
    failures.into_result()
}

/// As kubectl's, so that both are one manager of what they apply in turn.
pub(super) const DEFAULT_MANAGER: &str = "kubectl";

//! `patch`: changes fields of objects by a patch.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::{
    api::Patch,
    document::text,
    failure::{Failures, UsageError},
    manifest::{self, FileArgs},
    session::Session,
};

use super::{
    create::{OutputArgs, print_outcome},
    target::{self, Target},
};

/// Options of `patch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin patch node n1 -p '{\"spec\":{\"unschedulable\":true}}'
  dunlin patch -f pod.yaml -p 'metadata: {labels: {tier: web}}'        a patch may be YAML
  dunlin patch cm settings --type=merge -p '{\"data\":{\"old\":null}}'   null removes
  dunlin patch deploy web --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]'
  dunlin patch deploy web --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":2}}'")]
pub(crate) struct Args {
    /// TYPE NAME.., or TYPE/NAME..
    #[arg(value_name = "RESOURCE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// The patch, JSON or YAML.
    #[arg(long, short, value_name = "PATCH", required_unless_present = "patch_file")]
    patch: Option<String>,
    /// File that holds the patch; `-` for stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "patch")]
    patch_file: Option<PathBuf>,
    /// How the patch is to be understood.
    #[arg(long = "type", value_enum, default_value = "strategic")]
    how: Patch,
    /// Patch this part of the object, for instance status or scale.
    #[arg(long, value_name = "NAME")]
    subresource: Option<String>,
    /// Name under which the changed fields are managed.
    #[arg(long, value_name = "NAME", default_value = "kubectl-patch")]
    field_manager: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Patches every object named; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    args.output.dry_run.needs_server("a patch")?;
    let patch = args.patch()?;
    let targets = target::named(&args.resources, &args.files, &session).await?;
    let mut failures = Failures::default();
    let mut untried = targets.len();
    for target in targets {
        untried -= 1;
        let Some(target) = failures.note(target)? else { continue };
        let patched = change(&args, &target, &patch, &session).await;
        if let Some((object, what)) = failures.note_before(untried, patched)? {
            failures.note(print_outcome(&args.output, target.kind, &object, what))?;
        }
    }
    failures.into_result()
}

async fn change(
    args: &Args,
    target: &Target,
    patch: &Value,
    session: &Session,
) -> Result<(Value, &'static str)> {
    let path = target.path_of(args.subresource.as_deref());
    let before = session.api.get(&path, &[]).await?;
    let query = args.output.dry_run.query(&args.field_manager);
    let after = session.api.patch(&path, &query, args.how, patch).await?;
    let version = |object| text(object, &["metadata", "resourceVersion"]).to_owned();
    let same = before == after || version(&before) == version(&after) && !args.output.is_dry_run();
    Ok((after, if same { "patched (no change)" } else { "patched" }))
}

impl Args {
    /// The patch that was given, of a shape that fits its type.
    fn patch(&self) -> Result<Value> {
        let value = match (&self.patch, &self.patch_file) {
            (Some(text), _) => manifest::value("--patch", text)?,
            (None, Some(file)) => manifest::value(&file.display().to_string(), &manifest::load(file)?)?,
            (None, None) => return Err(UsageError("which patch? Give one with -p".to_owned()).into()),
        };
        let fits = if self.how == Patch::Json { value.is_array() } else { value.is_object() };
        if fits {
            return Ok(value);
        }
        let shape = if self.how == Patch::Json { "a list of operations" } else { "a map of fields" };
        Err(UsageError(format!("a patch of this type is {shape}; --type chooses another")).into())
    }
}

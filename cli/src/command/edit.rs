//! `edit`: an object in an editor; what was changed there is merged into what the object has become meanwhile. A refused version
//! comes back into the editor with the reasons above it, and is never lost.

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    api::Patch,
    document::{self, text},
    failure::{self, Failures, ServerError},
    manifest::{self, FileArgs},
    merge,
    session::Session,
    terminal,
};

use self::draft::{Draft, Format};
use super::{
    create::DryRun,
    target::{self, Target},
};

mod draft;
mod editor;

/// Options of `edit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin edit pod hello
  KUBE_EDITOR=\"code --wait\" dunlin edit cm/settings deploy/web
The editor is $KUBE_EDITOR, else $EDITOR, else vi.")]
pub(crate) struct Args {
    /// TYPE NAME.., or TYPE/NAME..; several are edited one after the other.
    #[arg(value_name = "RESOURCE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Format in which the object is edited.
    #[arg(long, short, value_enum, default_value = "yaml")]
    output: Format,
    /// Edit this part of the object, for instance status.
    #[arg(long, value_name = "NAME")]
    subresource: Option<String>,
    /// Show metadata.managedFields, too.
    #[arg(long)]
    show_managed_fields: bool,
    /// Name under which the changed fields are managed.
    #[arg(long, value_name = "NAME", default_value = "kubectl-edit")]
    field_manager: String,
}

/// Edits every object named, one after the other.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let mut failures = Failures::default();
    for target in target::named(&args.resources, &args.files, &session).await? {
        let Some(target) = failures.note(target)? else { continue };
        failures.note(edit(&args, &target, &session).await)?;
    }
    failures.into_result()
}

async fn edit(args: &Args, target: &Target, session: &Session) -> Result<()> {
    let mut original = session.api.get(&target.path_of(args.subresource.as_deref()), &[]).await?;
    if !args.show_managed_fields {
        document::without_managed_fields(&mut original);
    }
    let mut draft = Draft::new(args.output, &original)?;
    for _ in 0..EDITS_MAX {
        let typed = editor::open(&draft).await?;
        if typed.trim().is_empty() {
            terminal::remark("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        if typed == draft.text() {
            return unchanged(&draft);
        }
        draft.take(typed);
        let edited = match manifest::value("edited", draft.text()) {
            Ok(edited) => edited,
            Err(error) => {
                draft.reject(&format!("the edited file is malformed: {error:#}"));
                continue;
            }
        };
        if edited == original {
            return unchanged(&Draft::new(args.output, &original)?);
        }
        if let Some(field) = identity_changed(&original, &edited) {
            draft.reject(&format!("{field} cannot be changed; edit another object by its own name"));
            continue;
        }
        match write(args, target, &original, &edited, session).await {
            Ok(()) => {
                return Ok(terminal::print(&format!("{} edited\n", target.reference()))?);
            }
            Err(error) if error.is::<ServerError>() && !failure::is_reason(&error, "NotFound") => {
                failure::print(&error);
                draft.reject(&error.to_string());
            }
            Err(error) => {
                keep(&draft)?;
                return Err(error);
            }
        }
    }
    keep(&draft)?;
    Err(anyhow!("{} was refused {EDITS_MAX} times", target.reference()))
}

/// The editor was left without a change: after a refusal that gives the change up.
fn unchanged(draft: &Draft) -> Result<()> {
    if draft.is_rejected() {
        keep(draft)?;
        return Err(anyhow!("Edit cancelled, no valid changes were saved."));
    }
    terminal::remark("Edit cancelled, no changes made.");
    Ok(())
}

fn keep(draft: &Draft) -> Result<()> {
    let path = editor::keep(draft)?;
    terminal::remark(&format!("A copy of your changes has been stored to \"{}\"", path.display()));
    Ok(())
}

/// The name of a field that says which object this is, if it differs.
fn identity_changed(original: &Value, edited: &Value) -> Option<&'static str> {
    let fields: [(&str, &[&str]); 4] = [
        ("apiVersion", &["apiVersion"]),
        ("kind", &["kind"]),
        ("metadata.name", &["metadata", "name"]),
        ("metadata.namespace", &["metadata", "namespace"]),
    ];
    fields.iter().find(|(_, path)| text(original, path) != text(edited, path)).map(|(field, _)| *field)
}

/// Merges what was changed into the object as it is by now.
async fn write(
    args: &Args,
    target: &Target,
    original: &Value,
    edited: &Value,
    session: &Session,
) -> Result<()> {
    let path = target.path_of(args.subresource.as_deref());
    for _ in 0..CONFLICTS_MAX {
        let current = session.api.get(&path, &[]).await?;
        let merged = merge::three_way(target.kind.schema, original, edited, &current);
        let mut patch = merge::patch(&current, &merged);
        // Lists were merged here, so that the server must not merge them into anything newer than this.
        patch["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        let query = DryRun::None.query(&args.field_manager);
        match session.api.patch(&path, &query, Patch::Merge, &patch).await {
            Err(error) if failure::is_reason(&error, "Conflict") => {}
            other => return other.map(|_| ()),
        }
    }
    Err(anyhow!("{} keeps being changed by others; try again", target.reference()))
}

/// Rounds through the editor, for one that is a script and never gives up.
const EDITS_MAX: usize = 50;

/// Retries against a writer that is as quick as we are.
const CONFLICTS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::identity_changed;

    #[test]
    fn an_object_stays_itself() {
        let object =
            |name: &str, data: &str| json!({"kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        assert_eq!(identity_changed(&object("a", "1"), &object("a", "2")), None);
        assert_eq!(identity_changed(&object("a", "1"), &object("b", "1")), Some("metadata.name"));
    }
}

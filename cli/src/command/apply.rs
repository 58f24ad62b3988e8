//! `apply`: makes objects be as manifests declare them. What was applied is remembered in an annotation, so that a field that is
//! taken out of a manifest is removed from the object, while fields that others set stay.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    api,
    document::text,
    failure::{self, Failures, ServerError},
    manifest::{self, FileArgs, Manifest},
    merge, resource,
    session::Session,
    terminal,
};

use super::create::{DryRun, OutputArgs, print_outcome};

/// Options of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin apply -f pod.yaml
  dunlin apply -R -f manifests/
  cat pod.yaml | dunlin apply -f -
  dunlin apply -f pod.yaml --dry-run=server")]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Applies every object; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let manifests = manifest::read(&args.files, &session.namespace, session.namespace_given())?;
    let mut failures = Failures::default();
    let mut untried = manifests.len();
    for manifest in manifests {
        untried -= 1;
        if let Some(manifest) = failures.note(manifest)? {
            let applied = apply(&manifest, args.output.dry_run, &session).await;
            if let Some((object, what)) = failures.note_before(untried, applied)? {
                failures.note(print_outcome(&args.output, manifest.kind, &object, what))?;
            }
        }
    }
    failures.into_result()
}

/// Applies one object and says what became of it.
async fn apply(manifest: &Manifest, dry_run: DryRun, session: &Session) -> Result<(Value, &'static str)> {
    let mut wanted = manifest.object.clone();
    remember(&mut wanted)?;
    for _ in 0..CONFLICTS_MAX {
        match current(manifest, session).await? {
            None => return Ok((create(manifest, &wanted, dry_run, session).await?, "created")),
            Some(current) => match change(manifest, &wanted, current, dry_run, session).await {
                // Somebody else wrote in between; what they wrote must be merged with, not over.
                Err(error) if failure::is_reason(&error, "Conflict") && !names_version(&wanted) => {}
                other => return other,
            },
        }
    }
    anyhow::bail!(
        "{} keeps being changed by others; try again",
        resource::reference(manifest.kind, &manifest.name)
    )
}

async fn current(manifest: &Manifest, session: &Session) -> Result<Option<Value>> {
    // A generated name is always new.
    if manifest.name.is_empty() {
        return Ok(None);
    }
    let path = api::object(manifest.kind, &manifest.namespace, &manifest.name);
    match session.api.get(&path, &[]).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if failure::is_reason(&error, "NotFound") => Ok(None),
        Err(error) => Err(during(error, "retrieving current configuration of", manifest)),
    }
}

async fn create(manifest: &Manifest, wanted: &Value, dry_run: DryRun, session: &Session) -> Result<Value> {
    if dry_run == DryRun::Client {
        return Ok(wanted.clone());
    }
    let path = api::collection(manifest.kind, Some(&manifest.namespace));
    let created = session.api.create(&path, &dry_run.query(MANAGER), wanted).await;
    created.map_err(|error| during(error, "creating", manifest))
}

/// Brings an object that exists into line, if it is not yet.
async fn change(
    manifest: &Manifest,
    wanted: &Value,
    current: Value,
    dry_run: DryRun,
    session: &Session,
) -> Result<(Value, &'static str)> {
    let applied = last_applied(&current);
    if applied.is_null() {
        terminal::warn(&format!(
            "{} was not made by apply: what an earlier manifest declared and this one does not will stay",
            resource::reference(manifest.kind, &manifest.name)
        ));
    }
    let merged = merge::three_way(manifest.kind.schema, &applied, wanted, &current);
    let mut patch = merge::patch(&current, &merged);
    if patch.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok((current, "unchanged"));
    }
    if dry_run == DryRun::Client {
        return Ok((merged, "configured"));
    }
    // Lists were merged here, so that the server must not merge them into anything newer than this, or than the manifest was
    // made from, if it says so.
    let base = if names_version(wanted) { wanted } else { &current };
    patch["metadata"]["resourceVersion"] = base["metadata"]["resourceVersion"].clone();
    let path = api::object(manifest.kind, &manifest.namespace, &manifest.name);
    let patched = session.api.merge_patch(&path, &dry_run.query(MANAGER), &patch).await;
    let patched = patched.map_err(|error| during(error, "applying patch to", manifest))?;
    let what = if dry_run == DryRun::None { outcome(&current, &patched) } else { "configured" };
    Ok((patched, what))
}

/// Whether the manifest is meant for one version of the object only.
fn names_version(wanted: &Value) -> bool {
    !text(wanted, &["metadata", "resourceVersion"]).is_empty()
}

/// What a patch did. An object that goes away with its last finalizer is answered in its last version.
fn outcome(before: &Value, after: &Value) -> &'static str {
    let same = |field: &str| before["metadata"][field] == after["metadata"][field];
    if same("resourceVersion") && same("finalizers") { "unchanged" } else { "configured" }
}

/// Writes the manifest into its own annotation.
fn remember(wanted: &mut Value) -> Result<()> {
    if let Some(annotations) = wanted["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    } else if !wanted["metadata"]["annotations"].is_null() {
        // Not a map: the server says so better than we could.
        return Ok(());
    } else {
        wanted["metadata"]["annotations"] = json!({});
    }
    let text = serde_json::to_string(wanted).context("cannot encode the manifest")?;
    wanted["metadata"]["annotations"][LAST_APPLIED] = format!("{text}\n").into();
    Ok(())
}

/// What was applied last; null when the object was made in another way.
fn last_applied(current: &Value) -> Value {
    serde_json::from_str(text(current, &["metadata", "annotations", LAST_APPLIED])).unwrap_or_default()
}

fn during(error: anyhow::Error, what: &str, manifest: &Manifest) -> anyhow::Error {
    match error.downcast::<ServerError>() {
        Ok(refusal) => refusal.during(format!("error when {what} {}", manifest.source)).into(),
        Err(error) => error,
    }
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const MANAGER: &str = "kubectl-client-side-apply";

/// Retries against a writer that is as quick as we are.
const CONFLICTS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{LAST_APPLIED, last_applied, names_version, outcome, remember};

    #[test]
    fn versions() {
        let check = |metadata: Value, expected| {
            assert_eq!(names_version(&json!({"metadata": metadata})), expected);
        };
        check(json!({"name": "a"}), false);
        check(json!({"name": "a", "resourceVersion": ""}), false);
        check(json!({"name": "a", "resourceVersion": "1"}), true);
    }

    #[test]
    fn outcomes() {
        let check = |after: Value, expected| {
            let before = json!({"metadata": {"resourceVersion": "7", "finalizers": ["x/y"]}});
            assert_eq!(outcome(&before, &json!({"metadata": after})), expected);
        };
        check(json!({"resourceVersion": "7", "finalizers": ["x/y"]}), "unchanged");
        check(json!({"resourceVersion": "8", "finalizers": ["x/y"]}), "configured");
        check(json!({"resourceVersion": "7"}), "configured");
    }

    #[test]
    fn what_is_remembered_is_the_manifest_alone() {
        let mut once = json!({"kind": "Pod", "metadata": {"name": "a"}});
        remember(&mut once).unwrap();
        assert_eq!(last_applied(&once), json!({"kind": "Pod", "metadata": {"name": "a", "annotations": {}}}));
        let mut twice = once.clone();
        remember(&mut twice).unwrap();
        assert_eq!(once, twice);
        assert!(once["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap().ends_with('\n'));
        assert_eq!(last_applied(&json!({})), Value::Null);
    }
}

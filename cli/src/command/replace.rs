//! `replace`: makes objects be exactly as manifests say, in place or by making them anew.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    api,
    document::text,
    failure::{self, Failures, UsageError},
    manifest::{self, FileArgs, Manifest},
    resource,
    session::{self, Session},
    terminal,
};

use super::{
    create::{DryRun, OutputArgs, print_outcome},
    delete::{self, Leaving},
};

/// Options of `replace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin replace -f pod.yaml
  dunlin get cm settings -o yaml | sed s/red/green/ | dunlin replace -f -
  dunlin replace --force -f pod.yaml              delete the pod and make it anew")]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    /// Delete the objects and create them anew.
    #[arg(long)]
    force: bool,
    /// With --force: seconds that a pod has to stop by itself; the default is the pod's own.
    #[arg(long, value_name = "SECONDS", requires = "force")]
    grace_period: Option<u32>,
    /// With --force: how long to wait for the end of each object; 0 means as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "0", requires = "force")]
    timeout: Duration,
    /// Replace this part of the objects, for instance status.
    #[arg(long, value_name = "NAME", conflicts_with = "force")]
    subresource: Option<String>,
    /// Name under which the objects' fields are managed.
    #[arg(long, value_name = "NAME", default_value = "kubectl-replace")]
    field_manager: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Replaces every object; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    args.output.dry_run.needs_server("a replacement")?;
    if args.force && args.output.is_dry_run() {
        return Err(UsageError("--force and --dry-run cannot be combined".to_owned()).into());
    }
    let manifests = manifest::read(&args.files, &session).await?;
    let mut failures = Failures::default();
    let mut untried = manifests.len();
    for manifest in manifests {
        untried -= 1;
        let Some(manifest) = failures.note(manifest)? else { continue };
        let replaced = if args.force {
            anew(&args, &manifest, &session).await
        } else {
            in_place(&args, &manifest, &session).await
        };
        let replaced = replaced
            .map_err(|error| failure::during(error, format!("error when replacing {}", manifest.source)));
        if let Some(object) = failures.note_before(untried, replaced)? {
            failures.note(print_outcome(&args.output, manifest.kind, &object, "replaced"))?;
        }
    }
    failures.into_result()
}

async fn in_place(args: &Args, manifest: &Manifest, session: &Session) -> Result<Value> {
    let mut path = api::object(manifest.kind, &manifest.namespace, &manifest.name);
    let mut object = manifest.object.clone();
    if text(&object, &["metadata", "resourceVersion"]).is_empty() {
        // Without a version a manifest is meant for whatever is there.
        let live = session.api.get(&path, &[]).await?;
        object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    }
    if let Some(subresource) = &args.subresource {
        path = format!("{path}/{subresource}");
    }
    session.api.replace(&path, &args.output.dry_run.query(&args.field_manager), &object).await
}

async fn anew(args: &Args, manifest: &Manifest, session: &Session) -> Result<Value> {
    let path = api::object(manifest.kind, &manifest.namespace, &manifest.name);
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    if let Some(seconds) = args.grace_period {
        options["gracePeriodSeconds"] = seconds.into();
    }
    match session.api.delete(&path, &[], &options).await {
        Ok(answer) => {
            let leaving = Leaving::new(manifest.kind, &manifest.name, path, &answer);
            let kind = resource::qualified_singular(manifest.kind);
            if args.output.output.is_none() {
                terminal::print(&format!("{kind} {:?} deleted\n", manifest.name))?;
            }
            delete::gone(&leaving, args.timeout, Instant::now(), session).await?;
        }
        // Whatever is not there needs no end.
        Err(error) if failure::is_reason(&error, "NotFound") => {}
        Err(error) => return Err(error),
    }
    let mut object = manifest.object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("uid");
    }
    let collection = api::collection(manifest.kind, Some(&manifest.namespace));
    session.api.create(&collection, &DryRun::None.query(&args.field_manager), &object).await
}

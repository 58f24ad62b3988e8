//! `rollout history`: which versions a workload had, and what one of them was.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::WorkloadArgs;
use crate::{
    api,
    command::{create::Format, describe, target::Found},
    document::{self, items},
    failure::Failures,
    resource,
    session::Session,
    tabs::{self, Layout},
    terminal,
    workload::{
        self,
        revisions::{self, Revision},
        rollout,
    },
};

/// Options of `rollout history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin rollout history deployment/web
  dunlin rollout history daemonset/agent --revision=3
  dunlin rollout history deployment/web --revision=3 -o yaml")]
pub(super) struct Args {
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// Show the pods of this revision; 0 lists all.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    revision: i64,
    /// Print the objects that keep the revisions.
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

/// Prints it, workload by workload.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    if args.revision < 0 {
        return Err(crate::failure::UsageError(format!(
            "revision must be a positive integer: {}",
            args.revision
        ))
        .into());
    }
    let mut failures = Failures::default();
    for found in args.workloads.found(&mut failures, session).await? {
        let shown = match of(&found, session).await {
            Ok(revisions) => show(args, &found, &revisions),
            Err(error) => Err(error),
        };
        if let Some(shown) = failures.note(shown)? {
            terminal::print(&shown)?;
        }
    }
    failures.into_result()
}

/// The revisions of a workload, the oldest first.
///
/// # Errors
/// When its kind has none, or they cannot be read.
pub(super) async fn of(found: &Found, session: &Session) -> Result<Vec<Revision>> {
    let kind = found.target.kind;
    let keepers = match (kind.group, kind.kind) {
        ("apps", "Deployment") => resource::find("replicasets")?,
        ("apps", "DaemonSet" | "StatefulSet") => resource::find("controllerrevisions")?,
        _ => bail!("no history viewer has been implemented for {:?}", rollout::qualified(kind)),
    };
    let selector = workload::pod_selector(&found.object);
    let path = api::collection(keepers, Some(&found.target.namespace));
    let list = session.api.list(&path, &[("labelSelector", &selector)]).await?;
    let mut revisions = revisions::of(&found.object, items(&list, &["items"]));
    for revision in &mut revisions {
        revision.object["apiVersion"] = keepers.api_version().into();
        revision.object["kind"] = keepers.kind.into();
    }
    Ok(revisions)
}

fn show(args: &Args, found: &Found, revisions: &[Revision]) -> Result<String> {
    let wanted: Vec<&Revision> =
        revisions.iter().filter(|revision| args.revision == 0 || revision.number == args.revision).collect();
    if args.revision > 0 && wanted.is_empty() {
        bail!("unable to find the specified revision");
    }
    if let Some(format) = args.output {
        let printed: Result<Vec<String>> =
            wanted.iter().map(|revision| object(&revision.object, format)).collect();
        let separator = if format == Format::Yaml { "---\n" } else { "" };
        return Ok(printed?.join(separator));
    }
    let reference = found.target.reference();
    match wanted.as_slice() {
        [one] if args.revision > 0 => {
            let template = describe::template(&with_cause(one));
            Ok(format!("{reference} with revision #{}\n{template}\n", args.revision))
        }
        _ => Ok(format!("{reference} \n{}\n", table(&wanted))),
    }
}

fn table(revisions: &[&Revision]) -> String {
    let mut rows = String::from("REVISION\tCHANGE-CAUSE\n");
    for revision in revisions {
        rows.push_str(&format!("{}\t{}\n", revision.number, revision.cause.as_deref().unwrap_or("<none>")));
    }
    tabs::align(&rows, Layout::DESCRIPTION)
}

/// A template that also tells why it was made.
fn with_cause(revision: &Revision) -> Value {
    let mut template = revision.template.clone();
    if let Some(cause) = &revision.cause {
        template["metadata"]["annotations"]["kubernetes.io/change-cause"] = cause.as_str().into();
    }
    template
}

fn object(object: &Value, format: Format) -> Result<String> {
    let mut object = object.clone();
    document::without_managed_fields(&mut object);
    match format {
        Format::Yaml => Ok(document::yaml(&object)),
        Format::Json => document::json(&object),
        Format::Name => {
            let (version, kind) = (&object["apiVersion"], &object["kind"]);
            let kind = dunlin_api::kind::by_kind(
                version.as_str().unwrap_or_default(),
                kind.as_str().unwrap_or_default(),
            );
            let kind = kind.ok_or_else(|| anyhow!("revisions are kept in no kind that is known"))?;
            let name = document::text(&object, &["metadata", "name"]);
            Ok(format!("{}\n", resource::reference(kind, name)))
        }
    }
}

//! `cordon` and `uncordon`: whether new pods may be scheduled onto a node.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    api::{self, Patch},
    document::{items, text},
    failure::{Failures, UsageError},
    resource::{self, Kind},
    session::Session,
    terminal,
};

use super::create::DryRun;

/// Options of `cordon`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin cordon node-1
  dunlin cordon -l site=north
  dunlin uncordon node-1")]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: NodeArgs,
    /// Only say what would happen.
    #[arg(long, value_enum, default_value = "none", num_args = 0..=1, default_missing_value = "client",
          require_equals = true)]
    dry_run: DryRun,
}

/// Which nodes.
#[derive(Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// Names of nodes.
    #[arg(value_name = "NODE", required_unless_present = "selector")]
    nodes: Vec<String>,
    /// All nodes with these labels.
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "nodes")]
    selector: Option<String>,
}

/// What a node is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Closed to new pods.
    Cordoned,
    /// Open to new pods.
    Schedulable,
}

/// Changes every node named; one that fails does not stop the others.
pub(crate) async fn run(args: Args, wanted: Wanted, session: Session) -> Result<()> {
    let mut failures = Failures::default();
    for node in args.nodes.found(&mut failures, &session).await? {
        failures.note(set(&node, wanted, args.dry_run, &session).await)?;
    }
    failures.into_result()
}

/// Opens or closes one node, and says so.
///
/// # Errors
/// When it cannot be changed.
pub(super) async fn set(node: &Value, wanted: Wanted, dry_run: DryRun, session: &Session) -> Result<()> {
    let kind = resource::find("nodes")?;
    let name = text(node, &["metadata", "name"]);
    let word = match wanted {
        Wanted::Cordoned => "cordoned",
        Wanted::Schedulable => "uncordoned",
    };
    let cordoned = node["spec"]["unschedulable"].as_bool().unwrap_or(false);
    let already = cordoned == (wanted == Wanted::Cordoned);
    if !already && dry_run != DryRun::Client {
        let unschedulable = match wanted {
            Wanted::Cordoned => json!(true),
            Wanted::Schedulable => json!(null),
        };
        let patch = json!({"spec": {"unschedulable": unschedulable}});
        let path = api::object(kind, "", name);
        session.api.patch(&path, &dry_run.query("kubectl-cordon"), Patch::Merge, &patch).await?;
    }
    let prefix = if already { "already " } else { "" };
    let suffix = if already { "" } else { dry_run.suffix() };
    Ok(terminal::print(&format!("{} {prefix}{word}{suffix}\n", resource::reference(kind, name)))?)
}

impl NodeArgs {
    /// The nodes that could be read; the others are noted.
    pub(super) async fn found(&self, failures: &mut Failures, session: &Session) -> Result<Vec<Value>> {
        let kind = resource::find("nodes")?;
        if let Some(selector) = &self.selector {
            let list = session.api.list(&api::collection(kind, None), &[("labelSelector", selector)]).await?;
            if items(&list, &["items"]).is_empty() {
                terminal::remark("No resources found");
            }
            return Ok(items(&list, &["items"]).to_vec());
        }
        let mut nodes = Vec::new();
        for name in &self.nodes {
            let name = node_name(name, kind)?;
            nodes.extend(failures.note(session.api.get(&api::object(kind, "", name), &[]).await)?);
        }
        Ok(nodes)
    }
}

/// The name in `NAME` or `node/NAME`.
fn node_name<'a>(word: &'a str, kind: &Kind) -> Result<&'a str> {
    match word.split_once('/') {
        None => Ok(word),
        Some((typed, name)) if resource::same(resource::find(typed)?, kind) => Ok(name),
        Some((typed, _)) => Err(UsageError(format!("{typed} is no node")).into()),
    }
}

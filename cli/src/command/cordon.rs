//! `cordon` and `uncordon`: whether new pods may be scheduled onto a node.

use anyhow::Result;
use serde_json::json;

use crate::{
    api::{self, Patch},
    failure::Failures,
    resource,
    session::Session,
    terminal,
};

/// Options of `cordon`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin cordon node-1
  dunlin uncordon node-1")]
pub(crate) struct Args {
    /// Names of nodes.
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
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
    let kind = resource::find("nodes")?;
    let word = match wanted {
        Wanted::Cordoned => "cordoned",
        Wanted::Schedulable => "uncordoned",
    };
    let mut failures = Failures::default();
    for name in &args.nodes {
        let name = name.strip_prefix("node/").unwrap_or(name);
        let path = api::object(kind, "", name);
        let Some(node) = failures.note(session.api.get(&path, &[]).await)? else { continue };
        let cordoned = node["spec"]["unschedulable"].as_bool().unwrap_or(false);
        let already = cordoned == (wanted == Wanted::Cordoned);
        if !already {
            let unschedulable = match wanted {
                Wanted::Cordoned => json!(true),
                Wanted::Schedulable => json!(null),
            };
            let patch = json!({"spec": {"unschedulable": unschedulable}});
            let patched =
                session.api.patch(&path, &[("fieldManager", "kubectl-cordon")], Patch::Merge, &patch).await;
            if failures.note(patched)?.is_none() {
                continue;
            }
        }
        let prefix = if already { "already " } else { "" };
        terminal::print(&format!("{} {prefix}{word}\n", resource::reference(kind, name)))?;
    }
    failures.into_result()
}

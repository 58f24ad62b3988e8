//! `drain`: closes nodes to new pods and moves those that run there elsewhere, as far as disruption budgets let them go.

use std::time::Duration;

use anyhow::{Result, anyhow};
use dunlin_api::selector::LabelSelector;
use serde_json::Value;

use crate::{
    api,
    document::{items, text},
    failure::{self, Failures, UsageError},
    resource,
    session::{self, Session},
    terminal,
};

use self::{
    eviction::Evictions,
    filter::{Filter, Verdict},
};
use super::{
    cordon::{self, NodeArgs, Wanted},
    create::DryRun,
};

mod eviction;
mod filter;

/// Options of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin drain node-1 --ignore-daemonsets
  dunlin drain node-1 --ignore-daemonsets --delete-emptydir-data --timeout=5m
  dunlin drain -l site=north --pod-selector=app=web
Pods that a disruption budget holds back are tried again until it lets them go; `dunlin uncordon` opens the node again.")]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: NodeArgs,
    /// Leave pods of DaemonSets, which would come back at once.
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Go on when pods have data in emptyDir volumes, which is lost.
    #[arg(long)]
    delete_emptydir_data: bool,
    /// Go on when pods have no controller that would replace them.
    #[arg(long)]
    force: bool,
    /// Seconds that pods have to stop by themselves; -1 means each pod's own.
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_negative_numbers = true, hide_default_value = true)]
    grace_period: i64,
    /// How long to wait at most for each node; 0 means as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "0")]
    timeout: Duration,
    /// Only pods with these labels.
    #[arg(long, value_name = "LABELS")]
    pod_selector: Option<String>,
    /// Delete pods without asking disruption budgets.
    #[arg(long)]
    disable_eviction: bool,
    /// Do not wait for pods that have been told to stop so many seconds ago; 0 waits for all.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    skip_wait_for_delete_timeout: u32,
    /// Only say what would happen.
    #[arg(long, value_enum, default_value = "none", num_args = 0..=1, default_missing_value = "client",
          require_equals = true)]
    dry_run: DryRun,
}

/// Closes all nodes, then empties one after the other; one that cannot be emptied does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if let Some(selector) = &args.pod_selector {
        let wrong =
            |error| UsageError(format!("--pod-selector={selector} must be a valid label selector: {error}"));
        LabelSelector::parse(selector).map_err(wrong)?;
    }
    let mut failures = Failures::default();
    let nodes = args.nodes.found(&mut failures, &session).await?;
    // Else the pods of one node might move to the next.
    let mut closed = Vec::new();
    for node in nodes {
        let cordoned = cordon::set(&node, Wanted::Cordoned, args.dry_run, &session).await;
        closed.extend(failures.note(cordoned)?.map(|()| node));
    }
    let mut pending = Vec::new();
    for node in &closed {
        let name = text(node, &["metadata", "name"]);
        match empty(&args, name, &session).await {
            Ok(()) => terminal::print(&format!("node/{name} drained{}\n", args.dry_run.suffix()))?,
            Err(error) => {
                let more = if closed.len() > 1 { ", continuing command..." } else { "" };
                let told = anyhow!("unable to drain node {name:?} due to error: {error:#}{more}");
                failures.note::<()>(if crate::client::is_lost(&error) { Err(error) } else { Err(told) })?;
                pending.push(name);
            }
        }
    }
    if !pending.is_empty() && closed.len() > 1 {
        terminal::remark(&format!("There are pending nodes to be drained:\n {}", pending.join("\n ")));
    }
    failures.into_result()
}

/// Moves the pods of one node elsewhere.
async fn empty(args: &Args, node: &str, session: &Session) -> Result<()> {
    let filter = Filter {
        daemon_sets: if args.ignore_daemonsets { Verdict::Skip } else { Verdict::Refuse },
        local_data: if args.delete_emptydir_data { Verdict::Go } else { Verdict::Refuse },
        unmanaged: if args.force { Verdict::Go } else { Verdict::Refuse },
        skip_leaving_seconds: args.skip_wait_for_delete_timeout,
    };
    let pods = pods_of(node, args.pod_selector.as_deref(), session).await?;
    let orphans = orphans(&pods, session).await?;
    let chosen = filter.choose(&pods, &orphans, jiff::Timestamp::now());
    if !chosen.refusals.is_empty() {
        return Err(anyhow!("{}", chosen.refusals.join(", ")));
    }
    if !chosen.warnings.is_empty() {
        terminal::warn(&chosen.warnings.join("; "));
    }
    Evictions::new(args, node, chosen.pods, session).run().await
}

/// The pods of a node.
async fn pods_of(node: &str, selector: Option<&str>, session: &Session) -> Result<Vec<Value>> {
    let fields = format!("spec.nodeName={node}");
    let mut query = vec![("fieldSelector", fields.as_str())];
    query.extend(selector.map(|selector| ("labelSelector", selector)));
    let list = session.api.list(&api::collection(resource::find("pods")?, None), &query).await?;
    Ok(items(&list, &["items"]).to_vec())
}

/// The DaemonSets that pods name and that are not there any more, as NAMESPACE/NAME.
async fn orphans(pods: &[Value], session: &Session) -> Result<Vec<String>> {
    let mut sets: Vec<(&str, &str)> = pods.iter().filter_map(filter::daemon_set).collect();
    sets.sort_unstable();
    sets.dedup();
    let mut gone = Vec::new();
    for (namespace, name) in sets {
        let path = api::object(resource::find("daemonsets")?, namespace, name);
        match session.api.get(&path, &[]).await {
            Err(error) if failure::is_reason(&error, "NotFound") => gone.push(format!("{namespace}/{name}")),
            other => drop(other?),
        }
    }
    Ok(gone)
}

//! `cluster-info`: where the coordinator is, and how many nodes and pods are well.

use anyhow::Result;
use serde_json::Value;

use crate::{
    api,
    document::{items, text},
    resource,
    session::Session,
    terminal,
};

/// Options of `cluster-info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Prints a few lines.
pub(crate) async fn run(_: Args, session: Session) -> Result<()> {
    let version = session.api.get("/version", &[]).await?;
    let nodes = session.api.list(&api::collection(resource::find("nodes")?, None), &[]).await?;
    let pods = session.api.list(&api::collection(resource::find("pods")?, None), &[]).await?;
    let nodes = items(&nodes, &["items"]);
    let pods = items(&pods, &["items"]);
    let ready = nodes.iter().filter(|node| is_ready(node)).count();
    let phase = |name: &str| pods.iter().filter(|pod| text(pod, &["status", "phase"]) == name).count();
    let summary = format!(
        "Dunlin coordinator {} is running at quic://{} (context {:?})\n\
         Nodes: {ready} of {} ready\n\
         Pods: {} running, {} pending, {} succeeded, {} failed\n",
        text(&version, &["gitVersion"]),
        session.server,
        session.context,
        nodes.len(),
        phase("Running"),
        phase("Pending"),
        phase("Succeeded"),
        phase("Failed"),
    );
    Ok(terminal::print(&summary)?)
}

fn is_ready(node: &Value) -> bool {
    items(node, &["status", "conditions"])
        .iter()
        .any(|condition| text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True")
}

//! `cluster-info`: where the coordinator is, and how many nodes and pods are well.

use anyhow::Result;
use dunlin_api::time::human_duration;
use jiff::Timestamp;
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
    let snapshots = snapshots(session.api.get("/dunlin/v1/snapshots", &[]).await);
    let summary = format!(
        "Dunlin coordinator {} is running at quic://{} (context {:?})\n\
         Nodes: {ready} of {} ready\n\
         Pods: {} running, {} pending, {} succeeded, {} failed\n{snapshots}",
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

/// How scheduled snapshots fare; nothing for users who may not know.
fn snapshots(status: Result<Value>) -> String {
    let Ok(status) = status else { return String::new() };
    let time = |field: &str| {
        let time = status[field].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok());
        time.map(|at| format!("{} ago", human_duration(Timestamp::now().duration_since(at))))
    };
    let newest = match (time("newestAt"), &status["newestRevision"]) {
        (Some(age), revision) => format!("the newest {age}, of revision {revision}"),
        (None, _) => "none yet".to_owned(),
    };
    let mut text = match status["everySeconds"].as_u64() {
        Some(0) => "Snapshots: off\n".to_owned(),
        _ => format!("Snapshots: in {}, {newest}\n", text(&status, &["folder"])),
    };
    if let Some(age) = time("failedAt") {
        text.push_str(&format!("Snapshots FAIL: {} ({age})\n", self::text(&status, &["failure"])));
    }
    text
}

fn is_ready(node: &Value) -> bool {
    items(node, &["status", "conditions"])
        .iter()
        .any(|condition| text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True")
}

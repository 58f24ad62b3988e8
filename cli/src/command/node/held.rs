//! `node held` and `node bury`: pods that a node goes on running though the cluster does not know them.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::{
    document::{items, text},
    failure::Failures,
    session::Session,
    tabs::{self, Layout},
    terminal,
};

/// Prints what a node holds.
pub(super) async fn list(session: &Session, node: &str) -> Result<()> {
    let list = session.api.get(&held_path(node), &[]).await?;
    Ok(terminal::print(&held_table(node, items(&list, &["items"])))?)
}

fn held_path(node: &str) -> String {
    format!("/dunlin/v1/nodes/{node}/held")
}

fn held_table(node: &str, pods: &[Value]) -> String {
    if pods.is_empty() {
        return format!("Node {node} holds no pods\n");
    }
    let mut rows = "NAMESPACE\tNAME\tPHASE\tUID\n".to_owned();
    for pod in pods {
        let cell = |field| text(pod, &[field]);
        rows.push_str(&[cell("namespace"), cell("name"), cell("phase"), cell("uid")].join("\t"));
        rows.push('\n');
    }
    tabs::align(&rows, Layout::TABLE)
}

/// Stops pods that a node holds, named or by uid.
pub(super) async fn bury(session: &Session, node: &str, pods: &[String], grace_seconds: u32) -> Result<()> {
    let list = session.api.get(&held_path(node), &[]).await?;
    let held = items(&list, &["items"]);
    let mut failures = Failures::default();
    for asked in pods {
        let is_meant = |pod: &&Value| {
            text(pod, &["uid"]) == asked
                || (text(pod, &["name"]) == asked && text(pod, &["namespace"]) == session.namespace)
        };
        let answer = match held.iter().find(is_meant) {
            None => Err(anyhow!("node {node} holds no pod {asked} in namespace {}", session.namespace)),
            Some(pod) => {
                let burial = json!({"uid": text(pod, &["uid"]), "graceSeconds": grace_seconds});
                session.api.create(&held_path(node), &[], &burial).await
            }
        };
        if failures.note(answer)?.is_some() {
            terminal::print(&format!("pod {asked:?} on node {node} will be stopped\n"))?;
        }
    }
    failures.into_result()
}

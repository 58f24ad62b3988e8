//! `explain-schedule`: how the scheduler would place a pod now, node by node.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    document::{self, entries, items, text},
    failure::UsageError,
    session::Session,
    tabs::{self, Layout},
    terminal,
};

/// Options of `explain-schedule`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The pod; `pod/NAME` as well.
    #[arg(value_name = "POD")]
    pod: String,
    /// All nodes, and not the first of them only.
    #[arg(long)]
    all: bool,
    /// What the coordinator answered, as it is.
    #[arg(long, short = 'o', value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

const EXAMPLES: &str = "\
Each node either is refused by one filter, or scores the sum of what the plugins give, weights included.
For a pod that has a node this tells how it would be placed if it had none.

Examples:
  dunlin explain-schedule web
  dunlin explain-schedule pod/web -n shop --all
  dunlin explain-schedule web -o json";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
    Yaml,
}

/// How much of a large fleet is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    All,
    First(usize),
}

/// Prints it.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let name = match args.pod.split_once('/') {
        None => &*args.pod,
        Some(("pod" | "pods" | "po", name)) => name,
        Some((kind, _)) => {
            return Err(
                UsageError(format!("explain-schedule takes a pod, and {kind} is another kind")).into()
            );
        }
    };
    let decision = session.api.get(&path(&session.namespace, name), &[]).await?;
    let shown = match args.output {
        Some(Output::Json) => document::json(&decision)?,
        Some(Output::Yaml) => document::yaml(&decision),
        None => sheet(&decision, if args.all { Extent::All } else { Extent::First(NODES_SHOWN) }),
    };
    Ok(terminal::print(&shown)?)
}

/// Where the coordinator answers it.
pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("/dunlin/v1/namespaces/{namespace}/pods/{name}/explain-schedule")
}

/// How many nodes fit and how many each filter refuses, or why none is looked at.
pub(super) fn summary(decision: &Value) -> String {
    match text(decision, &["prerequisite"]) {
        "" => counts(items(decision, &["nodes"])),
        prerequisite => format!("No node is looked at: {prerequisite}"),
    }
}

fn sheet(decision: &Value, extent: Extent) -> String {
    let mut facts = String::new();
    let pod = &decision["pod"];
    let _ = writeln!(facts, "Pod:\t{}/{}", text(pod, &["namespace"]), text(pod, &["name"]));
    let _ = writeln!(facts, "Scheduler:\t{}", text(decision, &["profile"]));
    for (title, field) in
        [("Node", "nodeName"), ("Nominated Node", "nominatedNodeName"), ("Message", "message")]
    {
        let value = text(decision, &[field]);
        if !value.is_empty() {
            let _ = writeln!(facts, "{title}:\t{value}");
        }
    }
    let mut sheet = tabs::align(&facts, Layout::DESCRIPTION);
    let _ = writeln!(sheet, "\n{}", summary(decision));
    if !text(decision, &["prerequisite"]).is_empty() {
        return sheet;
    }
    let nodes = items(decision, &["nodes"]);
    sheet.push('\n');
    let shown = match extent {
        Extent::All => nodes.len(),
        Extent::First(most) => nodes.len().min(most),
    };
    let mut table = "NODE\tSCORE\tWHY\n".to_owned();
    table.extend(nodes[..shown].iter().map(line));
    sheet.push_str(&tabs::align(&table, Layout::TABLE));
    if shown < nodes.len() {
        let _ = writeln!(sheet, "... and {} more, see --all", nodes.len() - shown);
    }
    sheet
}

/// How many nodes fit, and how many each filter refuses.
fn counts(nodes: &[Value]) -> String {
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node["fits"] != true) {
        *refused.entry(text(node, &["filter"])).or_default() += 1;
    }
    let fits = nodes.len() - refused.values().sum::<usize>();
    let mut text = format!("{fits} of {} nodes fit", nodes.len());
    for (filter, nodes) in refused {
        let _ = write!(text, ", {nodes} refused by {filter}");
    }
    text
}

fn line(node: &Value) -> String {
    let name = text(node, &["node"]);
    if node["fits"] == true {
        let scores = entries(node, &["scores"]).filter(|(_, score)| **score != 0);
        let scores: Vec<String> = scores.map(|(plugin, score)| format!("{plugin} {score}")).collect();
        return format!("{name}\t{}\t{}\n", node["score"], scores.join(", "));
    }
    let reasons: Vec<&str> = items(node, &["reasons"]).iter().filter_map(Value::as_str).collect();
    format!("{name}\t-\t{}: {}\n", text(node, &["filter"]), reasons.join(", "))
}

/// Nodes shown of a large fleet.
const NODES_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_that_fit_come_with_scores_and_others_with_reasons() {
        let decision = json!({
            "pod": {"namespace": "default", "name": "web"}, "profile": "default-scheduler",
            "nodeName": null, "nominatedNodeName": null, "message": "0/3 nodes are available: ...", "prerequisite": null,
            "nodes": [
                {"node": "a", "fits": true, "score": 387, "scores": {"NodeResourcesFit": 87, "TaintToleration": 300, "ImageLocality": 0}},
                {"node": "bee", "fits": false, "filter": "NodeResourcesFit", "reasons": ["Insufficient cpu", "Too many pods"]},
                {"node": "c", "fits": false, "filter": "TaintToleration", "reasons": ["node(s) had untolerated taint(s)"]},
            ],
        });
        expect![[r"
            Pod:        default/web
            Scheduler:  default-scheduler
            Message:    0/3 nodes are available: ...

            1 of 3 nodes fit, 1 refused by NodeResourcesFit, 1 refused by TaintToleration

            NODE   SCORE   WHY
            a      387     NodeResourcesFit 87, TaintToleration 300
            bee    -       NodeResourcesFit: Insufficient cpu, Too many pods
            ... and 1 more, see --all
        "]]
        .assert_eq(&sheet(&decision, Extent::First(2)));
    }

    #[test]
    fn what_is_missing_for_all_nodes_is_said_once() {
        let decision = json!({
            "pod": {"namespace": "default", "name": "web"}, "profile": "default-scheduler",
            "prerequisite": "persistentvolumeclaim \"c\" not found", "nodes": [],
        });
        expect![[r#"
            Pod:        default/web
            Scheduler:  default-scheduler

            No node is looked at: persistentvolumeclaim "c" not found
        "#]]
        .assert_eq(&sheet(&decision, Extent::All));
    }
}

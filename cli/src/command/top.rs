//! `top`: what nodes and pods use of processors and memory, as their nodes tell when they are asked.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use dunlin_api::quantity::Quantity;
use serde_json::Value;

use crate::{
    document::{items, text},
    session::Session,
    tabs::{self, Layout},
    terminal,
};

/// Options of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Use of processors is the average over some seconds before, of nodes with all that runs on the machine.

Examples:
  dunlin top node
  dunlin top pod -A --sort-by=memory
  dunlin top pod web --containers";

#[derive(Debug, Subcommand)]
enum What {
    /// What machines use.
    #[command(alias = "nodes", alias = "no")]
    Node(Shown),
    /// What pods use.
    #[command(alias = "pods", alias = "po")]
    Pod(Pods),
}

#[derive(Debug, clap::Args)]
struct Shown {
    /// Only this one.
    name: Option<String>,
    /// Only those with these labels.
    #[arg(long, short = 'l', value_name = "SELECTOR", conflicts_with = "name")]
    selector: Option<String>,
    /// The largest first, by this.
    #[arg(long, value_enum, value_name = "RESOURCE")]
    sort_by: Option<Resource>,
    /// Leave out the row of column names.
    #[arg(long)]
    no_headers: bool,
}

#[derive(Debug, clap::Args)]
struct Pods {
    #[command(flatten)]
    shown: Shown,
    /// In all namespaces.
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// Each container by itself.
    #[arg(long)]
    containers: bool,
    /// What all of them use together, in a last line.
    #[arg(long, conflicts_with = "name")]
    sum: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Resource {
    Cpu,
    Memory,
}

/// A line of the table.
#[derive(Debug, PartialEq)]
struct Row {
    names: Vec<String>,
    used: Used,
    /// What the node may give to pods.
    allocatable: Option<Used>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Used {
    cpu: Quantity,
    memory: Quantity,
}

/// Prints it.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let (headers, rows, shown) = match &args.what {
        What::Node(shown) => {
            let metrics = shown.metrics(&session, "nodes").await?;
            let nodes = session.api.get("/api/v1/nodes", &[]).await?;
            let rows = metrics.iter().map(|metrics| node(metrics, items(&nodes, &["items"]))).collect();
            (vec!["NAME"], rows, shown)
        }
        What::Pod(pods) => {
            let collection = match pods.all_namespaces {
                true => "pods".to_owned(),
                false => format!("namespaces/{}/pods", session.namespace),
            };
            let metrics = pods.shown.metrics(&session, &collection).await?;
            let rows = metrics.iter().flat_map(|metrics| pods.rows(metrics)).collect();
            (pods.headers(), rows, &pods.shown)
        }
    };
    let rows: Vec<Row> = rows;
    if rows.is_empty() {
        terminal::remark("Nothing is known of any; what starts is known a moment later.");
        return Ok(());
    }
    let total = match &args.what {
        What::Pod(Pods { sum: true, .. }) => total(&rows, headers.len()),
        _ => String::new(),
    };
    Ok(terminal::print(&shown.table(&headers, rows, &total))?)
}

impl Shown {
    async fn metrics(&self, session: &Session, collection: &str) -> Result<Vec<Value>> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/{collection}");
        Ok(match &self.name {
            Some(name) => vec![session.api.get(&format!("{path}/{name}"), &[]).await?],
            None => {
                let selector = self.selector.as_deref().map(|selector| ("labelSelector", selector));
                let query: Vec<_> = selector.into_iter().collect();
                items(&session.api.get(&path, &query).await?, &["items"]).to_vec()
            }
        })
    }

    /// The rows in order below their headers, with further lines at the end.
    fn table(&self, names: &[&str], mut rows: Vec<Row>, footer: &str) -> String {
        rows.sort_by(|one, other| one.names.cmp(&other.names));
        match self.sort_by {
            None => {}
            Some(Resource::Cpu) => rows.sort_by_key(|row| std::cmp::Reverse(row.used.cpu.milli())),
            Some(Resource::Memory) => rows.sort_by_key(|row| std::cmp::Reverse(row.used.memory.value())),
        }
        let of_nodes = rows.iter().any(|row| row.allocatable.is_some());
        let amounts: &[&str] = match of_nodes {
            true => &["CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"],
            false => &["CPU(cores)", "MEMORY(bytes)"],
        };
        let headers = [names, amounts].concat().join("\t") + "\n";
        let mut table = if self.no_headers { String::new() } else { headers };
        table.extend(rows.iter().map(Row::line));
        table.push_str(footer);
        tabs::align(&table, Layout::TABLE)
    }
}

impl Pods {
    fn headers(&self) -> Vec<&'static str> {
        let namespace = self.all_namespaces.then_some("NAMESPACE");
        let names: &[&str] = if self.containers { &["POD", "NAME"] } else { &["NAME"] };
        namespace.into_iter().chain(names.iter().copied()).collect()
    }

    fn rows(&self, metrics: &Value) -> Vec<Row> {
        let namespace = self.all_namespaces.then(|| text(metrics, &["metadata", "namespace"]).to_owned());
        let pod = text(metrics, &["metadata", "name"]).to_owned();
        let names: Vec<String> = namespace.into_iter().chain([pod]).collect();
        let containers = items(metrics, &["containers"]).iter();
        let each =
            containers.map(|container| (text(container, &["name"]).to_owned(), used(&container["usage"])));
        if self.containers {
            let row = |(name, used)| Row { names: [&names[..], &[name]].concat(), used, allocatable: None };
            return each.map(row).collect();
        }
        let sum = each.map(|(_, used)| used).reduce(Used::plus);
        sum.map(|used| Row { names, used, allocatable: None }).into_iter().collect()
    }
}

impl Used {
    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.plus(other.cpu), memory: self.memory.plus(other.memory) }
    }
}

/// A rule and what all rows use together, below `names` columns of names.
fn total(rows: &[Row], names: usize) -> String {
    let names = vec![String::new(); names];
    let rule = [&names[..], &["________".to_owned(), "________".to_owned()]].concat().join("\t") + "\n";
    let nothing = Used { cpu: Quantity::ZERO, memory: Quantity::ZERO };
    let used = rows.iter().map(|row| row.used).fold(nothing, Used::plus);
    rule + &Row { names, used, allocatable: None }.line()
}

impl Row {
    fn line(&self) -> String {
        let mut cells = self.names.clone();
        let (cpu, memory) = (self.used.cpu.milli(), self.used.memory.value());
        let share = |part: i64, whole: i64| {
            if whole > 0 { format!("{}%", part.saturating_mul(100) / whole) } else { "<unknown>".to_owned() }
        };
        cells.push(format!("{cpu}m"));
        cells.extend(self.allocatable.map(|whole| share(cpu, whole.cpu.milli())));
        cells.push(format!("{}Mi", memory >> 20));
        cells.extend(self.allocatable.map(|whole| share(memory, whole.memory.value())));
        cells.join("\t") + "\n"
    }
}

fn node(metrics: &Value, nodes: &[Value]) -> Row {
    let name = text(metrics, &["metadata", "name"]);
    let node = nodes.iter().find(|node| text(node, &["metadata", "name"]) == name);
    let allocatable = node.map_or(Value::Null, |node| node["status"]["allocatable"].clone());
    Row { names: vec![name.to_owned()], used: used(&metrics["usage"]), allocatable: Some(used(&allocatable)) }
}

fn used(amounts: &Value) -> Used {
    let amount = |name: &str| text(amounts, &[name]).parse().unwrap_or(Quantity::ZERO);
    Used { cpu: amount("cpu"), memory: amount("memory") }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn shown(sort_by: Option<Resource>) -> Shown {
        Shown { name: None, selector: None, sort_by, no_headers: false }
    }

    #[test]
    fn pods_are_summed_up_or_told_by_container() {
        let container = |name: &str, cpu: &str, memory: &str| json!({"name": name, "usage": {"cpu": cpu, "memory": memory}});
        let metrics = [
            json!({"metadata": {"name": "p", "namespace": "d"},
                "containers": [container("a", "1500000n", "3Mi"), container("b", "1", "512Ki")]}),
            json!({"metadata": {"name": "q", "namespace": "e"}, "containers": [container("a", "0", "9Mi")]}),
        ];
        let print = |all_namespaces: bool, containers: bool, sort_by| {
            let pods = Pods { shown: shown(sort_by), all_namespaces, containers, sum: true };
            let rows: Vec<Row> = metrics.iter().flat_map(|metrics| pods.rows(metrics)).collect();
            let total = total(&rows, pods.headers().len());
            pods.shown.table(&pods.headers(), rows, &total)
        };
        expect![[r#"
            NAME   CPU(cores)   MEMORY(bytes)
            q      0m           9Mi
            p      1002m        3Mi
                   ________     ________
                   1002m        12Mi
        "#]]
        .assert_eq(&print(false, false, Some(Resource::Memory)));
        expect![[r#"
            NAMESPACE   POD   NAME   CPU(cores)   MEMORY(bytes)
            d           p     a      2m           3Mi
            d           p     b      1000m        0Mi
            e           q     a      0m           9Mi
                                     ________     ________
                                     1002m        12Mi
        "#]]
        .assert_eq(&print(true, true, None));
    }

    #[test]
    fn nodes_are_compared_with_what_they_have() {
        let metrics = json!({"metadata": {"name": "n"}, "usage": {"cpu": "500m", "memory": "1Gi"}});
        let nodes =
            [json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "memory": "4Gi"}}})];
        expect![[r#"
            NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)
            n      500m         12%         1024Mi          25%
            n      500m         <unknown>   1024Mi          <unknown>
        "#]]
        .assert_eq(&shown(None).table(&["NAME"], vec![node(&metrics, &nodes), node(&metrics, &[])], ""));
    }
}

//! `top`: what nodes and pods use of processors and memory, as their nodes tell when they are asked.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use dunlin_api::quantity::Quantity;
use dunlin_link::usage::THROTTLED_CPU;
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
Use of processors is the average over some seconds before, of nodes with all that runs on the machine. THROTTLED is there when a limit
held something back: the part of the time for which it could have computed, summed over containers and what runs at once in each.

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
    throttled: Quantity,
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
        let throttled = Throttled::of(&rows);
        let mut headers = match of_nodes {
            true => [names, &["CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]].concat(),
            false => [names, &["CPU(cores)", "MEMORY(bytes)"]].concat(),
        };
        headers.extend((throttled == Throttled::Shown).then_some("THROTTLED"));
        let headers = headers.join("\t") + "\n";
        let mut table = if self.no_headers { String::new() } else { headers };
        table.extend(rows.iter().map(|row| row.line(throttled)));
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
        Self {
            cpu: self.cpu.plus(other.cpu),
            throttled: self.throttled.plus(other.throttled),
            memory: self.memory.plus(other.memory),
        }
    }
}

/// A rule and what all rows use together, below `names` columns of names.
fn total(rows: &[Row], names: usize) -> String {
    let names = vec![String::new(); names];
    let throttled = Throttled::of(rows);
    let amounts = if throttled == Throttled::Shown { 3 } else { 2 };
    let rule = [&names[..], &vec!["________".to_owned(); amounts]].concat().join("\t") + "\n";
    let nothing = Used { cpu: Quantity::ZERO, throttled: Quantity::ZERO, memory: Quantity::ZERO };
    let used = rows.iter().map(|row| row.used).fold(nothing, Used::plus);
    rule + &Row { names, used, allocatable: None }.line(throttled)
}

/// Whether limits held something back; nobody is told that none did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Throttled {
    Shown,
    Nowhere,
}

impl Throttled {
    fn of(rows: &[Row]) -> Self {
        let is_anywhere = rows.iter().any(|row| row.used.throttled.milli() > 0);
        if is_anywhere { Self::Shown } else { Self::Nowhere }
    }
}

impl Row {
    fn line(&self, throttled: Throttled) -> String {
        let mut cells = self.names.clone();
        let (cpu, memory) = (self.used.cpu.milli(), self.used.memory.value());
        let share = |part: i64, whole: i64| {
            if whole > 0 { format!("{}%", part.saturating_mul(100) / whole) } else { "<unknown>".to_owned() }
        };
        cells.push(format!("{cpu}m"));
        cells.extend(self.allocatable.map(|whole| share(cpu, whole.cpu.milli())));
        cells.push(format!("{}Mi", memory >> 20));
        cells.extend(self.allocatable.map(|whole| share(memory, whole.memory.value())));
        if throttled == Throttled::Shown {
            cells.push(share(self.used.throttled.milli(), 1000));
        }
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
    Used { cpu: amount("cpu"), throttled: amount(THROTTLED_CPU), memory: amount("memory") }
}

#[cfg(test)]
mod tests;

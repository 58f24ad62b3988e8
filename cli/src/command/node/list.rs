//! `node list`: which machines have joined, with which keys, and how they are.

use anyhow::Result;
use clap::ValueEnum;
use dunlin_api::time::human_duration;
use jiff::Timestamp;
use serde_json::Value;

use super::{NODES, time};
use crate::{
    document::{self, items, text},
    session::Session,
    tabs::{self, Layout},
    terminal,
};

/// Options of `node list`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How to show them; a table unless given.
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Leave out the row of column names.
    #[arg(long)]
    no_headers: bool,
}

const EXAMPLES: &str = "\
A node is `connected`, `silent` or `revoked`, since the time in brackets; of one that is silent that is when it was last heard, if
that was since the coordinator started. The key is the SHA-256 of its public half, shortened unless the output is wide.

Examples:
  dunlin node list
  dunlin node list -o wide          whole fingerprints, and the token that each joined with
  dunlin node list -o json";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table with all columns.
    Wide,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `node/NAME`, one a line.
    Name,
}

/// Prints all of them.
pub(crate) async fn run(args: &Args, session: Session) -> Result<()> {
    let list = session.api.get(NODES, &[]).await?;
    let nodes = items(&list, &["items"]);
    let printed = match args.output {
        Some(Format::Yaml) => document::yaml(&list),
        Some(Format::Json) => document::json(&list)?,
        Some(Format::Name) => nodes.iter().map(|node| format!("node/{}\n", text(node, &["name"]))).collect(),
        None if nodes.is_empty() => {
            terminal::remark("No machine has joined; make a token with `dunlin node token create`");
            return Ok(());
        }
        None => table(nodes, Columns::Few, Timestamp::now()),
        Some(Format::Wide) => table(nodes, Columns::All, Timestamp::now()),
    };
    let shown = if args.no_headers && matches!(args.output, None | Some(Format::Wide)) {
        printed.split_once('\n').map_or("", |(_, rows)| rows)
    } else {
        &printed
    };
    Ok(terminal::print(shown)?)
}

/// Which columns a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Few,
    All,
}

fn table(nodes: &[Value], columns: Columns, now: Timestamp) -> String {
    let mut rows = "NAME\tSTATE\tKEY\tJOINED\tCERTIFICATE\tVERSION".to_owned();
    if columns == Columns::All {
        rows.push_str("\tTOKEN");
    }
    rows.push('\n');
    for node in nodes {
        let ago = |field: &str| time(&node[field]).map(|at| human_duration(now.duration_since(at)));
        let state = match ago("since") {
            Some(since) => format!("{} ({since})", text(node, &["state"])),
            None => text(node, &["state"]).to_owned(),
        };
        let joined = ago("joinedAt").unwrap_or_else(unknown);
        let certificate = match time(&node["certificateEnd"]) {
            None => unknown(),
            Some(end) if end <= now => "expired".to_owned(),
            Some(end) => human_duration(end.duration_since(now)),
        };
        let key = text(node, &["key"]);
        let key = if columns == Columns::All { key } else { key.get(..SHORT_KEY).unwrap_or(key) };
        let version = node["version"].as_str().map_or_else(unknown, str::to_owned);
        let name = text(node, &["name"]);
        rows.push_str(&format!("{name}\t{state}\t{key}\t{joined}\t{certificate}\t{version}"));
        if columns == Columns::All {
            rows.push_str(&format!("\t{}", text(node, &["token"])));
        }
        rows.push('\n');
    }
    tabs::align(&rows, Layout::TABLE)
}

fn unknown() -> String {
    "<unknown>".to_owned()
}

/// `sha256:` and as many digits as tell keys apart at a glance.
const SHORT_KEY: usize = 7 + 12;

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes() {
        let key = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let nodes = [
            json!({"name": "n1", "key": key("a"), "joinedAt": "2026-01-01T00:00:00Z", "token": "0a1b2c3d",
                   "certificateEnd": "2026-01-31T00:00:00Z", "state": "connected",
                   "since": "2026-01-01T23:00:00Z", "version": "v0.1.0"}),
            json!({"name": "n2", "key": key("b"), "joinedAt": "2025-12-31T00:00:00Z", "token": "0a1b2c3d",
                   "certificateEnd": "2026-01-01T00:00:00Z", "state": "silent", "since": null, "version": null}),
            json!({"name": "n3", "key": key("c"), "joinedAt": null, "token": "0a1b2c3d",
                   "certificateEnd": null, "state": "revoked", "since": "2026-01-01T00:00:00Z"}),
        ];
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        expect![[r#"
            NAME   STATE             KEY                   JOINED      CERTIFICATE   VERSION
            n1     connected (60m)   sha256:aaaaaaaaaaaa   24h         29d           v0.1.0
            n2     silent            sha256:bbbbbbbbbbbb   2d          expired       <unknown>
            n3     revoked (24h)     sha256:cccccccccccc   <unknown>   <unknown>     <unknown>
        "#]]
        .assert_eq(&table(&nodes, Columns::Few, now));
        assert!(table(&nodes, Columns::All, now).contains(&key("a")));
    }
}

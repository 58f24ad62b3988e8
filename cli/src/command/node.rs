//! `node`: what a machine needs to become one, and what one holds that the cluster does not know.

use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use dunlin_api::time::human_duration;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    document::{items, text},
    failure::Failures,
    session::{self, Session},
    tabs::{self, Layout},
    terminal,
};

/// Options of `node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Manage join tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// List pods that a node goes on running though the cluster does not know them, as after a restore.
    Held {
        /// The node.
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Stop pods that a node holds.
    #[command(after_help = "\
Examples:
  dunlin node held shed
  dunlin node bury shed hello                 in the namespace in effect
  dunlin node bury shed 6f9b2c1e-5d3a-4c55-9f0e-2b7a9d1c8e44 --grace-period 0")]
    Bury {
        /// The node.
        #[arg(value_name = "NODE")]
        node: String,
        /// Names, or uids as `held` shows them.
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        /// Seconds that a pod has to stop by itself.
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        grace_period: u32,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Print a new token, for `dunlin edge-node --join TOKEN`.
    #[command(after_help = "\
Examples:
  dunlin node token create
  dunlin node token create --ttl=15m --uses=1 --description='the box in the shed'")]
    Create {
        /// How long it can be used; 0 means for ever.
        #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "24h")]
        ttl: Duration,
        /// How many nodes may join with it; 0 means any number.
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        uses: u32,
        /// Where nodes find the coordinator, as HOST:PORT; the default is what the coordinator knows of itself.
        #[arg(long = "address", value_name = "HOST:PORT")]
        addresses: Vec<String>,
        /// What it is for, for people.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List tokens; their secrets are not kept anywhere.
    List,
    /// Make tokens useless; nodes that joined with them stay.
    Delete {
        /// Ids as `list` shows them.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Runs the subcommand.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    match args.command {
        NodeCommand::Token(command) => run_token(command, session).await,
        NodeCommand::Held { node } => {
            let list = session.api.get(&held_path(&node), &[]).await?;
            Ok(terminal::print(&held_table(&node, items(&list, &["items"])))?)
        }
        NodeCommand::Bury { node, pods, grace_period } => bury(&session, &node, &pods, grace_period).await,
    }
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

async fn bury(session: &Session, node: &str, pods: &[String], grace_seconds: u32) -> Result<()> {
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

async fn run_token(command: TokenCommand, session: Session) -> Result<()> {
    match command {
        TokenCommand::Create { ttl, uses, addresses, description } => {
            let request = json!({
                "description": description,
                "lifetimeSeconds": (!ttl.is_zero()).then_some(ttl.as_secs()),
                "uses": (uses > 0).then_some(uses),
                "addresses": (!addresses.is_empty()).then_some(addresses),
            });
            let answer = session.api.create(TOKENS, &[], &request).await?;
            Ok(terminal::print(&format!("{}\n", text(&answer, &["token"])))?)
        }
        TokenCommand::List => {
            let list = session.api.get(TOKENS, &[]).await?;
            Ok(terminal::print(&table(items(&list, &["items"]), Timestamp::now()))?)
        }
        TokenCommand::Delete { ids } => {
            let mut failures = Failures::default();
            for id in &ids {
                let answer = session.api.delete(&format!("{TOKENS}/{id}"), &[], &json!({})).await;
                if failures.note(answer)?.is_some() {
                    terminal::print(&format!("token {id:?} deleted\n"))?;
                }
            }
            failures.into_result()
        }
    }
}

fn table(tokens: &[Value], now: Timestamp) -> String {
    if tokens.is_empty() {
        return "No tokens; make one with `dunlin node token create`\n".to_owned();
    }
    let mut rows = "ID\tUSES LEFT\tEXPIRES IN\tAGE\tDESCRIPTION\n".to_owned();
    for token in tokens {
        let uses = token["usesLeft"].as_u64().map_or_else(|| "any".to_owned(), |uses| uses.to_string());
        let expires = match time(&token["expiresAt"]) {
            None => "never".to_owned(),
            Some(end) if end <= now => "expired".to_owned(),
            Some(end) => human_duration(end.duration_since(now)),
        };
        let made = time(&token["createdAt"])
            .map_or_else(|| "<unknown>".to_owned(), |made| human_duration(now.duration_since(made)));
        rows.push_str(&format!(
            "{}\t{uses}\t{expires}\t{made}\t{}\n",
            text(token, &["id"]),
            text(token, &["description"])
        ));
    }
    tabs::align(&rows, Layout::TABLE)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

const TOKENS: &str = "/dunlin/v1/tokens";

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::table;

    #[test]
    fn tokens() {
        let tokens = [
            json!({"id": "abc123", "usesLeft": 1, "expiresAt": "2026-01-02T00:00:00Z",
                   "createdAt": "2025-12-31T23:59:00Z", "description": "shed"}),
            json!({"id": "def456", "usesLeft": null, "expiresAt": null, "createdAt": null, "description": ""}),
            json!({"id": "old", "usesLeft": 0, "expiresAt": "2025-01-02T00:00:00Z"}),
        ];
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        expect![[r#"
            ID       USES LEFT   EXPIRES IN   AGE         DESCRIPTION
            abc123   1           24h          60s         shed
            def456   any         never        <unknown>   
            old      0           expired      <unknown>   
        "#]]
        .assert_eq(&table(&tokens, now));
    }
}

//! `node token`: what a machine needs to become a node.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use dunlin_api::time::human_duration;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::time;
use crate::{
    document::{items, text},
    failure::Failures,
    session::{self, Session},
    tabs::{self, Layout},
    terminal,
};

/// Subcommands of `node token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
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
pub(crate) async fn run(command: TokenCommand, session: Session) -> Result<()> {
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

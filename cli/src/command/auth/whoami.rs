//! `auth whoami`: the user that the coordinator takes the caller for.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    api,
    command::create::Format,
    document::{self, entries, items, text},
    resource,
    session::Session,
    tabs::{Layout, align},
    terminal,
};

/// Options of `auth whoami`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the review instead of a table.
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

pub(super) async fn run(args: &Args, session: Session) -> Result<()> {
    let kind = resource::find("selfsubjectreviews.authentication.k8s.io")?;
    let asked = json!({"apiVersion": kind.api_version(), "kind": kind.kind});
    let review = session.api.create(&api::collection(kind, None), &[], &asked).await?;
    let shown = match args.output {
        None => table(&review["status"]["userInfo"]),
        Some(Format::Name) => format!("{}\n", text(&review, &["status", "userInfo", "username"])),
        Some(Format::Yaml) => document::yaml(&review),
        Some(Format::Json) => document::json(&review)?,
    };
    Ok(terminal::print(&shown)?)
}

fn table(user: &Value) -> String {
    let mut rows = vec!["ATTRIBUTE\tVALUE".to_owned(), format!("Username\t{}", text(user, &["username"]))];
    if !text(user, &["uid"]).is_empty() {
        rows.push(format!("UID\t{}", text(user, &["uid"])));
    }
    if !items(user, &["groups"]).is_empty() {
        rows.push(format!("Groups\t{}", listed(&user["groups"])));
    }
    rows.extend(entries(user, &["extra"]).map(|(key, values)| format!("Extra: {key}\t{}", listed(values))));
    align(&rows.join("\n"), Layout::TABLE)
}

/// A list as Kubernetes' tools print it: `[a b]`.
fn listed(values: &Value) -> String {
    let values: Vec<&str> = items(values, &[]).iter().filter_map(Value::as_str).collect();
    format!("[{}]", values.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_table() {
        let user = json!({"username": "admin", "groups": ["system:masters", "system:authenticated"], "extra": {"k": ["v"]}});
        let expected = "ATTRIBUTE   VALUE\nUsername    admin\nGroups      [system:masters system:authenticated]\nExtra: k    [v]\n";
        assert_eq!(table(&user), expected);
    }
}

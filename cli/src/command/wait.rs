//! `wait`: until a condition holds, a field has a value, or objects are gone.

use std::{str::FromStr, time::Duration};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    api::{self, Accept},
    document::{items, plain, text},
    failure::{self, Failures, UsageError},
    jsonpath::Template,
    resource::{self, Kind},
    session::{self, Session},
    terminal,
};

use super::get::SelectArgs;

/// Options of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin wait --for=condition=Ready pod/hello --timeout=60s
  dunlin wait --for=delete pod/hello
  dunlin wait --for=jsonpath='{.status.phase}'=Succeeded pod/hello
  dunlin wait --for=condition=Ready nodes --all")]
pub(crate) struct Args {
    /// TYPE NAME.., TYPE/NAME.., or TYPE with --all or -l.
    #[arg(value_name = "RESOURCE")]
    resources: Vec<String>,
    /// condition=NAME[=STATUS], jsonpath=TEMPLATE[=VALUE], create or delete.
    #[arg(long = "for", value_name = "STATE")]
    state: State,
    #[command(flatten)]
    select: SelectArgs,
    /// All objects of the type.
    #[arg(long)]
    all: bool,
    /// How long to wait for each object.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "30s")]
    timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Condition { name: String, status: String },
    Jsonpath { template: Template, value: Option<String> },
    Created,
    Deleted,
}

/// Waits for every object named.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let mut failures = Failures::default();
    let mut found = false;
    for mut selection in resource::parse(&args.resources)? {
        if selection.names.is_empty() {
            if !args.all && !args.select.selects() {
                return Err(UsageError("name objects, or select them with -l or --all".to_owned()).into());
            }
            let path = api::collection(selection.kind, Some(&session.namespace));
            let list = session.api.list(&path, &args.select.query()).await?;
            let names =
                items(&list, &["items"]).iter().map(|object| text(object, &["metadata", "name"]).to_owned());
            selection.names.extend(names);
        }
        for name in &selection.names {
            found = true;
            failures.note(wait(&args, selection.kind, name, &session).await)?;
        }
    }
    if !found && args.state != State::Deleted {
        return Err(anyhow!("no matching resources found"));
    }
    failures.into_result()
}

async fn wait(args: &Args, kind: &Kind, name: &str, session: &Session) -> Result<()> {
    let late = || anyhow!("timed out waiting for the condition on {}/{name}", resource_name(kind));
    match tokio::time::timeout(args.timeout, follow(args, kind, name, session)).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(late()),
    }
    let reference = resource::reference(kind, name);
    let met = if args.state == State::Deleted { "deleted" } else { "condition met" };
    Ok(terminal::print(&format!("{reference} {met}\n"))?)
}

/// Looks at the object as it is, then at each change, starting over when the watch ends.
async fn follow(args: &Args, kind: &Kind, name: &str, session: &Session) -> Result<()> {
    let collection = api::collection(kind, Some(&session.namespace));
    let selector = format!("metadata.name={name}");
    loop {
        let list = session.api.list(&collection, &[("fieldSelector", &selector)]).await?;
        let first = items(&list, &["items"]).first();
        match (&args.state, first) {
            (State::Deleted, None) => return Ok(()),
            (State::Created, Some(_)) => return Ok(()),
            (State::Deleted | State::Created, _) => {}
            (_, None) => {
                let path = api::object(kind, &session.namespace, name);
                // The server's own words for what is missing.
                session.api.get(&path, &[]).await?;
            }
            (state, Some(object)) if state.holds(object) => return Ok(()),
            _ => {}
        }
        let version = text(&list, &["metadata", "resourceVersion"]);
        let query = [("fieldSelector", selector.as_str()), ("resourceVersion", version)];
        let mut watch = session.api.watch(&collection, &query, Accept::Objects).await?;
        loop {
            match watch.next().await {
                Ok(None) => break,
                Ok(Some((change, object))) => match (&args.state, change.as_str()) {
                    (State::Deleted, "DELETED") | (State::Created, "ADDED") => return Ok(()),
                    (State::Deleted | State::Created, _) | (_, "BOOKMARK") => {}
                    (_, "DELETED") => return Err(anyhow!("{} was deleted", resource::reference(kind, name))),
                    (state, _) if state.holds(&object) => return Ok(()),
                    _ => {}
                },
                Err(error) if failure::is_reason(&error, "Expired") => break,
                Err(error) => return Err(error),
            }
        }
    }
}

fn resource_name(kind: &Kind) -> String {
    kind.group_resource()
}

impl State {
    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Condition { name, status } => {
                items(object, &["status", "conditions"]).iter().any(|condition| {
                    text(condition, &["type"]).eq_ignore_ascii_case(name)
                        && text(condition, &["status"]).eq_ignore_ascii_case(status)
                })
            }
            Self::Jsonpath { template, value } => {
                let found = template.values(object);
                match value {
                    None => !found.is_empty(),
                    Some(value) => found.iter().any(|found| plain(found) == *value),
                }
            }
            Self::Created => true,
            Self::Deleted => false,
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word.split_once('=') {
            None if word == "delete" => Ok(Self::Deleted),
            None if word == "create" => Ok(Self::Created),
            Some(("condition", rest)) if !rest.is_empty() => {
                let (name, status) = rest.split_once('=').unwrap_or((rest, "True"));
                Ok(Self::Condition { name: name.to_owned(), status: status.to_owned() })
            }
            Some(("jsonpath", rest)) => {
                // The template may hold equals signs of its own, in filters.
                let (template, value) = match rest.rfind('}').map(|end| rest.split_at(end + 1)) {
                    Some((template, value)) => (template, value.strip_prefix('=')),
                    None => rest.split_once('=').map_or((rest, None), |(path, value)| (path, Some(value))),
                };
                let template = Template::parse(template).map_err(|error| error.to_string())?;
                let unquoted = |value: &str| value.trim_matches(['"', '\'']).to_owned();
                Ok(Self::Jsonpath { template, value: value.map(unquoted) })
            }
            _ => {
                Err("states are condition=NAME[=STATUS], jsonpath=TEMPLATE[=VALUE], create and delete"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::State;

    #[test]
    fn states() {
        let pod =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let check =
            |word: &str, expected| assert_eq!(word.parse::<State>().unwrap().holds(&pod), expected, "{word}");
        check("condition=Ready", true);
        check("condition=ready=true", true);
        check("condition=Ready=False", false);
        check("condition=Initialized", false);
        check("jsonpath={.status.phase}=Running", true);
        check("jsonpath={.status.phase}=Failed", false);
        check("jsonpath={.status.phase}", true);
        check("jsonpath={.status.foo}", false);
        check("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", true);
        check("jsonpath=.status.phase=Running", true);
        check("delete", false);
        assert!("ready".parse::<State>().is_err());
    }
}

//! `wait`: until a condition holds, a field has a value, or objects are gone.

use std::{str::FromStr, time::Duration};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    api::{self, Accept},
    document::{items, plain, text},
    failure::{self, Failures, UsageError},
    jsonpath::Template,
    manifest::FileArgs,
    resource,
    session::{self, Session},
    terminal,
};

use super::{
    get::SelectArgs,
    target::{self, Target},
};

/// Options of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin wait --for=condition=Ready pod/hello --timeout=60s
  dunlin wait --for=delete pod/hello
  dunlin wait --for=jsonpath='{.status.phase}'=Succeeded pod/hello
  dunlin wait --for=condition=Ready nodes --all
  dunlin wait --for=create -f pod.yaml")]
pub(crate) struct Args {
    /// TYPE NAME.., TYPE/NAME.., or TYPE with --all or -l.
    #[arg(value_name = "RESOURCE", value_parser = resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    /// condition=NAME[=STATUS], jsonpath=TEMPLATE[=VALUE], create or delete.
    #[arg(long = "for", value_name = "STATE")]
    state: State,
    #[command(flatten)]
    select: SelectArgs,
    /// All objects of the type.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    files: FileArgs,
    /// How long to wait for each object; 0 looks once, and a negative time means a week.
    #[arg(long, value_name = "TIME", value_parser = patience, default_value = "30s", allow_hyphen_values = true)]
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
    let targets = targets(&args, &session).await?;
    if targets.is_empty() && args.state != State::Deleted {
        return Err(anyhow!("no matching resources found"));
    }
    for target in targets {
        let Some(target) = failures.note(target)? else { continue };
        failures.note(wait(&args, &target, &session).await)?;
    }
    failures.into_result()
}

/// The objects named, or all that there are now.
async fn targets(args: &Args, session: &Session) -> Result<Vec<Result<Target>>> {
    if !args.all && !args.select.selects() {
        return target::named(&args.resources, &args.files, session).await;
    }
    let mut targets = Vec::new();
    for selection in resource::resolve(&args.resources, &session.api).await? {
        if !selection.names.is_empty() {
            return Err(UsageError("names cannot be combined with --all or selectors".to_owned()).into());
        }
        let path = api::collection(selection.kind, args.select.namespace(session));
        let list = session.api.list(&path, &args.select.query()).await?;
        targets.extend(items(&list, &["items"]).iter().map(|object| {
            Ok(Target {
                kind: selection.kind,
                namespace: text(object, &["metadata", "namespace"]).to_owned(),
                name: text(object, &["metadata", "name"]).to_owned(),
            })
        }));
    }
    Ok(targets)
}

async fn wait(args: &Args, target: &Target, session: &Session) -> Result<()> {
    let mut seen = None;
    let late = || anyhow!("timed out waiting for the condition on {}/{}", target.kind.plural, target.name);
    if args.timeout.is_zero() {
        // One look may take as long as it takes.
        if look(&args.state, target, &mut seen, session).await?.is_some() {
            return Err(late());
        }
    } else {
        let following = follow(&args.state, target, &mut seen, session);
        tokio::time::timeout(args.timeout, following).await.unwrap_or_else(|_| Err(late()))?;
    }
    if args.state == State::Deleted && seen.is_none() {
        // It was gone before; kubectl says nothing of that.
        return Ok(());
    }
    Ok(terminal::print(&format!("{} condition met\n", target.reference()))?)
}

/// Looks at the object as it is, then at each change, starting over when the watch ends.
async fn follow(state: &State, target: &Target, seen: &mut Option<String>, session: &Session) -> Result<()> {
    let collection = api::collection(target.kind, Some(&target.namespace));
    let selector = format!("metadata.name={}", target.name);
    while let Some(version) = look(state, target, seen, session).await? {
        let query = [("fieldSelector", selector.as_str()), ("resourceVersion", version.as_str())];
        let mut watch = session.api.watch(&collection, &query, Accept::Objects).await?;
        loop {
            match watch.next().await {
                Ok(None) => break,
                Ok(Some((change, object))) => match (state, change.as_str()) {
                    (State::Deleted, "DELETED") | (State::Created, "ADDED") => return Ok(()),
                    (State::Deleted | State::Created, _) | (_, "BOOKMARK") => {}
                    (_, "DELETED") => return Err(anyhow!("{} was deleted", target.reference())),
                    (state, _) if state.holds(&object) => return Ok(()),
                    _ => {}
                },
                Err(error) if failure::is_reason(&error, "Expired") => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Looks once; answers the version to watch from when the state does not hold. `seen` is the uid of the object that was there first.
async fn look(
    state: &State,
    target: &Target,
    seen: &mut Option<String>,
    session: &Session,
) -> Result<Option<String>> {
    let collection = api::collection(target.kind, Some(&target.namespace));
    let selector = format!("metadata.name={}", target.name);
    let list = session.api.list(&collection, &[("fieldSelector", &selector)]).await?;
    let holds = match (state, items(&list, &["items"]).first()) {
        (State::Deleted, None) | (State::Created, Some(_)) => true,
        (State::Created, None) => false,
        // Another object of the same name is not the one that was to go.
        (State::Deleted, Some(object)) => {
            let uid = text(object, &["metadata", "uid"]);
            seen.get_or_insert_with(|| uid.to_owned()) != uid
        }
        (_, None) => {
            // The server's own words for what is missing.
            session.api.get(&target.path(), &[]).await?;
            false
        }
        (state, Some(object)) => state.holds(object),
    };
    Ok((!holds).then(|| text(&list, &["metadata", "resourceVersion"]).to_owned()))
}

/// A time as kubectl takes it here: a negative one means a week.
fn patience(text: &str) -> Result<Duration, String> {
    match text.strip_prefix('-') {
        Some(positive) => session::duration(positive).map(|_| WEEK),
        None => session::duration(text),
    }
}

impl State {
    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Condition { name, status } => {
                items(object, &["status", "conditions"]).iter().any(|condition| {
                    text(condition, &["type"]).eq_ignore_ascii_case(name)
                        && text(condition, &["status"]).eq_ignore_ascii_case(status)
                        && is_of_now(condition, object)
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

/// Whether a condition is about the object as it is wanted now, as far as its writer says.
fn is_of_now(condition: &Value, object: &Value) -> bool {
    let observed = [&condition["observedGeneration"], &object["status"]["observedGeneration"]];
    let observed = observed.iter().find_map(|generation| generation.as_i64());
    let wanted = object["metadata"]["generation"].as_i64();
    observed.zip(wanted).is_none_or(|(observed, wanted)| observed >= wanted)
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

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{State, patience};

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

    #[test]
    fn a_condition_of_an_earlier_generation_is_none() {
        let check = |generation: u32, condition: u32, status: u32, expected| {
            let ready = json!({"type": "Ready", "status": "True", "observedGeneration": condition});
            let mut object =
                json!({"metadata": {"generation": generation}, "status": {"conditions": [ready]}});
            object["status"]["observedGeneration"] = status.into();
            assert_eq!("condition=Ready".parse::<State>().unwrap().holds(&object), expected);
        };
        check(2, 2, 1, true);
        check(2, 1, 2, false);
        let old = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "conditions": [
            {"type": "Ready", "status": "True"},
        ]}});
        assert!(!"condition=Ready".parse::<State>().unwrap().holds(&old));
    }

    #[test]
    fn times() {
        let check =
            |text, seconds| assert_eq!(patience(text).ok().map(|time| time.as_secs()), seconds, "{text}");
        check("90s", Some(90));
        check("0", Some(0));
        check("-1s", Some(604_800));
        check("-x", None);
    }
}

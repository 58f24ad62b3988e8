//! `taint`: what keeps pods off nodes unless they tolerate it.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::{
    api::{self, Patch},
    document::{items, text},
    failure::{self, Failures, UsageError},
    resource::{self, Kind},
    session::Session,
};

use self::spec::{Changes, Clash, Outcome};
use super::create::{DryRun, OutputArgs, print_outcome};

mod spec;

/// Options of `taint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin taint nodes node-1 dedicated=robots:NoSchedule
  dunlin taint nodes node-1 dedicated:NoSchedule-           remove it
  dunlin taint nodes node-1 dedicated-                      remove all with that key
  dunlin taint nodes -l site=north maintenance:NoExecute
Effects are NoSchedule, PreferNoSchedule and NoExecute.")]
pub(crate) struct Args {
    /// nodes NAME.. or node/NAME.., then KEY=VALUE:EFFECT or KEY:EFFECT to set, KEY:EFFECT- or KEY- to remove.
    #[arg(required = true, value_name = "NODE|TAINT")]
    words: Vec<String>,
    /// All nodes.
    #[arg(long)]
    all: bool,
    /// All nodes with these labels.
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,
    /// Allow taints of the same key and effect to be replaced.
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          action = clap::ArgAction::Set, require_equals = true)]
    overwrite: bool,
    /// Name under which the changed fields are managed.
    #[arg(long, value_name = "NAME", default_value = "kubectl-taint")]
    field_manager: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Changes every node named; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let kind = resource::find("nodes")?;
    let is_taint = |word: &String| word.contains([':', '=']) || word.ends_with('-');
    let objects = args.words.iter().take_while(|word| !is_taint(word)).count();
    let (objects, taints) = args.words.split_at(objects);
    let names = names(objects)?;
    if taints.is_empty() {
        return Err(UsageError("at least one taint update is required".to_owned()).into());
    }
    let changes = Changes::parse(taints)?;
    let mut failures = Failures::default();
    let nodes = nodes(&args, kind, &names, &mut failures, &session).await?;
    let mut untried = nodes.len();
    for node in nodes {
        untried -= 1;
        let changed = taint(&args, kind, &changes, node, &session).await;
        failures.note_before(untried, changed)?;
    }
    failures.into_result()
}

/// Names of nodes; the type before them may be left to each of them.
fn names(words: &[String]) -> Result<Vec<&str>> {
    let (typed, rest) = words.split_first().ok_or_else(|| UsageError("which nodes?".to_owned()))?;
    let first = typed.split_once('/');
    for (typed, _) in words
        .iter()
        .filter_map(|word| word.split_once('/'))
        .chain([(typed.as_str(), "")].into_iter().filter(|_| first.is_none()))
    {
        if resource::find(typed)?.kind != "Node" {
            return Err(
                UsageError(format!("invalid resource type {typed}, only node types are supported")).into()
            );
        }
    }
    let named = if first.is_some() { words } else { rest };
    Ok(named.iter().map(|word| word.split_once('/').map_or(word.as_str(), |(_, name)| name)).collect())
}

async fn nodes(
    args: &Args,
    kind: &Kind,
    names: &[&str],
    failures: &mut Failures,
    session: &Session,
) -> Result<Vec<Value>> {
    if args.all || args.selector.is_some() {
        if args.all && args.selector.is_some() {
            let why = "setting 'all' parameter with a non empty selector is prohibited";
            return Err(UsageError(why.to_owned()).into());
        }
        let query: Vec<(&str, &str)> =
            args.selector.as_deref().map(|selector| ("labelSelector", selector)).into_iter().collect();
        let list = session.api.list(&api::collection(kind, None), &query).await?;
        return Ok(items(&list, &["items"]).to_vec());
    }
    if names.is_empty() {
        let why = "at least one resource name must be specified since 'all' parameter is not set";
        return Err(UsageError(why.to_owned()).into());
    }
    let mut nodes = Vec::new();
    for name in names {
        nodes.extend(failures.note(session.api.get(&api::object(kind, "", name), &[]).await)?);
    }
    Ok(nodes)
}

/// Changes the taints of one node as it is by then: others taint nodes, too.
async fn taint(
    args: &Args,
    kind: &Kind,
    changes: &Changes,
    mut node: Value,
    session: &Session,
) -> Result<()> {
    let clash = if args.overwrite { Clash::Replaced } else { Clash::Refused };
    let name = text(&node, &["metadata", "name"]).to_owned();
    let path = api::object(kind, "", &name);
    for _ in 0..CONFLICTS_MAX {
        let Outcome { taints, words } = changes.apply(&name, items(&node, &["spec", "taints"]), clash)?;
        if args.output.dry_run == DryRun::Client {
            node["spec"]["taints"] = taints.into();
            return print_outcome(&args.output, kind, &node, words);
        }
        let taints = if taints.is_empty() { Value::Null } else { taints.into() };
        let version = &node["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
        let query = args.output.dry_run.query(&args.field_manager);
        match session.api.patch(&path, &query, Patch::Merge, &patch).await {
            Err(error) if failure::is_reason(&error, "Conflict") => {
                node = session.api.get(&path, &[]).await?;
            }
            Err(error) => return Err(error),
            Ok(changed) => return print_outcome(&args.output, kind, &changed, words),
        }
    }
    Err(anyhow!("node {name} keeps being changed by others; try again"))
}

/// Retries against whoever else writes the node.
const CONFLICTS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn nodes_are_named_with_and_without_their_type() {
        let check = |line: &str, expected: Option<&[&str]>| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(names(&words).ok().as_deref(), expected, "{line}");
        };
        check("nodes a b", Some(&["a", "b"]));
        check("no", Some(&[]));
        check("node/a node/b", Some(&["a", "b"]));
        check("pods a", None);
        check("pod/a", None);
        check("", None);
    }
}

//! `label` and `annotate`, which differ in the map they change and in their words.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::{
    api::{self, Patch},
    document::{entries, plain, text},
    failure::{Failures, UsageError},
    resource::{self, Kind},
    session::Session,
    terminal,
};

use super::create::DryRun;
use super::get::SelectArgs;

/// Options that both commands share.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// TYPE NAME.. or TYPE/NAME.., then KEY=VALUE to set and KEY- to remove.
    #[arg(required = true, value_name = "OBJECT|CHANGE", value_parser = resource::TypeWords, hide_possible_values = true)]
    words: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
    /// All objects of the type.
    #[arg(long)]
    all: bool,
    /// Allow values that exist to be replaced.
    #[arg(long)]
    overwrite: bool,
    /// Show what is there afterwards, or now when nothing is changed.
    #[arg(long)]
    list: bool,
    /// Only say what would happen.
    #[arg(long, value_enum, default_value = "none")]
    dry_run: DryRun,
}

/// Which map of an object's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
}

/// One change; no value means removal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    key: String,
    value: Option<String>,
}

/// Changes every object named; one that fails does not stop the others.
pub(crate) async fn run(args: Args, map: Map, session: Session) -> Result<()> {
    let (objects, changes) = split(&args.words)?;
    if changes.is_empty() && !args.list {
        return Err(
            UsageError("nothing to change: give KEY=VALUE to set or KEY- to remove".to_owned()).into()
        );
    }
    let mut failures = Failures::default();
    for selection in resource::resolve(objects, &session.api).await? {
        let query = args.select.query();
        let namespace = args.select.namespace(&session);
        let targets: Vec<Value> = if selection.names.is_empty() {
            if !args.all && !args.select.selects() {
                let hint = "name an object, select with -l, or pass --all";
                return Err(UsageError(format!("which {}? {hint}", selection.kind.plural)).into());
            }
            let list = session.api.list(&api::collection(selection.kind, namespace), &query).await?;
            crate::document::items(&list, &["items"]).to_vec()
        } else {
            let mut found = Vec::new();
            for name in &selection.names {
                let path = api::object(selection.kind, &session.namespace, name);
                found.extend(failures.note(session.api.get(&path, &[]).await)?);
            }
            found
        };
        let mut untried = targets.len();
        for object in targets {
            untried -= 1;
            let changed = change(&args, map, selection.kind, &changes, &object, &session).await;
            failures.note_before(untried, changed)?;
        }
    }
    failures.into_result()
}

async fn change(
    args: &Args,
    map: Map,
    kind: &Kind,
    changes: &[Change],
    object: &Value,
    session: &Session,
) -> Result<()> {
    let name = text(object, &["metadata", "name"]);
    let path = api::object(kind, text(object, &["metadata", "namespace"]), name);
    let mut patch = json!({});
    for change in changes {
        let present = object["metadata"][map.field()][&change.key].as_str();
        let clash =
            present.is_some_and(|present| change.value.as_deref().is_some_and(|value| value != present));
        if clash && !args.overwrite {
            let present = present.unwrap_or_default();
            return Err(anyhow!(
                "'{}' already has a value ({present}), and --overwrite is false",
                change.key
            ));
        }
        if change.value.as_deref() != present {
            patch["metadata"][map.field()][&change.key] = change.value.as_deref().into();
        }
    }
    let words = map.words(changes, &patch);
    let changed = if args.dry_run == DryRun::Client || patch == json!({}) {
        object.clone()
    } else {
        session.api.patch(&path, &args.dry_run.query(map.manager()), Patch::Merge, &patch).await?
    };
    let mut shown = String::new();
    if !changes.is_empty() {
        shown = format!("{} {words}{}\n", resource::reference(kind, name), args.dry_run.suffix());
    }
    if args.list {
        shown.extend(
            entries(&changed, &["metadata", map.field()])
                .map(|(key, value)| format!("{key}={}\n", plain(value))),
        );
    }
    Ok(terminal::print(&shown)?)
}

impl Map {
    const fn field(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    const fn manager(self) -> &'static str {
        match self {
            Self::Labels => "kubectl-label",
            Self::Annotations => "kubectl-annotate",
        }
    }

    /// kubectl's words for what was done.
    fn words(self, changes: &[Change], patch: &Value) -> &'static str {
        match self {
            Self::Annotations => "annotated",
            Self::Labels if *patch == json!({}) => "not labeled",
            Self::Labels if changes.iter().all(|change| change.value.is_none()) => "unlabeled",
            Self::Labels => "labeled",
        }
    }
}

/// Divides the words: objects first, then changes.
fn split(words: &[String]) -> Result<(&[String], Vec<Change>)> {
    let is_change = |word: &String| word.contains('=') || (word.len() > 1 && word.ends_with('-'));
    let objects = words.iter().take_while(|word| !is_change(word)).count();
    let changes = words[objects..].iter().map(|word| match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => {
            Ok(Change { key: key.to_owned(), value: Some(value.to_owned()) })
        }
        (None, Some(key)) => Ok(Change { key: key.to_owned(), value: None }),
        _ => {
            Err(UsageError(format!("{word:?} is neither KEY=VALUE nor KEY-; objects come before changes"))
                .into())
        }
    });
    let changes = changes.collect::<Result<Vec<_>>>()?;
    Ok((&words[..objects], changes))
}

#[cfg(test)]
mod tests {
    use super::{Change, split};

    #[test]
    fn words() {
        let check = |line: &str, objects: usize, expected: &[(&str, Option<&str>)]| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (found, changes) = split(&words).unwrap();
            let expected: Vec<Change> = expected
                .iter()
                .map(|(key, value)| Change { key: (*key).to_owned(), value: value.map(str::to_owned) })
                .collect();
            assert_eq!((found.len(), changes), (objects, expected), "{line}");
        };
        check("pod a x=y z-", 2, &[("x", Some("y")), ("z", None)]);
        check("pod/a x=", 1, &[("x", Some(""))]);
        check("pod a x=a=b", 2, &[("x", Some("a=b"))]);
        check("pod a", 2, &[]);
        assert!(split(&["pod".to_owned(), "x=y".to_owned(), "a".to_owned()]).is_err());
    }
}

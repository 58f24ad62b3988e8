//! `set env`: variables of containers' environment, from words, from a ConfigMap or Secret, or only listed.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use super::{Shared, split, template, template::is_meant, without_match};
use crate::{
    api,
    builder::content,
    command::target::Found,
    document::{at, items, text},
    failure::{Failures, UsageError},
    manifest, resource,
    session::Session,
    terminal,
};

mod list;

/// Options of `set env`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin set env deployment/web MODE=fast OLD-       set one, remove one
  dunlin set env deployment/web --list
  dunlin set env deployment/web --from=secret/db --prefix=DB_
  dunlin set env deployment/web --from=configmap/settings --keys=mode,level
  env | grep WEB_ | dunlin set env deployment/web -")]
pub(super) struct Args {
    /// TYPE NAME.. or TYPE/NAME.., then NAME=VALUE to set, NAME- to remove, or - for NAME=VALUE lines on stdin.
    #[arg(value_name = "OBJECT|CHANGE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    words: Vec<String>,
    /// NAME=VALUE; may be repeated.
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Names of containers; `*` stands for any letters.
    #[arg(long, short, value_name = "NAME", default_value = "*")]
    containers: String,
    /// Take variables from configmap/NAME or secret/NAME, by reference.
    #[arg(long, value_name = "OBJECT")]
    from: Option<String>,
    /// Only these keys of it, separated by commas.
    #[arg(long, value_name = "KEYS", value_delimiter = ',', requires = "from")]
    keys: Vec<String>,
    /// Put this before the names of variables that are taken.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Show the variables, with the changes, and change nothing.
    #[arg(long)]
    list: bool,
    /// Show the values that variables refer to.
    #[arg(long, requires = "list")]
    resolve: bool,
    /// Whether values that exist may be replaced.
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, require_equals = true)]
    overwrite: bool,
    #[command(flatten)]
    shared: Shared,
}

/// What to do to variables.
#[derive(Clone, Debug, Default, PartialEq)]
struct Changes {
    /// As containers have them.
    set: Vec<Value>,
    /// By name.
    removed: Vec<String>,
}

/// Sets, removes and lists them.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let is_change = |word: &str| word.contains('=') || word.ends_with('-');
    let (objects, words) = split(&args.words, is_change)?;
    let mut changes = parse(words.iter().chain(&args.env))?;
    if let Some(from) = &args.from {
        changes.set.extend(taken(args, from, session).await?);
    }
    if args.list {
        return list(args, objects, &changes, session).await;
    }
    let change = |found: &Found| template::edit(found, |spec| apply(args, &changes, spec, found));
    args.shared.change(objects, "env updated", change, session).await
}

async fn list(args: &Args, objects: &[String], changes: &Changes, session: &Session) -> Result<()> {
    let mut failures = Failures::default();
    for found in args.shared.found(objects, session).await? {
        let Some(found) = failures.note(found)? else { continue };
        let shown = match template::edit(&found, |spec| apply(args, changes, spec, &found)) {
            Ok(changed) => {
                let path = template::path(&found)?;
                let spec = at(&changed.object, path);
                list::list(args, &found, spec, session).await
            }
            Err(error) => Err(error),
        };
        if let Some(shown) = failures.note(shown)? {
            terminal::print(&shown)?;
        }
    }
    failures.into_result()
}

/// Words as changes; `-` reads stdin.
fn parse<'a>(words: impl Iterator<Item = &'a String>) -> Result<Changes> {
    let mut changes = Changes::default();
    for word in words {
        if word == "-" {
            let text = manifest::load("-".as_ref())?;
            let read = content::env_file(&text, |_| None)?;
            changes.set.extend(read.into_iter().map(|(name, value)| json!({"name": name, "value": value})));
            continue;
        }
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((name, value)), _) if is_name(name) => {
                changes.set.push(json!({"name": name, "value": value}))
            }
            (None, Some(name)) if is_name(name) => changes.removed.push(name.to_owned()),
            _ => return Err(UsageError(format!("{word:?} is not of the form NAME=VALUE or NAME-")).into()),
        }
    }
    for variable in &changes.set {
        let name = text(variable, &["name"]);
        if changes.removed.iter().any(|removed| removed == name) {
            return Err(UsageError(format!(
                "can not both modify and remove the variable {name:?} in one command"
            ))
            .into());
        }
    }
    Ok(changes)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_whitespace)
}

/// References to what a ConfigMap or Secret holds, named as variables are.
async fn taken(args: &Args, from: &str, session: &Session) -> Result<Vec<Value>> {
    let Some((typed, name)) = from.split_once('/') else {
        return Err(
            UsageError(format!("--from {from:?} is not of the form configmap/NAME or secret/NAME")).into()
        );
    };
    let kind = resource::find(typed)?;
    let field = match kind.kind {
        "ConfigMap" => "configMapKeyRef",
        "Secret" => "secretKeyRef",
        other => bail!("unsupported resource specified in --from: {other}"),
    };
    let source = session.api.get(&api::object(kind, &session.namespace, name), &[]).await?;
    let held: BTreeMap<&str, ()> =
        crate::document::entries(&source, &["data"]).map(|(key, _)| (key, ())).collect();
    let mut variables = Vec::new();
    for key in held.keys().filter(|key| args.keys.is_empty() || args.keys.iter().any(|wanted| wanted == *key))
    {
        let (variable, is_as_typed) = variable_name(key);
        if !is_as_typed {
            terminal::warn(&format!("key {key} transferred to {variable}"));
        }
        let reference = json!({"name": name, "key": key});
        variables
            .push(json!({"name": format!("{}{variable}", args.prefix), "valueFrom": {field: reference}}));
    }
    Ok(variables)
}

/// What a key is called as a variable, and whether that is what it was called.
fn variable_name(key: &str) -> (String, bool) {
    let fit = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' }
    };
    let name: String = key.chars().map(fit).collect();
    let same = name == key;
    (name, same)
}

/// Changes the variables of the containers that are meant.
fn apply(args: &Args, changes: &Changes, spec: &mut Value, found: &Found) -> Result<()> {
    let mut count = 0;
    let meant = template::containers_mut(spec)
        .filter(|container| is_meant(&args.containers, text(container, &["name"])));
    for container in meant {
        count += 1;
        if !args.overwrite {
            changes.set.iter().try_for_each(|variable| is_free(found, container, variable))?;
        }
        let mut env = items(container, &["env"]).to_vec();
        for variable in &changes.set {
            match env.iter_mut().find(|present| present["name"] == variable["name"]) {
                Some(present) => *present = variable.clone(),
                None => env.push(variable.clone()),
            }
        }
        env.retain(|variable| !changes.removed.iter().any(|name| variable["name"] == *name));
        let had = container["env"].is_array();
        if had || !env.is_empty() {
            container["env"] = env.into();
        } else if let Some(fields) = container.as_object_mut() {
            // Looking at it may have left a null.
            fields.remove("env");
        }
    }
    if count == 0 {
        without_match(found, &args.containers);
    }
    Ok(())
}

fn is_free(found: &Found, container: &Value, variable: &Value) -> Result<()> {
    let mut present = items(container, &["env"]).iter();
    match present.find(|present| present["name"] == variable["name"]) {
        Some(present) if present != variable => Err(anyhow!(
            "{}/{} '{}' already has a value ({}), and --overwrite is false",
            found.target.kind.plural,
            found.target.name,
            text(variable, &["name"]),
            text(present, &["value"])
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{parse, variable_name};

    #[test]
    fn words() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let changes = parse(words("A=1 B= C-").iter()).unwrap();
        assert_eq!(changes.set, [json!({"name": "A", "value": "1"}), json!({"name": "B", "value": ""})]);
        assert_eq!(changes.removed, ["C"]);
        for wrong in ["=1", "A", "A=1 A-"] {
            assert!(parse(words(wrong).iter()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_become_names_of_variables() {
        assert_eq!(variable_name("c.d"), ("C_D".to_owned(), false));
        assert_eq!(variable_name("A_B"), ("A_B".to_owned(), true));
    }
}

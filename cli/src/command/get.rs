//! `get`: objects as tables, YAML, JSON, names or templates, once or as they change.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    age, api,
    document::{self, items, text},
    failure::{Failures, UsageError},
    links::Links,
    manifest::FileArgs,
    resource::{self, Selection},
    session::Session,
    table::{Options, Printer},
    terminal,
};

use self::{
    columns::{Columns, Rows},
    output::Output,
    sort::sort,
};
use super::target;

mod columns;
mod output;
mod raw;
mod sort;
mod watch;

/// Options of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin get pods                                 pods of the namespace
  dunlin get pods,nodes -A -o wide                several types, everywhere, with more columns
  dunlin get pod/hello -o yaml                    one object, whole
  dunlin get pods -l app=web -w                   follow changes
  dunlin get pods --field-selector status.phase=Pending
  dunlin get pods -o jsonpath='{.items[*].metadata.name}'
  dunlin get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName")]
pub(crate) struct Args {
    /// TYPE or TYPE,TYPE, then names; or TYPE/NAME. Types by any of their names, for instance po or configmaps.
    #[arg(value_name = "RESOURCE", value_parser = resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// Show this part of the objects, for instance status or scale.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["watch", "watch_only"])]
    subresource: Option<String>,
    /// Print what the coordinator answers at this path, for instance /readyz?verbose.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["resources", "filenames", "output", "watch"])]
    raw: Option<String>,
    /// wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADER:JSONPATH,...; jsonpath-as-json=TEMPLATE for a list, and
    /// jsonpath-file=FILE or custom-columns-file=FILE for what a file holds.
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
    /// Show the objects and then every change.
    #[arg(long, short)]
    watch: bool,
    /// Show only changes from now on.
    #[arg(long)]
    watch_only: bool,
    /// Show before each change what it is: ADDED, MODIFIED or DELETED.
    #[arg(long)]
    output_watch_events: bool,
    /// Leave out the row of column names.
    #[arg(long)]
    no_headers: bool,
    /// Show all labels in a last column.
    #[arg(long)]
    show_labels: bool,
    /// Show these labels as columns.
    #[arg(long, short = 'L', value_delimiter = ',', value_name = "KEY")]
    label_columns: Vec<String>,
    /// Show names as TYPE/NAME.
    #[arg(long)]
    show_kind: bool,
    /// Order rows by this JSONPath, for instance .metadata.creationTimestamp.
    #[arg(long, value_name = "JSONPATH")]
    sort_by: Option<String>,
    /// Take a missing object for an empty answer.
    #[arg(long)]
    ignore_not_found: bool,
    /// Keep metadata.managedFields in yaml and json.
    #[arg(long)]
    show_managed_fields: bool,
}

/// Which objects of a type; shared with other commands.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SelectArgs {
    /// In all namespaces.
    #[arg(long, short = 'A')]
    pub(crate) all_namespaces: bool,
    /// Only objects with these labels, for instance app=web,tier!=db.
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Only objects with these fields, for instance spec.nodeName=n1.
    #[arg(long, value_name = "FIELDS")]
    pub(crate) field_selector: Option<String>,
}

impl SelectArgs {
    /// The selectors as query parameters.
    pub(crate) fn query(&self) -> Vec<(&str, &str)> {
        let pairs = [("labelSelector", &self.selector), ("fieldSelector", &self.field_selector)];
        pairs.into_iter().filter_map(|(key, value)| value.as_deref().map(|value| (key, value))).collect()
    }

    /// The namespace in effect; `None` means all.
    pub(crate) fn namespace<'a>(&self, session: &'a Session) -> Option<&'a str> {
        (!self.all_namespaces).then_some(session.namespace.as_str())
    }

    /// Whether any selector is given.
    pub(crate) const fn selects(&self) -> bool {
        self.selector.is_some() || self.field_selector.is_some()
    }
}

/// Shows what is asked for; an object that is missing does not hide the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if let Some(path) = &args.raw {
        return raw::run(path, &session).await;
    }
    let selections = selections(&args, &session).await?;
    for selection in &selections {
        check(&args, selection)?;
    }
    if args.watch || args.watch_only {
        return match selections.as_slice() {
            [selection] => watch::run(&args, selection, &session).await,
            _ => Err(UsageError("a watch follows one type at a time".to_owned()).into()),
        };
    }
    match &args.output {
        None | Some(Output::Wide) => tables(&args, &selections, &session).await,
        Some(output) => objects(&args, output, &selections, &session).await,
    }
}

/// What words or manifests name.
async fn selections(args: &Args, session: &Session) -> Result<Vec<Selection>> {
    if args.files.filenames.is_empty() {
        return resource::resolve(&args.resources, &session.api).await;
    }
    let targets = target::named(&args.resources, &args.files, session).await?;
    let targets = targets.into_iter().map(|target| {
        target.map(|target| Selection {
            kind: target.kind,
            names: vec![target.name],
            namespace: Some(target.namespace),
        })
    });
    targets.collect()
}

fn check(args: &Args, selection: &Selection) -> Result<()> {
    if args.subresource.is_some() && selection.names.is_empty() {
        return Err(UsageError("--subresource is of an object; name one".to_owned()).into());
    }
    if selection.names.is_empty() {
        return Ok(());
    }
    if args.select.selects() {
        return Err(UsageError("names and selectors cannot be combined".to_owned()).into());
    }
    if args.select.all_namespaces && selection.kind.namespaced {
        return Err(UsageError(
            "an object cannot be retrieved by name across all namespaces; name one with -n".to_owned(),
        )
        .into());
    }
    Ok(())
}

async fn tables(args: &Args, selections: &[Selection], session: &Session) -> Result<()> {
    let mut failures = Failures::default();
    let mut printed = 0;
    for selection in selections {
        let mut tables = Vec::new();
        if selection.names.is_empty() {
            let path = api::collection(selection.kind, args.select.namespace(session));
            tables.extend(failures.note(session.api.list_table(&path, &args.table_query()).await)?);
        }
        for name in &selection.names {
            let path = args.path(selection, name, session);
            let table = tolerate(args, session.api.table(&path, &args.table_query()).await);
            tables.extend(failures.note(table)?.flatten().map(as_table));
        }
        let Some(mut table) = join(tables) else { continue };
        if items(&table, &["rows"]).is_empty() {
            continue;
        }
        if selection.kind.kind == "Node" && matches!(args.output, Some(Output::Wide)) {
            Links::fetch(session).await.widen(&mut table, Timestamp::now());
        }
        if let Some(path) = &args.sort_by {
            sort(&mut table["rows"], path, "object")?;
        }
        let blank = if printed > 0 { "\n" } else { "" };
        printed += 1;
        let mut printer = Printer::new(selection.kind, args.table_options(selection, selections.len()));
        terminal::print(&format!("{blank}{}", printer.render(&table)))?;
    }
    if printed == 0 && failures.is_empty() && !args.ignore_not_found {
        let namespaced = selections.iter().any(|selection| selection.kind.namespaced);
        terminal::remark(&match args.select.namespace(session) {
            Some(namespace) if namespaced => format!("No resources found in {namespace} namespace."),
            _ => "No resources found".to_owned(),
        });
    }
    failures.into_result()
}

/// An object that the server does not show as a table, by its name and age.
fn as_table(answer: Value) -> Value {
    if answer["kind"] == "Table" {
        return answer;
    }
    let metadata = &answer["metadata"];
    let age = age::since(metadata["creationTimestamp"].as_str(), Timestamp::now());
    json!({
        "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Age", "priority": 0}],
        "rows": [{"cells": [metadata["name"], age], "object": answer}],
    })
}

/// Tables of one kind as one.
fn join(tables: Vec<Value>) -> Option<Value> {
    let mut tables = tables.into_iter();
    let mut first = tables.next()?;
    for mut table in tables {
        let rows = table["rows"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if let Some(all) = first["rows"].as_array_mut() {
            all.extend(rows);
        }
    }
    Some(first)
}

async fn objects(args: &Args, output: &Output, selections: &[Selection], session: &Session) -> Result<()> {
    let mut failures = Failures::default();
    let mut found = Vec::new();
    let single = matches!(selections, [one] if one.names.len() == 1);
    for selection in selections {
        if selection.names.is_empty() {
            let path = api::collection(selection.kind, args.select.namespace(session));
            if let Some(list) = failures.note(session.api.list(&path, &args.select.query()).await)? {
                found.extend(items(&list, &["items"]).iter().map(|item| typed(item, selection)));
            }
        }
        for name in &selection.names {
            let path = args.path(selection, name, session);
            let object = tolerate(args, session.api.get(&path, &[]).await);
            found.extend(failures.note(object)?.flatten());
        }
    }
    if !args.show_managed_fields {
        found.iter_mut().for_each(document::without_managed_fields);
    }
    let mut all = Value::Array(found);
    if let Some(path) = &args.sort_by {
        sort(&mut all, path, "")?;
    }
    let mut found = items(&all, &[]).to_vec();
    match (single, found.pop()) {
        (true, None) => {}
        (true, Some(object)) => print(args, output, (&object, std::slice::from_ref(&object)))?,
        (false, last) => {
            found.extend(last);
            let metadata = json!({"resourceVersion": ""});
            let list = json!({"apiVersion": "v1", "items": found, "kind": "List", "metadata": metadata});
            print(args, output, (&list, &found))?;
        }
    }
    failures.into_result()
}

/// Prints `whole`, which is one object or a list, or something of each of the objects in it.
fn print(args: &Args, output: &Output, (whole, objects): (&Value, &[Value])) -> Result<()> {
    let shown = match output {
        Output::Name => objects.iter().map(|object| format!("{}\n", name_of(object))).collect(),
        Output::Json => document::json(whole)?,
        Output::Jsonpath(template) => template.render(whole),
        Output::JsonpathAsJson(template) => {
            document::json(&template.values(whole).into_iter().cloned().collect())?
        }
        Output::CustomColumns(columns) => args.rows(columns).render(objects),
        Output::Yaml | Output::Wide => document::yaml(whole),
    };
    Ok(terminal::print(&shown)?)
}

/// Items of a list lack what the list says once.
fn typed(item: &Value, selection: &Selection) -> Value {
    let mut item = item.clone();
    item["apiVersion"] = selection.kind.api_version().into();
    item["kind"] = selection.kind.kind.into();
    item
}

fn name_of(object: &Value) -> String {
    let name = text(object, &["metadata", "name"]);
    match dunlin_api::kind::by_kind(text(object, &["apiVersion"]), text(object, &["kind"])) {
        Some(kind) => resource::reference(kind, name),
        None => name.to_owned(),
    }
}

/// With --ignore-not-found a missing object is none.
fn tolerate(args: &Args, outcome: Result<Value>) -> Result<Option<Value>> {
    match outcome {
        Err(error) if args.ignore_not_found && crate::failure::is_reason(&error, "NotFound") => Ok(None),
        other => other.map(Some),
    }
}

impl Args {
    /// Where an object, or the part of it that is wanted, is.
    fn path(&self, selection: &Selection, name: &str, session: &Session) -> String {
        let namespace = selection.namespace.as_ref().unwrap_or(&session.namespace);
        let object = api::object(selection.kind, namespace, name);
        match &self.subresource {
            Some(subresource) => format!("{object}/{subresource}"),
            None => object,
        }
    }

    /// Selectors, and whole objects when sorting needs them.
    fn table_query(&self) -> Vec<(&str, &str)> {
        let mut query = self.select.query();
        if self.sort_by.is_some() {
            query.push(("includeObject", "Object"));
        }
        query
    }

    fn rows<'a>(&self, columns: &'a Columns) -> Rows<'a> {
        if self.no_headers { Rows::without_headers(columns) } else { Rows::new(columns) }
    }

    fn table_options(&self, selection: &Selection, selections: usize) -> Options {
        Options {
            wide: matches!(self.output, Some(Output::Wide)),
            no_headers: self.no_headers,
            show_labels: self.show_labels,
            label_columns: self.label_columns.clone(),
            with_namespace: self.select.all_namespaces && selection.kind.namespaced,
            with_kind: self.show_kind
                || selections > 1
                || self.resources.first().is_some_and(|word| word.contains('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{as_table, name_of, typed};
    use crate::resource;

    #[test]
    fn what_is_no_table_has_a_name() {
        let table = as_table(json!({"kind": "Scale", "metadata": {"name": "web"}}));
        assert_eq!(table["rows"][0]["cells"], json!(["web", "<unknown>"]));
        assert_eq!(as_table(json!({"kind": "Table"})), json!({"kind": "Table"}));
    }

    #[test]
    fn items_of_a_list_have_full_names() {
        let selections = resource::parse(&["pods".to_owned()]).unwrap();
        assert_eq!(name_of(&typed(&json!({"metadata": {"name": "foo"}}), &selections[0])), "pod/foo");
    }
}

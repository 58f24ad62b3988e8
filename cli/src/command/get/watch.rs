//! `get -w`: what is there, then every change, until the server or the user ends it.

use super::{
    Args, Output, Printer, Result, Rows, Selection, Session, UsageError, Value, document, items, name_of,
    terminal, text, typed,
};
use crate::api::{self, Accept};

/// Lists, unless only changes are wanted, and follows from there.
pub(super) async fn run(args: &Args, selection: &Selection, session: &Session) -> Result<()> {
    let mut query: Vec<(String, String)> =
        args.select.query().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    match selection.names.as_slice() {
        [] => {}
        [name] => query.push(("fieldSelector".to_owned(), format!("metadata.name={name}"))),
        _ => return Err(UsageError("a watch follows all objects of a type, or one".to_owned()).into()),
    }
    let path = api::collection(selection.kind, args.select.namespace(session));
    let rows = match &args.output {
        Some(Output::CustomColumns(columns)) => Some(args.rows(columns)),
        _ => None,
    };
    let printer = Printer::new(selection.kind, args.table_options(selection, 1));
    let mut follower = Follower { printer, rows, args, selection };
    loop {
        let borrowed: Vec<(&str, &str)> =
            query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let list = follower.list(&path, &borrowed, session).await?;
        let mut version = text(&list, &["metadata", "resourceVersion"]).to_owned();
        if args.watch {
            follower.show_list(&list)?;
        }
        // The server ends a watch after a while; it goes on from the last version seen.
        while follower.watch(&path, &borrowed, &mut version, session).await? == Ended::Quietly {}
        // The version is too old to go on from: what happened meanwhile shows in a new list.
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Quietly,
    VersionGone,
}

struct Follower<'a> {
    printer: Printer,
    /// For columns of the user's.
    rows: Option<Rows<'a>>,
    args: &'a Args,
    selection: &'a Selection,
}

impl Follower<'_> {
    async fn list(&self, path: &str, query: &[(&str, &str)], session: &Session) -> Result<Value> {
        match self.accept() {
            Accept::Table => session.api.list_table(path, query).await,
            Accept::Objects => session.api.list(path, query).await,
        }
    }

    async fn watch(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        version: &mut String,
        session: &Session,
    ) -> Result<Ended> {
        let mut query = query.to_vec();
        query.push(("resourceVersion", version.as_str()));
        let gone = |error: &anyhow::Error| {
            crate::failure::is_reason(error, "Expired") || crate::failure::is_reason(error, "Gone")
        };
        let mut watch = match session.api.watch(path, &query, self.accept()).await {
            Err(error) if gone(&error) => return Ok(Ended::VersionGone),
            other => other?,
        };
        loop {
            match watch.next().await {
                Ok(None) => return Ok(Ended::Quietly),
                Ok(Some((kind, object))) => {
                    let seen = newest(&object);
                    if !seen.is_empty() {
                        *version = seen;
                    }
                    if kind != "BOOKMARK" {
                        self.show_change(&kind, object)?;
                    }
                }
                Err(error) if gone(&error) => return Ok(Ended::VersionGone),
                Err(error) => return Err(error),
            }
        }
    }

    const fn accept(&self) -> Accept {
        match self.args.output {
            None | Some(Output::Wide) => Accept::Table,
            Some(_) => Accept::Objects,
        }
    }

    fn show_list(&mut self, list: &Value) -> Result<()> {
        match self.accept() {
            Accept::Table if items(list, &["rows"]).is_empty() => Ok(()),
            Accept::Table => self.show_change(ADDED, list.clone()),
            Accept::Objects => items(list, &["items"])
                .iter()
                .try_for_each(|item| self.show_change(ADDED, typed(item, self.selection))),
        }
    }

    fn show_change(&mut self, kind: &str, object: Value) -> Result<()> {
        if !self.args.output_watch_events {
            return self.show(&object);
        }
        match (self.accept(), &self.args.output) {
            (Accept::Table, _) => {
                let mut table = object;
                with_event(&mut table, kind);
                self.show(&table)
            }
            (_, Some(Output::Json | Output::Yaml)) => {
                self.show(&serde_json::json!({"type": kind, "object": object}))
            }
            _ => {
                terminal::print(&format!("{kind} "))?;
                self.show(&object)
            }
        }
    }

    fn show(&mut self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        if !self.args.show_managed_fields {
            document::without_managed_fields(&mut object);
        }
        if let Some(rows) = &mut self.rows {
            return Ok(terminal::print(&rows.render(std::slice::from_ref(&object)))?);
        }
        let shown = match &self.args.output {
            None | Some(Output::Wide | Output::CustomColumns(_)) => self.printer.render(&object),
            Some(Output::Name) => format!("{}\n", name_of(&object)),
            Some(Output::Json) => document::json(&object)?,
            Some(Output::Yaml) => format!("---\n{}", document::yaml(&object)),
            Some(Output::Jsonpath(template)) => template.render(&object),
            Some(Output::JsonpathAsJson(template)) => {
                document::json(&template.values(&object).into_iter().cloned().collect())?
            }
        };
        Ok(terminal::print(&shown)?)
    }
}

/// Puts a first column with the kind of change into a table.
fn with_event(table: &mut Value, kind: &str) {
    if let Some(definitions) = table["columnDefinitions"].as_array_mut()
        && !definitions.is_empty()
    {
        definitions.insert(0, serde_json::json!({"name": "Event", "type": "string", "priority": 0}));
    }
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        if let Some(cells) = row["cells"].as_array_mut() {
            cells.insert(0, kind.into());
        }
    }
}

/// What objects are that were there before.
const ADDED: &str = "ADDED";

/// The version of an event's object, which for a table is that of its row.
fn newest(object: &Value) -> String {
    let row =
        items(object, &["rows"]).last().map(|row| text(row, &["object", "metadata", "resourceVersion"]));
    match row {
        Some(version) if !version.is_empty() => version.to_owned(),
        _ => text(object, &["metadata", "resourceVersion"]).to_owned(),
    }
}

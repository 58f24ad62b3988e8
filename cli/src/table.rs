//! Tables of resources as the server renders them: which columns to show, aligned, coloured where a colour helps.

use serde_json::Value;

use crate::{
    document::{entries, items, plain, text},
    resource::{self, Kind},
    tabs::Layout,
    terminal::{self, Colour},
};

/// What of a table to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Columns of lower priority too.
    pub(crate) wide: bool,
    /// Leave out the first row.
    pub(crate) no_headers: bool,
    /// A last column with all labels.
    pub(crate) show_labels: bool,
    /// Labels that become columns.
    pub(crate) label_columns: Vec<String>,
    /// A first column with the namespace.
    pub(crate) with_namespace: bool,
    /// Names as `pod/x`.
    pub(crate) with_kind: bool,
}

/// Prints one or more tables of one kind under one another, so that the rows of a watch align with the first ones.
#[derive(Debug)]
pub(crate) struct Printer {
    kind: &'static Kind,
    options: Options,
    /// Names of the columns shown and where their cells are; a watch tells them only once.
    columns: Vec<(usize, String)>,
    widths: Vec<usize>,
    headers_printed: bool,
}

impl Printer {
    /// A printer that has printed nothing yet.
    pub(crate) const fn new(kind: &'static Kind, options: Options) -> Self {
        Self { kind, options, columns: Vec::new(), widths: Vec::new(), headers_printed: false }
    }

    /// The rows of `table` as text, with headers the first time.
    pub(crate) fn render(&mut self, table: &Value) -> String {
        let definitions = items(table, &["columnDefinitions"]);
        if !definitions.is_empty() {
            let shown = |column: &Value| self.options.wide || column["priority"].as_i64().unwrap_or(0) == 0;
            self.columns = definitions
                .iter()
                .enumerate()
                .filter(|(_, column)| shown(column))
                .map(|(index, column)| (index, text(column, &["name"]).to_uppercase()))
                .collect();
        }
        let mut lines = Vec::new();
        if !self.headers_printed && !self.options.no_headers {
            lines.push(self.headers());
        }
        let data_start = lines.len();
        self.headers_printed = true;
        lines.extend(items(table, &["rows"]).iter().map(|row| self.row(row)));
        self.align(&lines, data_start)
    }

    fn headers(&self) -> Vec<String> {
        let mut cells = Vec::new();
        if self.options.with_namespace {
            cells.push("NAMESPACE".to_owned());
        }
        cells.extend(self.columns.iter().map(|(_, name)| name.clone()));
        let label_header = |label: &String| label.rsplit('/').next().unwrap_or(label).to_uppercase();
        cells.extend(self.options.label_columns.iter().map(label_header));
        if self.options.show_labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let object = &row["object"];
        let mut cells = Vec::new();
        if self.options.with_namespace {
            cells.push(text(object, &["metadata", "namespace"]).to_owned());
        }
        for (position, (index, _)) in self.columns.iter().enumerate() {
            let cell = plain(&row["cells"][*index]);
            // The first column is the name; a line break in any cell would tear the table.
            let cell = cell.lines().next().unwrap_or_default().to_owned();
            cells.push(match position {
                0 if self.options.with_kind => resource::reference(self.kind, &cell),
                _ => cell,
            });
        }
        for label in &self.options.label_columns {
            cells.push(text(object, &["metadata", "labels", label]).to_owned());
        }
        if self.options.show_labels {
            cells.push(labels(object, ","));
        }
        cells
    }

    fn align(&mut self, lines: &[Vec<String>], data_start: usize) -> String {
        for cells in lines {
            self.widths.resize(self.widths.len().max(cells.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width =
                    Layout::TABLE.width_min.max(cell.chars().count() + Layout::TABLE.padding).max(*width);
            }
        }
        let colours = terminal::stdout_has_colours();
        let mut aligned = String::new();
        for (line, cells) in lines.iter().enumerate() {
            for (index, cell) in cells.iter().enumerate() {
                let colour = if colours && line >= data_start { colour_of(cell) } else { None };
                match colour {
                    Some(colour) => aligned.push_str(&terminal::coloured(cell, colour)),
                    None => aligned.push_str(cell),
                }
                if index + 1 < cells.len() {
                    let missing = self.widths[index].saturating_sub(cell.chars().count());
                    aligned.extend(std::iter::repeat_n(' ', missing));
                }
            }
            aligned.push('\n');
        }
        aligned
    }
}

/// `a=b` pairs; `<none>` when there are none.
pub(crate) fn labels(object: &Value, separator: &str) -> String {
    let pairs: Vec<String> = entries(object, &["metadata", "labels"])
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(separator) }
}

/// Words of status columns that a person scans for.
fn colour_of(cell: &str) -> Option<Colour> {
    let word = cell.rsplit(':').next().unwrap_or(cell);
    match word.split(',').next().unwrap_or(word) {
        "Running" | "Ready" | "Active" | "Completed" | "Succeeded" => Some(Colour::Green),
        "Pending" | "ContainerCreating" | "PodInitializing" | "Terminating" | "Unknown" | "Warning" => {
            Some(Colour::Yellow)
        }
        "CrashLoopBackOff"
        | "Error"
        | "Failed"
        | "NotReady"
        | "OOMKilled"
        | "ErrImagePull"
        | "ImagePullBackOff"
        | "CreateContainerConfigError"
        | "CreateContainerError"
        | "Evicted" => Some(Colour::Red),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{Options, Printer};
    use crate::resource;

    fn table() -> Value {
        json!({
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0}, {"name": "IP", "priority": 1},
            ],
            "rows": [
                {"cells": ["web-6d4977bb44", "1/1", "10.1.0.9"],
                 "object": {"metadata": {"namespace": "kc", "labels": {"app": "web", "z": "1"}}}},
                {"cells": ["rp", "0/1", "<none>"], "object": {"metadata": {"namespace": "kc"}}},
            ],
        })
    }

    fn check(options: Options, expected: &Expect) {
        let mut printer = Printer::new(resource::find("pods").unwrap(), options);
        expected.assert_eq(&printer.render(&table()));
    }

    #[test]
    fn shapes() {
        check(
            Options::default(),
            &expect![[r#"
            NAME             READY
            web-6d4977bb44   1/1
            rp               0/1
        "#]],
        );
        check(
            Options { wide: true, with_kind: true, ..Options::default() },
            &expect![[r#"
            NAME                 READY   IP
            pod/web-6d4977bb44   1/1     10.1.0.9
            pod/rp               0/1     <none>
        "#]],
        );
        let labels = Options {
            with_namespace: true,
            show_labels: true,
            label_columns: vec!["example.com/app".to_owned(), "app".to_owned()],
            ..Options::default()
        };
        check(
            labels,
            &expect![[r#"
            NAMESPACE   NAME             READY   APP   APP   LABELS
            kc          web-6d4977bb44   1/1           web   app=web,z=1
            kc          rp               0/1                 <none>
        "#]],
        );
    }

    #[test]
    fn later_rows_align_with_the_first() {
        let mut printer = Printer::new(resource::find("pods").unwrap(), Options::default());
        printer.render(&table());
        let more = json!({
            "columnDefinitions": null,
            "rows": [{"cells": ["a", "1/1"], "object": {}}],
        });
        assert_eq!(printer.render(&more), "a                1/1\n");
    }
}

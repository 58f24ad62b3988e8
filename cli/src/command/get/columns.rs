//! `-o custom-columns=HEADER:JSONPATH,...`: a table of what the user wants to see of each object, as kubectl prints it.

use serde_json::Value;

use crate::{jsonpath::Template, tabs::Layout};

/// Headers, and where the cells below them come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Columns(Vec<(String, Template)>);

/// Prints objects under one another, so that those of a watch align with the first ones.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    columns: &'a Columns,
    headers_due: bool,
    /// Least width of each column: what was printed so far took it.
    widths: Vec<usize>,
}

impl Columns {
    /// Parses what follows `custom-columns=`.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("custom-columns format specified but no custom columns given".to_owned());
        }
        text.split(',').map(column).collect::<Result<_, _>>().map(Self)
    }

    /// Parses a file of two lines: headers, and a path below each.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(crate) fn parse_file(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).map(str::split_whitespace);
        let (Some(headers), Some(paths), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err("a custom-columns-file has a line of headers and a line of paths".to_owned());
        };
        let (headers, paths): (Vec<&str>, Vec<&str>) = (headers.collect(), paths.collect());
        if headers.len() != paths.len() {
            return Err(format!(
                "number of columns ({}) and paths ({}) don't match",
                headers.len(),
                paths.len()
            ));
        }
        let columns = headers.iter().zip(paths).map(|(header, path)| column(&format!("{header}:{path}")));
        columns.collect::<Result<_, _>>().map(Self)
    }
}

impl<'a> Rows<'a> {
    /// Nothing is printed yet.
    pub(super) const fn new(columns: &'a Columns) -> Self {
        Self { columns, headers_due: true, widths: Vec::new() }
    }

    /// As [`Rows::new`], without a row of headers.
    pub(super) const fn without_headers(columns: &'a Columns) -> Self {
        Self { columns, headers_due: false, widths: Vec::new() }
    }

    /// A line for each object, below the headers the first time.
    pub(super) fn render(&mut self, objects: &[Value]) -> String {
        let columns = &self.columns.0;
        let headers = columns.iter().map(|(header, _)| header.clone()).collect();
        let headers: Option<Vec<String>> = std::mem::take(&mut self.headers_due).then_some(headers);
        let rows = objects.iter().map(|object| columns.iter().map(|(_, path)| cell(path, object)).collect());
        let lines: Vec<Vec<String>> = headers.into_iter().chain(rows).collect();
        self.widths.resize(columns.len(), Layout::TABLE.width_min);
        for line in &lines {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count() + Layout::TABLE.padding);
            }
        }
        lines.iter().map(|line| self.aligned(line)).collect()
    }

    /// The last cell is not padded.
    fn aligned(&self, line: &[String]) -> String {
        let (last, cells) = line.split_last().expect("there is at least one column");
        let cells = cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.chain([format!("{last}\n")]).collect()
    }
}

fn column(text: &str) -> Result<(String, Template), String> {
    let (header, path) = text.split_once(':').ok_or_else(|| {
        format!("unexpected custom-columns spec: {text}, expected <header>:<json-path-expr>")
    })?;
    let inner = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
    if inner.is_empty() || inner.contains(['{', '}']) {
        return Err(format!(
            "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}': {path:?}"
        ));
    }
    let template = Template::parse(inner).map_err(|error| error.to_string())?;
    Ok((header.to_owned(), template))
}

fn cell(path: &Template, object: &Value) -> String {
    let values: Vec<String> = path.values(object).into_iter().map(printed).collect();
    if values.is_empty() { "<none>".to_owned() } else { values.join(",") }
}

/// A value as Go prints it, which is what scripts that were written for kubectl expect.
fn printed(value: &Value) -> String {
    let joined = |values: Vec<String>| values.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Array(values) => format!("[{}]", joined(values.iter().map(printed).collect())),
        Value::Object(values) => {
            let mut entries: Vec<_> = values.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter().map(|(key, value)| format!("{key}:{}", printed(value)));
            format!("map[{}]", joined(entries.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn pods() -> Vec<Value> {
        let labels = json!({"tier": "front", "app": "web"});
        let containers = json!([{"name": "a", "image": "one"}, {"name": "b", "image": "two"}]);
        vec![
            json!({"metadata": {"name": "web", "labels": labels}, "spec": {"containers": containers, "n": 5}}),
            json!({"metadata": {"name": "a-longer-name"}, "spec": {"ready": true}}),
        ]
    }

    #[test]
    fn objects_as_the_user_wants_them() {
        let columns = Columns::parse(
            "NAME:.metadata.name,IMAGES:{.spec.containers[*].image},N:spec.n,LABELS:{metadata.labels},R:.spec.ready",
        );
        let columns = columns.unwrap();
        let expected = expect![[r"
            NAME            IMAGES    N        LABELS                    R
            web             one,two   5        map[app:web tier:front]   <none>
            a-longer-name   <none>    <none>   <none>                    true
        "]];
        expected.assert_eq(&Rows::new(&columns).render(&pods()));
    }

    #[test]
    fn later_rows_align_with_the_first_ones() {
        let columns = Columns::parse("N:.metadata.name,APP:.metadata.labels.app").unwrap();
        let [web, longer] = pods().try_into().unwrap();
        let mut rows = Rows::new(&columns);
        let shown =
            [rows.render(&[]), rows.render(&[longer]), rows.render(std::slice::from_ref(&web))].concat();
        let expected = expect![[r"
            N     APP
            a-longer-name   <none>
            web             web
        "]];
        expected.assert_eq(&shown);
        assert_eq!(Rows::without_headers(&columns).render(&[web]), "web   web\n");
    }

    #[test]
    fn mistakes() {
        let check = |text: &str, expected: &str| {
            let error = Columns::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("", "no custom columns given");
        check("NAME", "unexpected custom-columns spec: NAME, expected <header>:<json-path-expr>");
        check("A:.a,", "unexpected custom-columns spec: ,");
        check("A:", "unexpected path string");
        check("A:{.a}{.b}", "unexpected path string");
        check("A:.a[", "");
    }

    #[test]
    fn a_file_says_the_same_in_two_lines() {
        let inline = Columns::parse("N:.metadata.name,APP:{.metadata.labels.app}").unwrap();
        assert_eq!(
            Columns::parse_file("N                APP\n.metadata.name {.metadata.labels.app}\n"),
            Ok(inline)
        );
        assert!(Columns::parse_file("N A\n.metadata.name\n").unwrap_err().contains("don't match"));
        assert!(Columns::parse_file("N\n").is_err());
    }
}

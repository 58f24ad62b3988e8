//! The page about a kind or field, laid out as kubectl does.

use std::fmt::Write as _;

use super::{
    schema::{Need, Schema},
    wrap::wrap,
};
use crate::resource::Kind;

/// How far down fields are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Those of the kind or field, with descriptions.
    One,
    /// Those of their fields, too, by name.
    All,
}

/// Which kind the page is about.
pub(super) fn title(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { String::new() } else { format!("GROUP:      {}\n", kind.group) };
    format!("{group}KIND:       {}\nVERSION:    {}\n\n", kind.kind, kind.version)
}

/// The page below the title; `name` is the field's, for a page about a field.
pub(super) fn render(schema: &Schema<'_>, name: Option<&str>, depth: Depth) -> String {
    let mut page = String::new();
    if let Some(name) = name {
        field_header(schema, name, &mut page);
    }
    page.push_str("DESCRIPTION:\n");
    let descriptions = schema.descriptions();
    let last = if descriptions.is_empty() { "    <empty>\n" } else { "    \n" };
    for description in descriptions {
        paragraph(description, 4, &mut page);
    }
    page.push_str(last);
    let fields = schema.fields();
    if !fields.is_empty() {
        page.push_str("FIELDS:\n");
        match depth {
            Depth::One => fields.into_iter().for_each(|field| described_field(field, &mut page)),
            Depth::All => tree(&mut vec![*schema], &mut page),
        }
    }
    page.push('\n');
    page
}

fn field_header(schema: &Schema<'_>, name: &str, page: &mut String) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(page, "FIELD: {name} <{}>", schema.type_name());
    let allowed = schema.allowed();
    if allowed.is_empty() {
        page.push('\n');
    } else {
        page.push_str("ENUM:\n");
        for value in allowed {
            let _ = writeln!(page, "    {}", shown(value));
        }
    }
    page.push('\n');
}

fn described_field(field: (&str, Schema<'_>, Need), page: &mut String) {
    let schema = field.1;
    field_line(field, 1, page);
    match schema.own_description() {
        "" => page.push_str("    <no description>\n"),
        description => paragraph(description, 4, page),
    }
    page.push('\n');
}

/// Fields of the last of `path` and below, each structure only once on the way down.
fn tree<'d>(path: &mut Vec<Schema<'d>>, page: &mut String) {
    let Some(current) = path.last().copied() else { return };
    for field in current.fields() {
        field_line(field, path.len(), page);
        if path.iter().all(|outer| !outer.is_same_structure(field.1)) {
            path.push(field.1);
            tree(path, page);
            path.pop();
        }
    }
}

fn field_line((name, schema, need): (&str, Schema<'_>, Need), level: usize, page: &mut String) {
    let indent = " ".repeat(2 * level);
    let required = if need == Need::Required { " -required-" } else { "" };
    let _ = writeln!(page, "{indent}{name}\t<{}>{required}", schema.type_name());
    let allowed: Vec<String> = schema.allowed().into_iter().map(shown).collect();
    if !allowed.is_empty() {
        let first = allowed.iter().take(ALLOWED_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = if allowed.len() > ALLOWED_SHOWN_MAX { ", ...." } else { "" };
        let _ = writeln!(page, "{indent}enum: {first}{more}");
    }
}

fn paragraph(text: &str, indent: usize, page: &mut String) {
    for line in wrap(text, WIDTH - indent) {
        let _ = writeln!(page, "{}{line}", " ".repeat(indent));
    }
}

/// An empty value would not be seen.
fn shown(value: &str) -> String {
    if value.is_empty() { "\"\"".to_owned() } else { value.to_owned() }
}

/// Columns of a page.
const WIDTH: usize = 80;

/// Of the values that a field may have, those shown in a list of fields.
const ALLOWED_SHOWN_MAX: usize = 4;

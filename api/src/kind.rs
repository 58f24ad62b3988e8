//! The registry of resource kinds: one row each.
//!
//! Adding a kind: a file in `kind/` with its `KIND` row over [`Kind::BASE`] (names as in discovery, the schema's full name, columns
//! as Kubernetes prints them, functions for what the schema does not say), its line in [`KINDS`], and the golden cases about it in
//! `tests/golden/`.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::FieldError,
    names::NameRule,
    pipeline::Creation,
    schema::{self, Definition},
    value::text,
};

mod config_map;
mod event;
mod namespace;
mod node;
pub mod pod;
mod secret;
mod service_account;

/// One resource kind: what it is called and how its objects behave.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version, for instance `v1`.
    pub version: &'static str,
    /// For instance `Pod`.
    pub kind: &'static str,
    /// For instance `pods`.
    pub plural: &'static str,
    /// For instance `pod`.
    pub singular: &'static str,
    /// For instance `po`.
    pub short_names: &'static [&'static str],
    /// For instance `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Full name of the definition in the schema table.
    pub schema: &'static str,
    /// Subresources that are stored with the object, for instance `status`.
    pub subresources: &'static [&'static str],
    /// Verbs of the resource itself.
    pub verbs: &'static [&'static str],
    /// Columns of its table.
    pub columns: &'static [Column],

    /// How `metadata.name` must look.
    pub(crate) name_rule: NameRule,
    /// Whether `metadata.generation` counts changes of the spec.
    pub(crate) generation: Generation,
    /// Fields that field selectors may name.
    pub(crate) fields: FieldLabels,
    /// Fills in defaults that the schema does not hold.
    pub(crate) default: fn(&mut Value),
    /// Resets and sets what the system owns in a new object.
    pub(crate) prepare_create: fn(&mut Value, &Creation<'_>),
    /// Restores what an update of the object (old second) may not touch.
    pub(crate) prepare_update: fn(&mut Value, &Value),
    /// Completes an update of the status (old second).
    pub(crate) prepare_status: fn(&mut Value, &Value),
    /// What an admission step of Kubernetes refuses, before validation.
    pub(crate) admit: fn(&Self, &mut Value) -> Result<(), crate::Status>,
    /// Rules for any object.
    pub(crate) validate: fn(&Value, &mut Vec<FieldError>),
    /// Rules for a change (old second), on top of `validate`.
    pub(crate) validate_update: fn(&Value, &Value, &mut Vec<FieldError>),
    /// Rules for a change of status (old second); `validate` does not run.
    pub(crate) validate_status: fn(&Value, &Value, &mut Vec<FieldError>),
    /// Warnings about an object, in Kubernetes' words or naming fields that are not acted on.
    pub(crate) warnings: fn(&Value) -> Vec<String>,
    /// Cells of the object's row.
    pub(crate) row: fn(&Value, Timestamp) -> Vec<Value>,
}

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// For instance `Ready`.
    pub name: &'static str,
    /// Format, `name` for the object's name, else empty.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 always shown, 1 with `-o wide`.
    pub priority: u8,
}

/// Whether `metadata.generation` counts changes of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    Absent,
    CountsSpecChanges,
}

/// Fields that field selectors may name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FieldLabels {
    /// Only the object's name and namespace.
    MetadataOnly,
    /// These; `metadata.name` and, in namespaces, `metadata.namespace` are implied.
    Named(&'static [FieldLabel]),
}

/// One field that a selector may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldLabel {
    pub(crate) label: &'static str,
    /// The name it is stored under, where the label is an older one.
    pub(crate) canonical: &'static str,
    pub(crate) value: fn(&Value, &str) -> String,
}

/// Every kind, in the order of discovery.
pub static KINDS: [&Kind; 7] = [
    &config_map::KIND,
    &event::KIND,
    &namespace::KIND,
    &node::KIND,
    &pod::KIND,
    &secret::KIND,
    &service_account::KIND,
];

/// The kind served at this group, version and plural name.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.into_iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind of an object with this `apiVersion` and `kind`.
pub fn by_kind(api_version: &str, name: &str) -> Option<&'static Kind> {
    KINDS.into_iter().find(|kind| kind.kind == name && kind.api_version() == api_version)
}

/// The kinds that a name typed by a person means: plural, singular, kind or short name, in any case, with or without the group
/// (`deployments.apps`) or version and group (`deployments.v1.apps`); or a category. Empty when there is none.
pub fn by_any_name(typed: &str) -> Vec<&'static Kind> {
    let typed = typed.to_lowercase();
    let (name, rest) =
        typed.split_once('.').map_or((typed.as_str(), None), |(name, rest)| (name, Some(rest)));
    let in_group = |kind: &Kind| {
        rest.is_none_or(|rest| rest == kind.group || rest.split_once('.') == Some((kind.version, kind.group)))
    };
    let named = KINDS.into_iter().find(|kind| in_group(kind) && kind.is_called(name));
    match named {
        Some(kind) => vec![kind],
        None if rest.is_none() => KINDS.into_iter().filter(|kind| kind.categories.contains(&name)).collect(),
        None => Vec::new(),
    }
}

impl Kind {
    /// What most kinds share; rows name the rest.
    pub(crate) const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: true,
        schema: "",
        subresources: &[],
        verbs: &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        columns: &[Column::NAME, Column::AGE],
        name_rule: NameRule::Subdomain,
        generation: Generation::Absent,
        fields: FieldLabels::MetadataOnly,
        default: |_| {},
        prepare_create: |_, _| {},
        prepare_update: |_, _| {},
        prepare_status: |_, _| {},
        admit: |_, _| Ok(()),
        validate: |_, _| {},
        validate_update: |_, _, _| {},
        validate_status: |_, _, _| {},
        warnings: |_| Vec::new(),
        row: |object, now| vec![text(&object["metadata"], "name").into(), age_cell(object, now)],
    };

    /// For instance `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// For instance `pods` or `deployments.apps`.
    pub fn group_resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Its definition in the schema table.
    pub fn definition(&self) -> &'static Definition {
        schema::definition(self.schema).expect("a test checks that every kind's schema is in the table")
    }

    /// Whether it has the subresource, for instance `status`.
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.contains(&name)
    }

    /// The fields that field selectors may name.
    fn selectable_fields(&self) -> Vec<&'static str> {
        let mut labels = vec!["metadata.name"];
        match self.fields {
            FieldLabels::MetadataOnly => labels.push("metadata.namespace"),
            FieldLabels::Named(named) => {
                labels.extend(self.namespaced.then_some("metadata.namespace"));
                labels.extend(
                    named.iter().filter(|field| field.label == field.canonical).map(|field| field.label),
                );
            }
        }
        labels
    }

    /// The canonical name of a selectable field.
    pub(crate) fn selectable(&self, label: &str) -> Option<&'static str> {
        let named = match self.fields {
            FieldLabels::MetadataOnly => None,
            FieldLabels::Named(named) => named.iter().find(|field| field.label == label),
        };
        let canonical = named.map(|field| field.canonical);
        canonical.or_else(|| self.selectable_fields().into_iter().find(|known| *known == label))
    }

    /// The message about a field that is not selectable.
    pub(crate) fn unsupported_field(&self, label: &str) -> String {
        match self.fields {
            FieldLabels::MetadataOnly => {
                format!(
                    "\"{label}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            }
            FieldLabels::Named(_) => format!("field label not supported: {label}"),
        }
    }

    /// The text that a selector on `label` compares with.
    pub(crate) fn field_value(&self, object: &Value, label: &str) -> String {
        let named = match self.fields {
            FieldLabels::MetadataOnly => None,
            FieldLabels::Named(named) => named.iter().find(|field| field.label == label),
        };
        named.map_or_else(|| plain_value(object, label), |field| (field.value)(object, label))
    }

    fn is_called(&self, name: &str) -> bool {
        self.plural == name
            || self.singular == name
            || self.short_names.contains(&name)
            || self.kind.eq_ignore_ascii_case(name)
    }
}

impl Column {
    pub(crate) const NAME: Self = Self {
        name: "Name",
        format: "name",
        description: "The object's name, unique among objects of its kind in its namespace.",
        priority: 0,
    };

    pub(crate) const AGE: Self = Self::shown("Age", "Time since the object was created.");

    pub(crate) const fn shown(name: &'static str, description: &'static str) -> Self {
        Self { name, format: "", description, priority: 0 }
    }

    pub(crate) const fn wide(name: &'static str, description: &'static str) -> Self {
        Self { name, format: "", description, priority: 1 }
    }
}

impl FieldLabel {
    /// A field selected by its path.
    pub(crate) const fn path(label: &'static str) -> Self {
        Self { label, canonical: label, value: plain_value }
    }

    /// A boolean selected by its path; absent means false.
    pub(crate) const fn flag(label: &'static str) -> Self {
        Self { label, canonical: label, value: |object, path| (at_path(object, path) == true).to_string() }
    }
}

/// The age of `object`, for a cell.
pub(crate) fn age_cell(object: &Value, now: Timestamp) -> Value {
    crate::time::age(&object["metadata"]["creationTimestamp"], now).into()
}

/// Adds an error for each problem of a name or key.
pub(crate) fn report(
    problems: Vec<std::borrow::Cow<'static, str>>,
    field: &crate::field::Path,
    value: &str,
    errors: &mut Vec<FieldError>,
) {
    errors.extend(problems.into_iter().map(|problem| FieldError::invalid(field, value, &problem)));
}

fn at_path<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, part| &value[part])
}

fn plain_value(object: &Value, path: &str) -> String {
    match at_path(object, path) {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &[&str]) {
        let found: Vec<_> = by_any_name(typed).into_iter().map(|kind| kind.kind).collect();
        assert_eq!(found, expected, "{typed}");
    }

    #[test]
    fn kinds_are_found_by_any_name() {
        for typed in ["pod", "pods", "po", "Pod", "pods.v1."] {
            check(typed, &["Pod"]);
        }
        check("no", &["Node"]);
        check("sa", &["ServiceAccount"]);
        check("cm", &["ConfigMap"]);
        check("all", &["Pod"]);
        check("pods.apps", &[]);
        check("foo", &[]);
    }

    #[test]
    fn rows_are_complete() {
        for kind in KINDS {
            assert_eq!(kind.definition().short_name(), kind.kind);
            assert_eq!(by_kind(&kind.api_version(), kind.kind).unwrap().plural, kind.plural);
            assert_eq!(by_resource(kind.group, kind.version, kind.plural).unwrap().kind, kind.kind);
            let cells = (kind.row)(&serde_json::json!({"metadata": {"name": "x"}}), Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), kind.columns.len(), "{}", kind.kind);
        }
    }
}

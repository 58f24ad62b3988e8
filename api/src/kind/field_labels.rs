//! Fields that field selectors may name.

use serde_json::Value;

use super::Kind;

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

impl Kind {
    /// The canonical name of a selectable field.
    pub(crate) fn selectable(&self, label: &str) -> Option<&'static str> {
        let canonical = self.named_field(label).map(|field| field.canonical);
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
        self.named_field(label)
            .map_or_else(|| plain_value(object, label), |field| (field.value)(object, label))
    }

    fn named_field(&self, label: &str) -> Option<&'static FieldLabel> {
        match self.fields {
            FieldLabels::MetadataOnly => None,
            FieldLabels::Named(named) => named.iter().find(|field| field.label == label),
        }
    }

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

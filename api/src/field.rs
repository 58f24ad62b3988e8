//! Field paths and field errors, as validation reports them.

use std::fmt;

use serde_json::{Value, json};

/// The path of a field in messages, for instance `spec.containers[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

/// One broken rule.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    kind: ErrorKind,
    field: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
}

impl Path {
    /// A path of one name; `Path::new("")` is the object itself.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The field `name` of this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// Element `position` of this list.
    pub fn index(&self, position: usize) -> Self {
        Self(format!("{}[{position}]", self.0))
    }

    /// Entry `key` of this map.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Path {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&Self> for Path {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

impl FieldError {
    /// The field must be set; `detail` may be empty.
    pub fn required(field: impl Into<Path>, detail: &str) -> Self {
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        Self::new(ErrorKind::Required, field, format!("Required value{detail}"))
    }

    /// The value breaks a rule.
    pub fn invalid(field: impl Into<Path>, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, field, format!("Invalid value: {}: {detail}", value.into()))
    }

    /// The value breaks a rule; `value` is already JSON text in the order Kubernetes writes it.
    pub fn invalid_json(field: impl Into<Path>, value: &str, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, field, format!("Invalid value: {value}: {detail}"))
    }

    /// The value as a whole breaks a rule, and is not worth showing.
    pub fn invalid_as_a_whole(field: impl Into<Path>, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, field, format!("Invalid value: {detail}"))
    }

    /// The value is none of `supported`.
    pub fn not_supported(field: impl Into<Path>, value: impl Into<Value>, supported: &[&str]) -> Self {
        Self::not_supported_json(field, &value.into().to_string(), supported)
    }

    /// The value is none of `supported`; `value` is already JSON text in the order Kubernetes writes it.
    pub fn not_supported_json(field: impl Into<Path>, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("\"{value}\"")).collect();
        let text = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        Self::new(ErrorKind::NotSupported, field, text)
    }

    /// Another element has the same value.
    pub fn duplicate(field: impl Into<Path>, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, field, format!("Duplicate value: {}", value.into()))
    }

    /// Another element has the same value, which is already JSON text in the order Kubernetes writes it.
    pub fn duplicate_json(field: impl Into<Path>, value: &str) -> Self {
        Self::new(ErrorKind::Duplicate, field, format!("Duplicate value: {value}"))
    }

    /// The field may not be set so.
    pub fn forbidden(field: impl Into<Path>, detail: &str) -> Self {
        Self::new(ErrorKind::Forbidden, field, format!("Forbidden: {detail}"))
    }

    /// The value names something that is not there.
    pub fn not_found(field: impl Into<Path>, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::NotFound, field, format!("Not found: {}", value.into()))
    }

    /// The value is longer than `limit_bytes`.
    pub fn too_long(field: impl Into<Path>, limit_bytes: usize) -> Self {
        Self::new(ErrorKind::TooLong, field, format!("Too long: may not be more than {limit_bytes} bytes"))
    }

    /// The list has more than `limit` elements.
    pub fn too_many(field: impl Into<Path>, count: usize, limit: usize) -> Self {
        Self::new(ErrorKind::TooMany, field, format!("Too many: {count}: must have at most {limit} items"))
    }

    /// The path of the field.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The entry of `details.causes`.
    pub fn cause(&self) -> Value {
        let reason = match self.kind {
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
        };
        json!({"reason": reason, "message": self.text, "field": self.field})
    }

    fn new(kind: ErrorKind, field: impl Into<Path>, text: String) -> Self {
        Self { kind, field: field.into().0, text }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// All errors in one line: one by itself, several in brackets, equal ones once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// What `check` has to say.
#[cfg(test)]
pub(crate) fn messages(check: impl FnOnce(&mut Vec<FieldError>)) -> Vec<String> {
    let mut errors = Vec::new();
    check(&mut errors);
    errors.iter().map(ToString::to_string).collect()
}

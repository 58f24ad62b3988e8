//! One path with its operations, and what both versions of OpenAPI write of it alike.

use serde_json::{Map, Value, json};

use super::{
    naming,
    operation::{self, Operation},
    parameters::{self, Parameter},
    paths::Path,
};

/// One path with its operations.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) operations: Vec<Operation>,
    /// Parameters of all of them.
    pub(super) common: Vec<&'static Parameter>,
    pub(super) tag: String,
}

impl Item {
    pub(super) fn new(path: &Path) -> Self {
        let operations = operation::at(path);
        let in_all = |parameter: &&'static Parameter| {
            operations.iter().all(|operation| operation.query.contains(parameter))
        };
        let first = operations.first().map(|operation| operation.query.as_slice()).unwrap_or_default();
        let mut common: Vec<_> = first.iter().copied().filter(in_all).collect();
        common.extend(varying(&path.path).filter_map(parameters::in_path));
        common.sort_by_key(|parameter| parameter.name);
        Self { operations, common, tag: naming::tag(&path.path) }
    }

    /// Parameters of this operation only.
    pub(super) fn own<'a>(&'a self, operation: &'a Operation) -> impl Iterator<Item = &'static Parameter> {
        operation.query.iter().copied().filter(|parameter| !self.common.contains(parameter))
    }
}

/// The fields of an operation that both versions have.
pub(super) fn opened(operation: &Operation, tag: &str) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("tags".to_owned(), json!([tag]));
    value.insert("operationId".to_owned(), operation.id.as_str().into());
    value.insert("description".to_owned(), operation.description.as_str().into());
    if let Some(action) = operation.action {
        value.insert("x-kubernetes-action".to_owned(), action.into());
    }
    if let Some(own) = operation.kind {
        let own = json!({"group": own.group, "kind": own.kind, "version": own.version});
        value.insert("x-kubernetes-group-version-kind".to_owned(), own);
    }
    value
}

/// The answers of an operation, each with its body as `with_body` makes it of the code's name.
pub(super) fn responses(operation: &Operation, with_body: impl Fn(&str) -> Value) -> Value {
    let name = |code: u16| match code {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    };
    let mut responses: Map<String, Value> =
        operation.answers.iter().map(|code| (code.to_string(), with_body(name(*code)))).collect();
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    responses.into()
}

/// The names in braces.
fn varying(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

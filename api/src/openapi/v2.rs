//! Operations as version 2 writes them.

use serde_json::{Map, Value, json};

use super::{
    dialect::Dialect,
    item::{self, Item},
    operation::{Body, Content, Operation, Presence},
    parameters::{self, Parameter, ParameterPlace},
};

/// What a document of version 2 says of one path. Parameters of a query are written once, in the document's own table.
pub(super) fn item(item: &Item) -> Value {
    let mut value = Map::new();
    for operation in &item.operations {
        value.insert(operation.method.to_owned(), written(operation, item));
    }
    if !item.common.is_empty() {
        let common: Vec<Value> = item.common.iter().map(|parameter| reference_to(parameter)).collect();
        value.insert("parameters".to_owned(), common.into());
    }
    value.into()
}

/// The document's table of parameters.
pub(super) fn parameters() -> Vec<(String, Value)> {
    parameters::all().map(|parameter| (key(parameter), parameter_of(parameter))).collect()
}

fn written(operation: &Operation, item: &Item) -> Value {
    let mut value = item::opened(operation, &item.tag);
    let body = operation.body.as_ref().map(body_of);
    let own: Vec<Value> = body.into_iter().chain(item.own(operation).map(reference_to)).collect();
    if !own.is_empty() {
        value.insert("parameters".to_owned(), own.into());
    }
    if let Some(body) = &operation.body {
        value.insert("consumes".to_owned(), body.consumes.into());
    }
    value.insert("produces".to_owned(), operation.produces.into());
    value.insert("schemes".to_owned(), json!(["https"]));
    let responses = item::responses(
        operation,
        |description| json!({"description": description, "schema": schema(operation.answer)}),
    );
    value.insert("responses".to_owned(), responses);
    value.into()
}

fn body_of(body: &Body) -> Value {
    let mut value = json!({"name": "body", "in": "body", "schema": schema(body.content)});
    if body.presence == Presence::Required {
        value["required"] = true.into();
    }
    value
}

fn schema(content: Content) -> Value {
    match content {
        Content::Object(definition) => json!({"$ref": Dialect::V2.reference(definition)}),
        Content::Text => json!({"type": "string"}),
    }
}

fn reference_to(parameter: &Parameter) -> Value {
    json!({"$ref": format!("#/parameters/{}", key(parameter))})
}

/// A query and a path may have a parameter of one name.
fn key(parameter: &Parameter) -> String {
    match parameter.place {
        ParameterPlace::Path => format!("{}-in-path", parameter.name),
        ParameterPlace::Query => parameter.name.to_owned(),
    }
}

fn parameter_of(parameter: &Parameter) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "description": parameter.description,
        "type": parameter.ty,
        "uniqueItems": true,
    });
    if parameter.is_required() {
        value["required"] = true.into();
    }
    value
}

//! Operations as version 3 writes them.

use serde_json::{Map, Value, json};

use super::{
    dialect::Dialect,
    item::{self, Item},
    operation::{Content, Operation, Presence},
    parameters::Parameter,
};

/// What a document of version 3 says of one path.
pub(super) fn item(item: &Item) -> Value {
    let mut value = Map::new();
    for operation in &item.operations {
        value.insert(operation.method.to_owned(), written(operation, item));
    }
    if !item.common.is_empty() {
        let common: Vec<Value> = item.common.iter().map(|parameter| parameter_of(parameter)).collect();
        value.insert("parameters".to_owned(), common.into());
    }
    value.into()
}

fn written(operation: &Operation, item: &Item) -> Value {
    let mut value = item::opened(operation, &item.tag);
    let own: Vec<Value> = item.own(operation).map(parameter_of).collect();
    if !own.is_empty() {
        value.insert("parameters".to_owned(), own.into());
    }
    if let Some(body) = &operation.body {
        let mut request = json!({"content": content(body.content, body.consumes)});
        if body.presence == Presence::Required {
            request["required"] = true.into();
        }
        value.insert("requestBody".to_owned(), request);
    }
    let responses = item::responses(
        operation,
        |description| json!({"description": description, "content": content(operation.answer, operation.produces)}),
    );
    value.insert("responses".to_owned(), responses);
    value.into()
}

fn content(content: Content, media_types: &[&str]) -> Value {
    let schema = schema(content);
    let types = media_types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema})));
    Value::Object(types.collect())
}

fn schema(content: Content) -> Value {
    match content {
        Content::Object(definition) => json!({"$ref": Dialect::V3.reference(definition)}),
        Content::Text => json!({"type": "string"}),
    }
}

fn parameter_of(parameter: &Parameter) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "description": parameter.description,
        "schema": {"type": parameter.ty, "uniqueItems": true},
    });
    if parameter.is_required() {
        value["required"] = true.into();
    }
    value
}

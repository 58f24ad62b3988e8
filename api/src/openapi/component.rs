//! The schema of one definition, as a document holds it.

use serde_json::{Map, Value, json};

use super::{descriptions::Described, dialect::Dialect};
use crate::schema::{Definition, Encoding, Field, ListType, Shape, Type};

/// The schema of a definition, with its description if there is one.
pub(super) fn component(definition: &Definition, dialect: Dialect, described: Option<&Described>) -> Value {
    let mut schema = match definition.encoding {
        Encoding::Struct => structure(definition, dialect, described),
        encoding => scalar(encoding, definition.short_name(), dialect),
    };
    if let Some(description) = described.and_then(Described::of_all) {
        schema.insert("description".to_owned(), description.into());
    }
    let kinds: Vec<Value> = definition
        .group_version_kinds()
        .map(|own| json!({"group": own.group, "kind": own.kind, "version": own.version}))
        .collect();
    if !kinds.is_empty() {
        schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
    }
    if definition.atomic {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if let Some(unions) = definition.unions() {
        schema.insert("x-kubernetes-unions".to_owned(), unions);
    }
    schema.into()
}

/// The definitions that the fields of `definition` are of.
pub(super) fn references(definition: &'static Definition) -> impl Iterator<Item = &'static Definition> {
    definition.fields().iter().filter_map(|field| innermost(field.ty))
}

fn innermost(ty: Type) -> Option<&'static Definition> {
    match ty.shape() {
        Shape::List(inner) | Shape::Map(inner) => innermost(inner),
        Shape::Named(definition) => Some(definition),
        _ => None,
    }
}

fn structure(definition: &Definition, dialect: Dialect, described: Option<&Described>) -> Map<String, Value> {
    let mut schema = object(json!({"type": "object"}));
    let property = |field: &Field| {
        let description = described.and_then(|described| described.of_field(field.name));
        (field.name.to_owned(), property(field, dialect, description))
    };
    let properties: Map<String, Value> = definition.fields().iter().map(property).collect();
    let required: Vec<&str> =
        definition.fields().iter().filter(|field| field.required).map(|field| field.name).collect();
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), properties.into());
    }
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// Types with an encoding of their own.
fn scalar(encoding: Encoding, name: &str, dialect: Dialect) -> Map<String, Value> {
    object(match (encoding, dialect) {
        (Encoding::Time | Encoding::MicroTime, _) => json!({"type": "string", "format": "date-time"}),
        (Encoding::Quantity, Dialect::V2) => json!({"type": "string"}),
        (Encoding::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (Encoding::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        (Encoding::IntOrString, Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        // Whatever JSON there is; all other opaque types are objects.
        _ if name.starts_with("JSON") => json!({}),
        _ => json!({"type": "object"}),
    })
}

fn property(field: &Field, dialect: Dialect, description: Option<&str>) -> Value {
    let mut schema = typed(field.ty, dialect);
    let mut set = |key: &str, value: Value| {
        schema.insert(key.to_owned(), value);
    };
    if let Some(description) = description {
        set("description", description.into());
    }
    if dialect == Dialect::V3
        && let Some(default) = field.default()
    {
        set("default", default);
    }
    if let Some(list) = field.list {
        set("x-kubernetes-list-type", list_type(list).into());
    }
    let keys: Vec<&str> = field.map_keys().collect();
    if !keys.is_empty() {
        set("x-kubernetes-list-map-keys", keys.into());
    }
    if field.atomic_map || field.granular_map {
        let map_type = if field.atomic_map { "atomic" } else { "granular" };
        set("x-kubernetes-map-type", map_type.into());
    }
    if let Some(strategy) = field.patch_strategy() {
        set("x-kubernetes-patch-strategy", strategy.into());
    }
    if let Some(key) = field.patch_merge_key() {
        set("x-kubernetes-patch-merge-key", key.into());
    }
    let allowed: Vec<&str> = field.allowed().collect();
    if !allowed.is_empty() {
        let element = ["items", "additionalProperties"].into_iter().find(|key| schema.contains_key(*key));
        let holder = element.and_then(|key| schema.get_mut(key)?.as_object_mut());
        match holder {
            Some(element) => element.insert("enum".to_owned(), allowed.into()),
            None => schema.insert("enum".to_owned(), allowed.into()),
        };
    }
    wrapped(schema, dialect).into()
}

/// A type by itself.
fn typed(ty: Type, dialect: Dialect) -> Map<String, Value> {
    object(match ty.shape() {
        Shape::String => json!({"type": "string"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int32 => json!({"type": "integer", "format": "int32"}),
        Shape::Int64 => json!({"type": "integer", "format": "int64"}),
        Shape::Double => json!({"type": "number", "format": "double"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Any => json!({"type": "object"}),
        Shape::List(element) => json!({"type": "array", "items": element_of(element, dialect)}),
        Shape::Map(value) => json!({"type": "object", "additionalProperties": element_of(value, dialect)}),
        Shape::Named(definition) => json!({"$ref": dialect.reference(definition)}),
    })
}

/// An element of a list or map. Go has no unset ones, so each has its zero value as default.
fn element_of(ty: Type, dialect: Dialect) -> Value {
    let mut schema = typed(ty, dialect);
    let zero = match ty.shape() {
        Shape::String => json!(""),
        Shape::Bool => json!(false),
        Shape::Int32 | Shape::Int64 | Shape::Double => json!(0),
        Shape::Named(definition) if definition.encoding == Encoding::Struct => json!({}),
        _ => return schema.into(),
    };
    if dialect == Dialect::V3 {
        schema.insert("default".to_owned(), zero);
    }
    wrapped(schema, dialect).into()
}

/// In version 3 a reference has nothing beside it, so that it moves into an `allOf` of one.
fn wrapped(mut schema: Map<String, Value>, dialect: Dialect) -> Map<String, Value> {
    if dialect == Dialect::V3
        && schema.len() > 1
        && let Some(reference) = schema.remove("$ref")
    {
        schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
    schema
}

const fn list_type(list: ListType) -> &'static str {
    match list {
        ListType::Atomic => "atomic",
        ListType::Map => "map",
        ListType::Set => "set",
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::definition;

    fn check(name: &str, field: &str, dialect: Dialect, expected: Value) {
        let schema = component(definition(name).unwrap(), dialect, None);
        assert_eq!(schema["properties"][field], expected, "{name}.{field}");
    }

    #[test]
    fn references_with_company_are_wrapped_in_version_3() {
        let container = "io.k8s.api.core.v1.Container";
        let reference = "#/components/schemas/io.k8s.api.core.v1.ResourceRequirements";
        let resources = json!({"allOf": [{"$ref": reference}], "default": {}});
        check(container, "resources", Dialect::V3, resources);
        let lifecycle = json!({"$ref": "#/components/schemas/io.k8s.api.core.v1.Lifecycle"});
        check(container, "lifecycle", Dialect::V3, lifecycle);
        let resources = json!({"$ref": "#/definitions/io.k8s.api.core.v1.ResourceRequirements"});
        check(container, "resources", Dialect::V2, resources);
    }

    #[test]
    fn lists_carry_how_they_are_merged() {
        check(
            "io.k8s.api.core.v1.Container",
            "ports",
            Dialect::V3,
            json!({
                "type": "array",
                "items": {
                    "allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"}],
                    "default": {},
                },
                "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                "x-kubernetes-list-type": "map",
                "x-kubernetes-patch-merge-key": "containerPort",
                "x-kubernetes-patch-strategy": "merge",
            }),
        );
        check(
            "io.k8s.api.core.v1.PersistentVolumeSpec",
            "accessModes",
            Dialect::V2,
            json!({
                "type": "array",
                "items": {"type": "string", "enum": ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]},
                "x-kubernetes-list-type": "atomic",
            }),
        );
    }

    #[test]
    fn encodings_have_a_schema_in_either_version() {
        let quantity = definition("io.k8s.apimachinery.pkg.api.resource.Quantity").unwrap();
        assert_eq!(component(quantity, Dialect::V2, None), json!({"type": "string"}));
        let either = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
        assert_eq!(component(quantity, Dialect::V3, None), either);
        let pod = component(definition("io.k8s.api.core.v1.Pod").unwrap(), Dialect::V3, None);
        let own = json!([{"group": "", "kind": "Pod", "version": "v1"}]);
        assert_eq!(pod["x-kubernetes-group-version-kind"], own);
    }
}

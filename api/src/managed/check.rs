//! Whether an applied configuration fits the schema: what no field is declared for is refused, in Kubernetes' words, before anything
//! is merged.

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

use super::{element::Element, node_type::NodeType};
use crate::schema::{Definition, Encoding, Field, Shape, Type};

/// What of a configuration does not fit, in the order of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypeErrors(Vec<TypeError>);

/// One value that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TypeError {
    path: String,
    message: String,
}

/// Checks `value` against `definition`. Null fits everywhere.
pub(super) fn check(definition: &'static Definition, value: &Value) -> Result<(), TypeErrors> {
    let mut walk = Walk { path: String::new(), errors: Vec::new() };
    walk.definition(definition, value);
    if walk.errors.is_empty() { Ok(()) } else { Err(TypeErrors(walk.errors)) }
}

impl fmt::Display for TypeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [error] => write!(f, "{error}"),
            errors => {
                f.write_str("errors:")?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

struct Walk {
    path: String,
    errors: Vec<TypeError>,
}

impl Walk {
    fn definition(&mut self, definition: &'static Definition, value: &Value) {
        if definition.encoding != Encoding::Struct {
            return self.scalar(definition.encoding, value);
        }
        let Some(entries) = self.map(value) else { return };
        for (name, value) in entries {
            let Some(field) = definition.field(name) else {
                // The first that is not declared ends the walk over this struct.
                return self
                    .at(&format!(".{name}"), |walk| walk.refuse("field not declared in schema".to_owned()));
            };
            self.at(&format!(".{name}"), |walk| walk.field(field, value));
        }
    }

    fn field(&mut self, field: &'static Field, value: &Value) {
        match field.ty.shape() {
            Shape::List(element) => self.list(NodeType::of_field(field), element, value),
            _ => self.ty(field.ty, value),
        }
    }

    fn ty(&mut self, ty: Type, value: &Value) {
        match ty.shape() {
            Shape::Named(definition) => self.definition(definition, value),
            Shape::Map(entry) => {
                for (name, value) in self.map(value).into_iter().flatten() {
                    self.at(&format!(".{name}"), |walk| walk.ty(entry, value));
                }
            }
            Shape::List(element) => self.list(NodeType::Leaf, element, value),
            Shape::String | Shape::Bytes if !value.is_string() => self.refuse_scalar(Scalar::String, value),
            Shape::Bool if !value.is_boolean() => self.refuse_scalar(Scalar::Bool, value),
            Shape::Int32 | Shape::Int64 | Shape::Double if !value.is_number() => {
                self.refuse_scalar(Scalar::Number, value);
            }
            _ => {}
        }
    }

    /// A definition with an encoding of its own.
    fn scalar(&mut self, encoding: Encoding, value: &Value) {
        if matches!(encoding, Encoding::Time | Encoding::MicroTime) && !value.is_string() {
            self.refuse_scalar(Scalar::String, value);
        }
    }

    fn list(&mut self, ty: NodeType, element: Type, value: &Value) {
        let elements = match value {
            Value::Null => return,
            Value::Array(elements) => elements,
            other => {
                return self.refuse(format!("expected list, got &{{{}}}", crate::patch::go_value(other)));
            }
        };
        let mut seen = BTreeSet::new();
        for (position, value) in elements.iter().enumerate() {
            let step = match ty {
                NodeType::Set | NodeType::Keyed(_) => match ty.element_of(value) {
                    Ok(step) => step,
                    // What is deeper has no path.
                    Err(error) => return self.refuse(format!("element {position}: {error}")),
                },
                _ => Element::Index(position.try_into().unwrap_or(u64::MAX)),
            };
            let shown = step.to_string();
            if !seen.insert(step) {
                self.refuse(format!("duplicate entries for key {shown}"));
            }
            self.at(&shown, |walk| walk.ty(element, value));
        }
    }

    /// The entries of a map or struct; none of null, nor of what is refused.
    fn map<'v>(&mut self, value: &'v Value) -> Option<&'v Map<String, Value>> {
        if !value.is_object() && !value.is_null() {
            self.refuse(format!("expected map, got &{{{}}}", crate::patch::go_value(value)));
        }
        value.as_object()
    }

    fn refuse_scalar(&mut self, wanted: Scalar, value: &Value) {
        if value.is_null() {
            return;
        }
        self.refuse(match wanted {
            Scalar::String => {
                format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value))
            }
            Scalar::Number => "expected numeric (int or float), got *value.valueUnstructured".to_owned(),
            Scalar::Bool => format!("expected boolean, got &{{{}}}", crate::patch::go_value(value)),
        });
    }

    /// Runs `check` one step further down.
    fn at(&mut self, step: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    fn refuse(&mut self, mut message: String) {
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        let mut path = self.path.clone();
        for text in [&mut path, &mut message] {
            text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        }
        self.errors.push(TypeError { path, message });
    }
}

enum Scalar {
    String,
    Number,
    Bool,
}

/// A value as Go's `%#v` shows it.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", elements.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value)));
            format!("map[string]interface {{}}{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// More problems than anyone reads at once.
const ERRORS_MAX: usize = 100;

/// Enough of a path or a value to recognise it by, and no way to make answers large.
const SHOWN_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn refused(value: Value, expected: &str) {
        let pod = schema::definition("io.k8s.api.core.v1.Pod").unwrap();
        assert_eq!(check(pod, &value).map_err(|errors| errors.to_string()), Err(expected.to_owned()));
    }

    #[test]
    fn what_does_not_fit_is_named_as_kubernetes_names_it() {
        refused(json!({"foo": 1}), ".foo: field not declared in schema");
        refused(json!({"spec": {"hostNetwork": "x"}}), ".spec.hostNetwork: expected boolean, got &{x}");
        refused(
            json!({"metadata": {"labels": {"a": 1}, "name": {"b": [true]}}}),
            "errors:\n  .metadata.labels.a: expected string, got &value.valueUnstructured{Value:1}\n  .metadata.name: \
             expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"b\":[]interface {}{true}}}",
        );
        refused(
            json!({"spec": {"activeDeadlineSeconds": "5"}}),
            ".spec.activeDeadlineSeconds: expected numeric (int or float), got *value.valueUnstructured",
        );
        refused(json!({"spec": []}), ".spec: expected map, got &{[]}");
        refused(
            json!({"spec": {"containers": {"name": "a"}}}),
            ".spec.containers: expected list, got &{map[name:a]}",
        );
        refused(
            json!({"spec": {"containers": [null]}}),
            ".spec.containers: element 0: associative list with keys may not have a null element",
        );
        refused(
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1, "x": 1}]}]}}),
            ".spec.containers[name=\"a\"].ports[containerPort=1,protocol=\"TCP\"].x: field not declared in schema",
        );
        refused(
            json!({"spec": {"tolerations": [{"foo": 1}]}}),
            ".spec.tolerations[0].foo: field not declared in schema",
        );
        refused(
            json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        );
    }

    #[test]
    fn quantities_times_and_nulls_fit() {
        let pod = schema::definition("io.k8s.api.core.v1.Pod").unwrap();
        let fitting = json!({
            "metadata": {"creationTimestamp": null, "labels": null},
            "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}], "volumes": null},
        });
        assert_eq!(check(pod, &fitting), Ok(()));
    }
}

//! The object that a kind's objects are before anything is set: what Kubernetes encodes without being told anything.

use serde_json::{Map, Value};

use crate::schema::{Definition, Field, Shape};

/// An object of this definition with nothing set: structs that are always there, and fields that are encoded also when they are zero.
pub(super) fn zero(definition: &'static Definition) -> Value {
    let entries =
        definition.fields().iter().filter_map(|field| Some((field.name.to_owned(), zero_of(field)?)));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// What a field is before it is set; `None` when it is left out.
fn zero_of(field: &'static Field) -> Option<Value> {
    let Some(default) = field.default() else { return field.when_unset() };
    match (default, field.ty.shape()) {
        (Value::Object(_), Shape::Named(definition)) => Some(zero(definition)),
        // Times that are no pointers.
        (Value::Null, _) => Some(Value::Null),
        // Other defaults are filled in later, unless they say how the field looks when it is zero.
        (default, _) => field.required.then_some(default),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn check(name: &str, expected: Value) {
        assert_eq!(zero(schema::definition(name).unwrap()), expected);
    }

    #[test]
    fn structs_are_there_before_they_are_set() {
        check("io.k8s.api.core.v1.ConfigMap", json!({"metadata": {}}));
        check("io.k8s.api.core.v1.Pod", json!({"metadata": {}, "spec": {"containers": null}, "status": {}}));
        check(
            "io.k8s.api.apps.v1.Deployment",
            json!({
                "metadata": {},
                "spec": {"selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}},
                "status": {},
            }),
        );
    }
}

//! RuntimeClass.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, age_cell,
        core::pod::check_tolerations,
        report,
        rules::{check_amount, check_container_resource_name, check_same},
    },
    names,
    value::{entries, has, list, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    namespaced: false,
    schema: "io.k8s.api.node.v1.RuntimeClass",
    columns: &[Column::NAME, Column::shown("Handler", "What runs its pods."), Column::AGE],
    inert: Some("Linux containers of its pods wait, for no node acts on it yet"),
    validate,
    validate_update: |new, old, errors| check_same(&new["handler"], &old["handler"], "handler", errors),
    row: |object, now| {
        vec![text(&object["metadata"], "name").into(), text(object, "handler").into(), age_cell(object, now)]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let handler = text(object, "handler");
    report(names::dns_label(handler), &Path::new("handler"), handler, errors);
    let field = Path::new("overhead.podFixed");
    for (resource, amount) in entries(&object["overhead"], "podFixed") {
        check_container_resource_name(resource, &field.key(resource), errors);
        check_amount(resource, amount, &field.key(resource), errors);
    }
    if has(object, "scheduling") {
        let (scheduling, field) = (&object["scheduling"], Path::new("scheduling"));
        crate::meta::validate_labels(scheduling, "nodeSelector", &field, errors);
        let tolerations = list(scheduling, "tolerations");
        check_tolerations(tolerations, &field.child("tolerations"), errors);
        for (position, toleration) in tolerations.iter().enumerate() {
            if tolerations[..position].contains(toleration) {
                let field = field.child("tolerations").index(position);
                errors.push(FieldError::duplicate(field, toleration.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_name_a_handler() {
        let check = |object: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            validate(&object, &mut errors);
            let fields: Vec<_> = errors.iter().map(FieldError::field).collect();
            assert_eq!(fields, expected);
        };
        check(json!({"handler": "h", "overhead": {"podFixed": {"cpu": "1"}}}), &[]);
        check(
            json!({"handler": "H", "overhead": {"podFixed": {"foo": "-1"}},
                "scheduling": {"tolerations": [{"key": "a"}, {"key": "a"}]}}),
            &[
                "handler",
                "overhead.podFixed[foo]",
                "overhead.podFixed[foo]",
                "overhead.podFixed[foo]",
                "scheduling.tolerations[1]",
            ],
        );
    }
}

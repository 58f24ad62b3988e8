//! StorageClass.

use jiff::Timestamp;
use serde_json::Value;

use super::{INERT, check_not_updated, check_parameters, check_provisioner};
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, Removed, age_cell, report,
        rules::{check_choice, check_same},
    },
    names,
    value::{default, is_true, list, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    namespaced: false,
    schema: "io.k8s.api.storage.v1.StorageClass",
    removed: Removed::LastState,
    columns: &[
        Column::NAME,
        Column::shown("Provisioner", "Who makes its volumes."),
        Column::shown("ReclaimPolicy", "What becomes of a volume when its claim is gone."),
        Column::shown("VolumeBindingMode", "When volumes are made."),
        Column::shown("AllowVolumeExpansion", "Whether volumes can grow."),
        Column::AGE,
    ],
    inert: INERT,
    default: |object| {
        default(object, "reclaimPolicy", "Delete");
        default(object, "volumeBindingMode", "Immediate");
    },
    validate,
    validate_update: |new, old, errors| {
        for key in ["parameters", "provisioner", "reclaimPolicy"] {
            check_not_updated(new, old, key, errors);
        }
        check_same(&new["volumeBindingMode"], &old["volumeBindingMode"], "volumeBindingMode", errors);
    },
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    check_provisioner(text(object, "provisioner"), &Path::new("provisioner"), errors);
    check_parameters(object, &Path::new("parameters"), errors);
    check_choice(object, "reclaimPolicy", &Path::new(""), &["Delete", "Retain"], errors);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    check_choice(object, "volumeBindingMode", &Path::new(""), &modes, errors);
    let terms = list(object, "allowedTopologies");
    for (position, term) in terms.iter().enumerate() {
        let field = Path::new("allowedTopologies").index(position);
        let expressions = list(term, "matchLabelExpressions");
        for (at, expression) in expressions.iter().enumerate() {
            let field = field.child("matchLabelExpressions").index(at);
            let key = text(expression, "key");
            report(names::qualified_name(key), &field.child("key"), key, errors);
            if list(expression, "values").is_empty() {
                errors.push(FieldError::required(field.child("values"), ""));
            }
            if expressions[..at].iter().any(|other| other["key"] == expression["key"]) {
                errors.push(FieldError::duplicate(field.child("key"), key));
            }
        }
        if terms[..position].contains(term) {
            errors.push(FieldError::duplicate(field.child("matchLabelExpressions"), ""));
        }
    }
}

/// The name, and whether claims without a class get this one.
pub(super) fn name_cell(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let is_default = DEFAULT_ANNOTATIONS.iter().any(|key| metadata["annotations"][*key] == "true");
    let name = text(metadata, "name");
    if is_default { format!("{name} (default)").into() } else { name.into() }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name_cell(object),
        text(object, "provisioner").into(),
        text(object, "reclaimPolicy").into(),
        text(object, "volumeBindingMode").into(),
        is_true(object, "allowVolumeExpansion").into(),
        age_cell(object, now),
    ]
}

const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut object: Value, expected: &[&str]) {
        (KIND.default)(&mut object);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn classes_name_their_provisioner() {
        check(json!({"provisioner": "A.b/c"}), &[]);
        check(
            json!({"provisioner": "a.b/c", "reclaimPolicy": "X", "volumeBindingMode": "Y"}),
            &[
                "reclaimPolicy: Unsupported value: \"X\": supported values: \"Delete\", \"Retain\"",
                "volumeBindingMode: Unsupported value: \"Y\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
            ],
        );
        let topology = json!([{"matchLabelExpressions": [{"key": "z", "values": ["a"]}, {"key": "z"}]}]);
        check(
            json!({"provisioner": "a.b/c", "allowedTopologies": topology}),
            &[
                "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
                "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"z\"",
            ],
        );
    }

    #[test]
    fn classes_stay() {
        let old = json!({"provisioner": "a.b/c", "parameters": {"a": "b"}});
        let mut errors = Vec::new();
        (KIND.validate_update)(&json!({"provisioner": "a.b/c"}), &old, &mut errors);
        assert_eq!(errors[0].to_string(), "parameters: Forbidden: updates to parameters are forbidden.");
    }

    #[test]
    fn the_default_says_so() {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        let object = json!({"metadata": {"name": "s", "annotations": annotations}});
        assert_eq!(name_cell(&object), "s (default)");
    }
}

//! CSIStorageCapacity: how much room there is for volumes of a class.

use serde_json::Value;

use super::INERT;
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, label_selector,
        rules::{check_amount, check_same, check_subdomain},
    },
    value::{has, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    schema: "io.k8s.api.storage.v1.CSIStorageCapacity",
    columns: &[Column::NAME, Column::date("Created At", "When it was created.")],
    inert: INERT,
    validate,
    validate_update: |new, old, errors| {
        for key in ["nodeTopology", "storageClassName"] {
            check_same(&new[key], &old[key], key, errors);
        }
    },
    row: |object, _| {
        let metadata = &object["metadata"];
        vec![text(metadata, "name").into(), metadata["creationTimestamp"].clone()]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    check_subdomain(text(object, "storageClassName"), &Path::new("storageClassName"), errors);
    if has(object, "nodeTopology") {
        label_selector::check(&object["nodeTopology"], &Path::new("nodeTopology"), errors);
    }
    for key in ["capacity", "maximumVolumeSize"] {
        check_amount("storage", &object[key], &Path::new(key), errors);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn capacities_are_of_a_class() {
        let mut errors = Vec::new();
        validate(&json!({"storageClassName": "s", "capacity": "1Gi"}), &mut errors);
        assert_eq!(errors, []);
        validate(&json!({"storageClassName": "", "capacity": "-1"}), &mut errors);
        let fields: Vec<_> = errors.iter().map(FieldError::field).collect();
        assert_eq!(fields, ["storageClassName", "capacity"]);
    }
}

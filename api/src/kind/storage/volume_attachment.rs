//! VolumeAttachment.

use serde_json::{Value, json};

use super::{INERT, check_driver_name};
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, Removed, Subresource, age_cell,
        rules::{check_same, check_subdomain},
    },
    value::{has, is_true, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    namespaced: false,
    schema: "io.k8s.api.storage.v1.VolumeAttachment",
    removed: Removed::LastState,
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column { format: "name", ..Column::shown("Attacher", "Who attaches it.") },
        Column::shown("PV", "What is attached."),
        Column::shown("Node", "Where to."),
        Column::boolean("Attached", "Whether it is attached."),
        Column::AGE,
    ],
    inert: INERT,
    prepare_create: |object, _| set(object, "status", json!({"attached": false})),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate,
    validate_update: |new, old, errors| check_same(&new["spec"], &old["spec"], "spec", errors),
    row: |object, now| {
        let spec = &object["spec"];
        vec![
            text(&object["metadata"], "name").into(),
            text(spec, "attacher").into(),
            text(&spec["source"], "persistentVolumeName").into(),
            text(spec, "nodeName").into(),
            is_true(&object["status"], "attached").into(),
            age_cell(object, now),
        ]
    },
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    check_driver_name(text(spec, "attacher"), &field.child("attacher"), errors);
    let source = &spec["source"];
    let name = field.child("source").child("persistentVolumeName");
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (has(source, "inlineVolumeSpec"), source["persistentVolumeName"].as_str()) {
        (false, None) => errors.push(FieldError::required(field.child("source"), detail)),
        (true, Some(_)) => errors.push(FieldError::forbidden(field.child("source"), detail)),
        (false, Some("")) => {
            errors.push(FieldError::required(name, "must specify non empty persistentVolumeName"));
        }
        (false, Some(_)) => {}
        (true, None) => check_inline(&source["inlineVolumeSpec"], &field.child("source"), errors),
    }
    check_subdomain(text(spec, "nodeName"), &field.child("nodeName"), errors);
}

/// What is attached without a PersistentVolume is a volume of a CSI driver and nobody's claim.
fn check_inline(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let field = field.child("inlineVolumeSpec");
    for key in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
        if has(spec, key) {
            let detail = "may not be specified in the context of inline volumes";
            errors.push(FieldError::forbidden(field.child(key), detail));
        }
    }
    if !has(spec, "csi") {
        let detail = "has to be specified in the context of inline volumes";
        errors.push(FieldError::required(field.child("csi"), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_have_one_source() {
        let check = |source: Value, expected: &[&str]| {
            let object = json!({"spec": {"attacher": "d.example", "nodeName": "n", "source": source}});
            let mut errors = Vec::new();
            validate(&object, &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(json!({"persistentVolumeName": "p"}), &[]);
        check(
            json!({}),
            &[
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ],
        );
        check(
            json!({"inlineVolumeSpec": {"capacity": {"storage": "1"}}}),
            &[
                "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
                "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
            ],
        );
    }
}

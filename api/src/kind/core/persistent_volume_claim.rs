//! PersistentVolumeClaim.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::persistent_volume::{
    access_modes_cell, check_access_modes, check_class, check_volume_mode, class_cell, or_unset, phase_cell,
    protect,
};
use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, Removed, Subresource, age_cell, label_selector, report,
        rules::{check_positive, check_required, check_subdomain, quantity},
    },
    names,
    value::{default, has, list, object_mut, put, remove, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    schema: "io.k8s.api.core.v1.PersistentVolumeClaim",
    removed: Removed::LastState,
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Status", "Whether it has a volume."),
        Column::shown("Volume", "The volume that it has."),
        Column::shown("Capacity", "How much the volume holds."),
        Column::shown("Access Modes", "Who can use it at once, and how."),
        Column::shown("StorageClass", "The class that it asks for."),
        Column::shown("VolumeAttributesClass", "The class of attributes that it asks for."),
        Column::AGE,
        Column::wide("VolumeMode", "Whether it is a file system or a device."),
    ],
    inert: Some("no node mounts its volume yet"),
    default: |object| {
        default(object_mut(object, "spec"), "volumeMode", "Filesystem");
    },
    prepare_create: |object, _| {
        set(object, "status", json!({"phase": "Pending"}));
        agree_on_source(&mut object["spec"]);
        protect(object, "kubernetes.io/pvc-protection");
    },
    prepare_update: |new, old| {
        put(new, "status", old["status"].clone());
        agree_on_source(&mut new["spec"]);
    },
    validate: |object, errors| validate_spec(&object["spec"], &Path::new("spec"), errors),
    validate_update,
    row,
    ..Kind::BASE
};

/// `dataSource` is the older form of `dataSourceRef`; a client that sets one of them sets both.
fn agree_on_source(spec: &mut Value) {
    if has(spec, "dataSource") && !has(spec, "dataSourceRef") {
        let source = spec["dataSource"].clone();
        set(spec, "dataSourceRef", source);
    } else if has(spec, "dataSourceRef")
        && !has(spec, "dataSource")
        && text(&spec["dataSourceRef"], "namespace").is_empty()
    {
        let source = spec["dataSourceRef"].clone();
        set(spec, "dataSource", source);
        remove(&mut spec["dataSource"], "namespace");
    }
}

/// Rules for what a claim, or a template of claims, asks for.
pub(in crate::kind) fn validate_spec(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if list(spec, "accessModes").is_empty() {
        let detail = "at least 1 access mode is required";
        errors.push(FieldError::required(field.child("accessModes"), detail));
    }
    if has(spec, "selector") {
        label_selector::check(&spec["selector"], &field.child("selector"), errors);
    }
    check_access_modes(spec, field, errors);
    let (storage, size) =
        (field.child("resources").key("storage"), &spec["resources"]["requests"]["storage"]);
    if size.is_null() {
        errors.push(FieldError::required(storage, ""));
    } else {
        check_positive(size, &storage, errors);
    }
    check_class(spec, "storageClassName", field, errors);
    check_volume_mode(spec, field, errors);
    for key in ["dataSource", "dataSourceRef"] {
        if has(spec, key) {
            check_source(&spec[key], &field.child(key), errors);
        }
    }
    if has(spec, "dataSource") && has(spec, "dataSourceRef") {
        let same = ["apiGroup", "kind", "name"]
            .iter()
            .all(|key| spec["dataSource"][*key] == spec["dataSourceRef"][*key]);
        let detail = if !text(&spec["dataSourceRef"], "namespace").is_empty() {
            "may not be specified when dataSourceRef.namespace is specified"
        } else if same {
            ""
        } else {
            "must match dataSourceRef"
        };
        if !detail.is_empty() {
            // Kubernetes shows the path where it means the value, as an object without fields.
            errors.push(FieldError::invalid(field, json!({}), detail));
        }
    }
    check_class(spec, "volumeAttributesClassName", field, errors);
}

fn check_source(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_required(source, "name", field, errors);
    check_required(source, "kind", field, errors);
    let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(field, kind, detail));
    } else if !group.is_empty() {
        check_subdomain(group, &field.child("apiGroup"), errors);
    }
    let namespace = text(source, "namespace");
    if !namespace.is_empty() {
        report(names::dns_label(namespace), &field.child("namespace"), namespace, errors);
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (spec, old_spec) = (&new["spec"], &old["spec"]);
    let is_bound = text(&old["status"], "phase") == "Bound";
    let mut rest = spec.clone();
    if text(old_spec, "volumeName").is_empty() {
        put(&mut rest, "volumeName", old_spec["volumeName"].clone());
    }
    if is_bound {
        let requests = old_spec["resources"]["requests"].clone();
        put(object_mut(&mut rest, "resources"), "requests", requests);
    }
    put(&mut rest, "volumeAttributesClassName", old_spec["volumeAttributesClassName"].clone());
    if rest != *old_spec {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", detail));
    }
    let size = |spec: &Value| quantity(&spec["resources"]["requests"]["storage"]);
    if let (Some(new_size), Some(old_size)) = (size(spec), size(old_spec))
        && new_size < old_size
        && quantity(&old["status"]["capacity"]["storage"]).is_none_or(|capacity| new_size <= capacity)
    {
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", detail));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let volume = text(spec, "volumeName");
    let of_volume = |cell: String| if volume.is_empty() { String::new() } else { cell };
    vec![
        text(&object["metadata"], "name").into(),
        phase_cell(object).into(),
        volume.into(),
        of_volume(text(&status["capacity"], "storage").to_owned()).into(),
        of_volume(access_modes_cell(status)).into(),
        class_cell(object).into(),
        or_unset(text(spec, "volumeAttributesClassName")).into(),
        age_cell(object, now),
        or_unset(text(spec, "volumeMode")).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Value {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    }

    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut claim = claim();
        change(&mut claim["spec"]);
        let mut errors = Vec::new();
        (KIND.validate)(&claim, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn claims_ask_for_something() {
        check(|_| {}, &[]);
        check(
            |spec| *spec = json!({}),
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        );
        check(
            |spec| set(spec, "dataSource", json!({"kind": "Foo", "name": "x"})),
            &[
                "spec.dataSource: Invalid value: \"Foo\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ],
        );
    }

    #[test]
    fn little_of_a_claim_may_change() {
        let check = |phase: &str, size: &str, expected: &[&str]| {
            let mut old = claim();
            old["status"] = json!({"phase": phase, "capacity": {"storage": "1Gi"}});
            let mut new = old.clone();
            new["spec"]["resources"]["requests"]["storage"] = size.into();
            let mut errors = Vec::new();
            validate_update(&new, &old, &mut errors);
            let fields: Vec<_> = errors.iter().map(FieldError::field).collect();
            assert_eq!(fields, expected, "{phase} {size}");
        };
        check("Bound", "2Gi", &[]);
        check("Pending", "2Gi", &["spec"]);
        check("Bound", "512Mi", &["spec.resources.requests.storage"]);
    }
}

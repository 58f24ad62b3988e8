//! Rules for PersistentVolumes, and those they share with claims.

use serde_json::Value;

use super::sources;
use crate::{
    field::{FieldError, Path},
    kind::{
        core::pod::check_node_terms,
        rules::{check_optional_choice, check_positive, check_same, check_subdomain},
    },
    value::{entries, has, list, remove, text},
};

pub(super) fn object(volume: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&volume["spec"], Path::new("spec"));
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(field.child("accessModes"), ""));
    }
    check_access_modes(spec, &field, errors);
    check_capacity(spec, &field.child("capacity"), errors);
    let policies = ["Delete", "Recycle", "Retain"];
    check_optional_choice(spec, "persistentVolumeReclaimPolicy", &field, &policies, errors);
    if has(spec, "nodeAffinity") {
        let field = field.child("nodeAffinity").child("required");
        if has(&spec["nodeAffinity"], "required") {
            check_node_terms(&spec["nodeAffinity"]["required"], &field, errors);
        } else {
            errors.push(FieldError::required(field, "must specify required node constraints"));
        }
    }
    sources::check(spec, &field, errors);
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        check_subdomain(class, &field.child("storageClassName"), errors);
    }
    check_volume_mode(spec, &field, errors);
    if let Some(class) = spec["volumeAttributesClassName"].as_str() {
        let attributes = field.child("volumeAttributesClassName");
        if class.is_empty() {
            errors.push(FieldError::required(attributes, "an empty string is disallowed"));
        } else {
            check_subdomain(class, &attributes, errors);
        }
        if !has(spec, "csi") {
            let detail = "has to be specified when using volumeAttributesClassName";
            errors.push(FieldError::required(field.child("csi"), detail));
        }
    }
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let (mut source, old_source) = (sources::source(new), sources::source(old));
    // A secret for growing the volume may come later.
    if has(&old["csi"], "driver")
        && !has(&old["csi"], "controllerExpandSecretRef")
        && let Some(csi) = source.get_mut("csi")
    {
        remove(csi, "controllerExpandSecretRef");
    }
    if source != old_source {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
    }
    check_same(&new["volumeMode"], &old["volumeMode"], "volumeMode", errors);
    if has(old, "nodeAffinity") && new["nodeAffinity"] != old["nodeAffinity"] {
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.push(FieldError::invalid("nodeAffinity", new["nodeAffinity"].clone(), detail));
    }
    if has(old, "volumeAttributesClassName") && !has(new, "volumeAttributesClassName") {
        let detail = "update from non-nil value to nil is forbidden";
        errors.push(FieldError::forbidden("spec.volumeAttributesClassName", detail));
    }
}

/// Access modes must be known; the one for a single pod goes with no other.
pub(in crate::kind::core) fn check_access_modes(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let field = field.child("accessModes");
    let modes: Vec<&str> = list(spec, "accessModes").iter().filter_map(Value::as_str).collect();
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(mode)) {
        errors.push(FieldError::not_supported(&field, *mode, &ACCESS_MODES));
    }
    let others = modes.iter().any(|mode| *mode != "ReadWriteOncePod" && ACCESS_MODES.contains(mode));
    if others && modes.contains(&"ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(field, detail));
    }
}

/// A class that is named must be one that can be.
pub(in crate::kind::core) fn check_class(
    spec: &Value,
    key: &str,
    field: &Path,
    errors: &mut Vec<FieldError>,
) {
    if let Some(class) = spec[key].as_str().filter(|class| !class.is_empty()) {
        check_subdomain(class, &field.child(key), errors);
    }
}

/// A volume is a file system or a device.
pub(in crate::kind::core) fn check_volume_mode(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_optional_choice(spec, "volumeMode", field, &["Block", "Filesystem"], errors);
}

fn check_capacity(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let count = entries(spec, "capacity").count();
    if count == 0 {
        errors.push(FieldError::required(field, ""));
    }
    if count != 1 || !has(&spec["capacity"], "storage") {
        errors.push(FieldError::not_supported(field, spec["capacity"].clone(), &["storage"]));
    }
    for (resource, amount) in entries(spec, "capacity") {
        check_positive(amount, &field.key(resource), errors);
    }
}

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

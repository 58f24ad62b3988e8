//! Rules for volumes and where containers mount them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{check_choice, check_required, env};
use crate::{
    field::{FieldError, Path},
    kind::report,
    names,
    quantity::Quantity,
    value::{has, list, text},
};

/// Checks volumes and answers the names of those that are well.
pub(super) fn check<'s>(spec: &'s Value, field: &Path, errors: &mut Vec<FieldError>) -> BTreeSet<&'s str> {
    let mut seen = BTreeSet::new();
    let mut well = BTreeSet::new();
    for (position, volume) in list(spec, "volumes").iter().enumerate() {
        let field = field.index(position);
        let before = errors.len();
        check_source(volume, &field, errors);
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(field.child("name"), ""));
            continue;
        }
        let problems = names::dns_label(name);
        if problems.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(field.child("name"), name));
        }
        report(problems, &field.child("name"), name, errors);
        if errors.len() == before {
            well.insert(name);
        }
    }
    well
}

fn check_source(volume: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut sources: Vec<_> =
        volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name").collect();
    // Kubernetes says which of several is one too many in this order.
    sources.sort_by_key(|(key, _)| SOURCES.iter().position(|source| source == key).unwrap_or(SOURCES.len()));
    let mut found = 0;
    for (key, source) in sources {
        found += 1;
        let field = field.child(key);
        if found > 1 {
            errors.push(FieldError::forbidden(field, "may not specify more than 1 volume type"));
            continue;
        }
        match key.as_str() {
            "emptyDir" => {
                let limit: Option<Quantity> =
                    source["sizeLimit"].as_str().and_then(|limit| limit.parse().ok());
                if limit.is_some_and(Quantity::is_negative) {
                    let detail = "SizeLimit field must be a valid resource quantity";
                    errors.push(FieldError::forbidden(field.child("sizeLimit"), detail));
                }
            }
            "hostPath" => check_host_path(source, &field, errors),
            "secret" => {
                check_required(source, "secretName", &field, errors);
                check_items(source, &field, errors);
            }
            "configMap" => {
                check_required(source, "name", &field, errors);
                check_items(source, &field, errors);
            }
            "downwardAPI" => check_downward(source, &field, errors),
            "projected" => check_projected(source, &field, errors),
            "persistentVolumeClaim" => check_required(source, "claimName", &field, errors),
            "nfs" => {
                check_required(source, "server", &field, errors);
                check_required(source, "path", &field, errors);
            }
            "csi" => check_required(source, "driver", &field, errors),
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(field, "must specify a volume type"));
    }
}

fn check_host_path(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_required(source, "path", field, errors);
    let path = text(source, "path");
    if path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field.child("path"), path, "must not contain '..'"));
    }
    let kinds =
        ["BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    check_choice(source, "type", field, &kinds, errors);
}

fn check_mode(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if let Some(mode) = holder[key].as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(field.child(key), mode, detail));
    }
}

/// Keys and the files they become.
fn check_items(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_mode(source, "defaultMode", field, errors);
    for (position, item) in list(source, "items").iter().enumerate() {
        let field = field.child("items").index(position);
        check_required(item, "key", &field, errors);
        check_required(item, "path", &field, errors);
        check_file_path(text(item, "path"), &field.child("path"), errors);
        check_mode(item, "mode", &field, errors);
    }
}

fn check_downward(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_mode(source, "defaultMode", field, errors);
    for (position, item) in list(source, "items").iter().enumerate() {
        let field = field.child("items").index(position);
        check_required(item, "path", &field, errors);
        check_file_path(text(item, "path"), &field.child("path"), errors);
        match (has(item, "fieldRef"), has(item, "resourceFieldRef")) {
            (true, true) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(&field, "resource", detail));
            }
            (true, false) => {
                env::check_field_ref(&item["fieldRef"], &field.child("fieldRef"), FILE_FIELDS, errors)
            }
            (false, true) => {
                let reference = &item["resourceFieldRef"];
                let field = field.child("resourceFieldRef");
                check_required(reference, "containerName", &field, errors);
                env::check_resource_ref(reference, &field, errors);
            }
            (false, false) => {
                let detail = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(&field, detail));
            }
        }
        check_mode(item, "mode", &field, errors);
    }
}

fn check_projected(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_mode(source, "defaultMode", field, errors);
    for (position, source) in list(source, "sources").iter().enumerate() {
        let field = field.child("sources").index(position);
        for key in ["secret", "configMap"] {
            if has(source, key) {
                check_required(&source[key], "name", &field.child(key), errors);
                check_items(&source[key], &field.child(key), errors);
            }
        }
        if has(source, "downwardAPI") {
            check_downward(&source["downwardAPI"], &field.child("downwardAPI"), errors);
        }
        if has(source, "serviceAccountToken") {
            let (token, field) = (&source["serviceAccountToken"], field.child("serviceAccountToken"));
            let seconds = token["expirationSeconds"].as_i64().unwrap_or(0);
            if seconds < 600 {
                let detail = "may not specify a duration less than 10 minutes";
                errors.push(FieldError::invalid(field.child("expirationSeconds"), seconds, detail));
            }
            check_required(token, "path", &field, errors);
            check_file_path(text(token, "path"), &field.child("path"), errors);
        }
    }
}

/// A path within a volume.
fn check_file_path(path: &str, field: &Path, errors: &mut Vec<FieldError>) {
    check_below(path, field, errors);
    if path.starts_with("..") && path != ".." && !path.starts_with("../") {
        errors.push(FieldError::invalid(field, path, "must not start with '..'"));
    }
}

fn check_below(path: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if path.starts_with('/') {
        errors.push(FieldError::invalid(field, path, "must be a relative path"));
    }
    if path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, path, "must not contain '..'"));
    }
}

/// Mounts must name a volume of the pod and differ in their paths.
pub(super) fn check_mounts(
    container: &Value,
    field: &Path,
    volumes: &BTreeSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    let mut paths = BTreeSet::new();
    for (position, mount) in list(container, "volumeMounts").iter().enumerate() {
        let (all, field) = (field, field.index(position));
        match text(mount, "name") {
            "" => errors.push(FieldError::required(field.child("name"), "")),
            name if !volumes.contains(name) => errors.push(FieldError::not_found(field.child("name"), name)),
            _ => {}
        }
        check_required(mount, "mountPath", &field, errors);
        let path = text(mount, "mountPath");
        if !paths.insert(path) {
            errors.push(FieldError::invalid(field.child("mountPath"), path, "must be unique"));
        }
        for key in ["subPath", "subPathExpr"] {
            // Kubernetes leaves the position out here.
            check_below(text(mount, key), &all.child(key), errors);
        }
        let expression = text(mount, "subPathExpr");
        if !expression.is_empty() && !text(mount, "subPath").is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(field.child("subPathExpr"), expression, detail));
        }
    }
}

/// What files of the downward API may show.
/// Kinds of volumes in the order in which Kubernetes looks for them.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

//! What a PersistentVolume is made of: one of many kinds of storage.

use serde_json::{Map, Value};

use crate::{
    field::{FieldError, Path},
    kind::{report, rules::check_required},
    names,
    value::{has, list, text},
};

/// The source that a spec names; more than one when it is wrong.
pub(super) fn source(spec: &Value) -> Map<String, Value> {
    let named = SOURCES.iter().filter(|(name, _)| has(spec, name));
    named.map(|(name, _)| ((*name).to_owned(), spec[*name].clone())).collect()
}

pub(super) fn check(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut found = 0;
    for (name, required) in SOURCES.iter().filter(|(name, _)| has(spec, name)) {
        found += 1;
        let (source, field) = (&spec[*name], field.child(name));
        if found > 1 {
            errors.push(FieldError::forbidden(field, "may not specify more than 1 volume type"));
            continue;
        }
        for key in *required {
            check_required(source, key, &field, errors);
        }
        check_more(name, spec, &field, errors);
    }
    if found == 0 {
        errors.push(FieldError::required(field, "must specify a volume type"));
    }
    let policy = "persistentVolumeReclaimPolicy";
    let is_root = |path: &str| !path.is_empty() && path.split('/').all(|part| ["", "."].contains(&part));
    if is_root(text(&spec["hostPath"], "path")) && text(spec, policy) == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden(field.child(policy), detail));
    }
}

/// Rules of single kinds of storage beyond what must be there.
fn check_more(name: &str, spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let source = &spec[name];
    match name {
        "hostPath" => {
            check_path(source, "path", field, errors);
            let kind = text(source, "type");
            if !HOST_PATHS.contains(&kind) {
                errors.push(FieldError::not_supported(field.child("type"), kind, &HOST_PATHS));
            }
        }
        "local" => {
            check_path(source, "path", field, errors);
            if !has(spec, "nodeAffinity") {
                let detail = "Local volume requires node affinity";
                errors.push(FieldError::required("spec.nodeAffinity", detail));
            }
        }
        "nfs" if !text(source, "path").starts_with('/') && !text(source, "path").is_empty() => {
            let detail = "must be an absolute path";
            errors.push(FieldError::invalid(field.child("path"), text(source, "path"), detail));
        }
        "csi" => {
            let driver = text(source, "driver");
            if !driver.is_empty() {
                report(names::dns_subdomain(&driver.to_lowercase()), &field.child("driver"), driver, errors);
            }
            for key in CSI_SECRETS.iter().filter(|key| has(source, key)) {
                check_required(&source[*key], "name", &field.child(key), errors);
                check_required(&source[*key], "namespace", &field.child(key), errors);
            }
        }
        "azureDisk" => check_azure_disk(source, field, errors),
        "cephfs" | "rbd" if list(source, "monitors").is_empty() => {
            errors.push(FieldError::required(field.child("monitors"), ""));
        }
        "iscsi" => {
            let lun = source["lun"].as_i64().unwrap_or_default();
            if !(0..=255).contains(&lun) {
                let detail = "must be between 0 and 255, inclusive";
                errors.push(FieldError::invalid(field.child("lun"), lun, detail));
            }
            let name = text(source, "iqn");
            if !name.is_empty() && !["iqn", "eui", "naa"].iter().any(|start| name.starts_with(start)) {
                let detail = "must be valid format starting with iqn, eui, or naa";
                errors.push(FieldError::invalid(field.child("iqn"), name, detail));
            }
        }
        _ => {}
    }
}

/// Managed disks have an id, others an address of their own.
fn check_azure_disk(source: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (uri, is_managed) = (text(source, "diskURI"), text(source, "kind") == "Managed");
    let (start, form) = if is_managed {
        ("/subscriptions/", MANAGED_DISK)
    } else {
        ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
    };
    if !uri.is_empty() && !uri.starts_with(start) {
        errors.push(FieldError::not_supported(field.child("diskURI"), uri, &[form]));
    }
}

fn check_path(source: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let path = text(source, key);
    if path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field.child(key), path, "must not contain '..'"));
    }
}

/// Kinds of storage that Kubernetes keeps in the API only.
pub(super) fn warnings(volume: &Value) -> Vec<String> {
    let dead = DEAD.iter().filter(|(name, ..)| has(&volume["spec"], name));
    dead.map(|(_, shown, since, gone)| {
        format!("spec.{shown}: deprecated in {since}, non-functional in {gone}+")
    })
    .collect()
}

/// Kinds of storage, in the order in which Kubernetes looks at them, with what each must say.
const SOURCES: &[(&str, &[&str])] = &[
    ("hostPath", &["path"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("flocker", &[]),
    ("nfs", &["server", "path"]),
    ("rbd", &["image"]),
    ("quobyte", &["registry", "volume"]),
    ("cephfs", &[]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("local", &["path"]),
    ("storageos", &["volumeName"]),
    ("csi", &["driver", "volumeHandle"]),
];

/// Kinds of storage that do nothing any more: JSON field, name in the warning, deprecated in, gone in.
const DEAD: &[(&str, &str, &str, &str)] = &[
    ("cephfs", "cephfs", "v1.28", "v1.31"),
    ("flocker", "flocker", "v1.22", "v1.25"),
    ("glusterfs", "glusterfs", "v1.25", "v1.26"),
    ("photonPersistentDisk", "photonPersistentDisk", "v1.11", "v1.16"),
    ("quobyte", "quobyte", "v1.22", "v1.25"),
    ("rbd", "rbd", "v1.28", "v1.31"),
    ("scaleIO", "scaleIO", "v1.16", "v1.22"),
    ("storageos", "storageOS", "v1.22", "v1.25"),
];

const HOST_PATHS: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

const CSI_SECRETS: [&str; 4] = [
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
];

const MANAGED_DISK: &str =
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";

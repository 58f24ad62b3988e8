//! PersistentVolume.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    kind::{Column, Kind, Removed, Subresource, age_cell},
    pipeline::Creation,
    time::format_time,
    value::{default, default_text, has, list, object_mut, put, remove, set, text},
};

mod sources;
mod validate;

pub(super) use self::validate::{check_access_modes, check_class, check_volume_mode};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    namespaced: false,
    schema: "io.k8s.api.core.v1.PersistentVolume",
    removed: Removed::LastState,
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Capacity", "How much it holds."),
        Column::shown("Access Modes", "Who can use it at once, and how."),
        Column::shown("Reclaim Policy", "What becomes of it when its claim is gone."),
        Column::shown("Status", "Whether a claim has it."),
        Column::shown("Claim", "The claim that has it."),
        Column::shown("StorageClass", "Its class."),
        Column::shown("VolumeAttributesClass", "The class of its attributes."),
        Column::shown("Reason", "Why it is in this status."),
        Column::AGE,
        Column::wide("VolumeMode", "Whether it is a file system or a device."),
    ],
    inert: Some("no node mounts it yet"),
    default: apply_defaults,
    prepare_create: |object, creation: &Creation<'_>| {
        let now = format_time(creation.now);
        set(object, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": now}));
        protect(object, "kubernetes.io/pv-protection");
    },
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    stamp_status: |new, old, now| {
        let (status, old) = (&mut new["status"], &old["status"]);
        let is_old = status["lastPhaseTransitionTime"] == old["lastPhaseTransitionTime"];
        if status["phase"] != old["phase"] && (is_old || !has(status, "lastPhaseTransitionTime")) {
            set(status, "lastPhaseTransitionTime", format_time(now));
        }
    },
    validate: validate::object,
    validate_update: validate::update,
    warnings: sources::warnings,
    row,
    ..Kind::BASE
};

fn apply_defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    default(spec, "volumeMode", "Filesystem");
    if text(spec, "storageClassName").is_empty() {
        remove(spec, "storageClassName");
    }
    if has(spec, "hostPath") {
        default(&mut spec["hostPath"], "type", "");
    }
}

/// Adds the finalizer that keeps an object until nothing uses it.
pub(super) fn protect(object: &mut Value, finalizer: &str) {
    let metadata = object_mut(object, "metadata");
    let mut finalizers = list(metadata, "finalizers").to_vec();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(finalizer.into());
    }
    set(metadata, "finalizers", finalizers);
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let claim = &spec["claimRef"];
    let claim = match text(claim, "name") {
        "" => String::new(),
        name => format!("{}/{name}", text(claim, "namespace")),
    };
    vec![
        text(&object["metadata"], "name").into(),
        text(&spec["capacity"], "storage").into(),
        access_modes_cell(spec).into(),
        text(spec, "persistentVolumeReclaimPolicy").into(),
        phase_cell(object).into(),
        claim.into(),
        class_cell(object).into(),
        or_unset(text(spec, "volumeAttributesClassName")).into(),
        text(status, "reason").into(),
        age_cell(object, now),
        or_unset(text(spec, "volumeMode")).into(),
    ]
}

/// Access modes in short: `RWO,ROX`.
pub(super) fn access_modes_cell(holder: &Value) -> String {
    let modes = list(holder, "accessModes");
    let short = ACCESS_MODES.iter().filter(|(mode, _)| modes.iter().any(|given| given == mode));
    short.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The phase, but for an object that is being deleted.
pub(super) fn phase_cell(object: &Value) -> &str {
    if has(&object["metadata"], "deletionTimestamp") {
        "Terminating"
    } else {
        text(&object["status"], "phase")
    }
}

/// The storage class, which an annotation named before the field did.
pub(super) fn class_cell(object: &Value) -> &str {
    let annotated = &object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    annotated.as_str().unwrap_or_else(|| text(&object["spec"], "storageClassName"))
}

pub(super) fn or_unset(text: &str) -> &str {
    if text.is_empty() { "<unset>" } else { text }
}

/// Access modes with their short forms, in the order in which they are shown.
const ACCESS_MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];

#[cfg(test)]
mod tests;

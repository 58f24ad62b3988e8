//! The volumes of a pod.

use serde_json::Value;

use super::{Sheet, container::Place};
use crate::document::{items, plain, text};

/// Describes all volumes.
pub(super) fn describe(sheet: &mut Sheet, pod: &Value, place: Place) {
    let volumes = items(pod, &["spec", "volumes"]);
    let title = format!("{}Volumes", place.outer());
    if volumes.is_empty() {
        sheet.field(0, &title, "<none>");
        return;
    }
    sheet.line(0, format!("{title}:"));
    for volume in volumes {
        sheet.line(1, format!("{}{}:", place.inner(), text(volume, &["name"])));
        source(sheet, volume);
    }
}

fn source(sheet: &mut Sheet, volume: &Value) {
    let optional = |reference: &Value| reference["optional"].as_bool().unwrap_or(false).to_string();
    let (empty, host) = (&volume["emptyDir"], &volume["hostPath"]);
    let (config, secret) = (&volume["configMap"], &volume["secret"]);
    if empty.is_object() {
        sheet.field(2, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
        sheet.field(2, "Medium", text(empty, &["medium"]));
        let limit = plain(&empty["sizeLimit"]);
        sheet.field(2, "SizeLimit", if limit.is_empty() { "<unset>" } else { &limit });
    } else if host.is_object() {
        sheet.field(2, "Type", "HostPath (bare host directory volume)");
        sheet.field(2, "Path", text(host, &["path"]));
        sheet.field(2, "HostPathType", text(host, &["type"]));
    } else if config.is_object() {
        sheet.field(2, "Type", "ConfigMap (a volume populated by a ConfigMap)");
        sheet.field(2, "Name", text(config, &["name"]));
        sheet.field(2, "Optional", optional(config));
    } else if secret.is_object() {
        sheet.field(2, "Type", "Secret (a volume populated by a Secret)");
        sheet.field(2, "SecretName", text(secret, &["secretName"]));
        sheet.field(2, "Optional", optional(secret));
    } else if volume["projected"].is_object() {
        sheet.field(2, "Type", "Projected (a volume that contains injected data from multiple sources)");
        items(volume, &["projected", "sources"]).iter().for_each(|part| projected(sheet, part));
    } else {
        let kind =
            volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).find(|key| *key != "name");
        sheet.field(2, "Type", kind.unwrap_or("<unknown>"));
    }
}

fn projected(sheet: &mut Sheet, part: &Value) {
    if let Some(seconds) = part["serviceAccountToken"]["expirationSeconds"].as_i64() {
        sheet.field(2, "TokenExpirationSeconds", seconds.to_string());
    }
    for (field, title) in [("secret", "SecretName"), ("configMap", "ConfigMapName")] {
        if part[field].is_object() {
            sheet.field(2, title, text(part, &[field, "name"]));
            sheet.field(2, "Optional", part[field]["optional"].as_bool().unwrap_or(false).to_string());
        }
    }
    if part["downwardAPI"].is_object() {
        sheet.field(2, "DownwardAPI", "true");
    }
}

//! Kinds with little to tell.

use serde_json::Value;

use super::{Facts, Sheet, pairs, quota};
use crate::document::{entries, items, plain, text};

pub(super) fn namespace(sheet: &mut Sheet, object: &Value, facts: &Facts) {
    sheet.head(object);
    sheet.field(0, "Status", text(object, &["status", "phase"]));
    for condition in items(object, &["status", "conditions"]) {
        sheet.field(0, text(condition, &["type"]), text(condition, &["message"]));
    }
    sheet.line(0, "");
    quota::of_namespace(sheet, &facts.quotas);
    sheet.line(0, "");
    quota::limits_of_namespace(sheet, &facts.related);
}

pub(super) fn config_map(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    sheet.line(0, "");
    sheet.line(0, "Data\n====");
    for (key, value) in entries(object, &["data"]) {
        // A tab in a value is a tab, not the end of a cell.
        let value = plain(value).replace('\t', "    ");
        sheet.line(0, format!("{key}:\n----\n{value}\n"));
    }
    sheet.line(0, "");
    sheet.line(0, "BinaryData\n====");
    for (key, value) in entries(object, &["binaryData"]) {
        sheet.line(0, format!("{key}: {} bytes", decoded_bytes(&plain(value))));
    }
    sheet.line(0, "");
}

/// Sizes only: a description is for reading over someone's shoulder.
pub(super) fn secret(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    sheet.line(0, "");
    sheet.field(0, "Type", text(object, &["type"]));
    sheet.line(0, "");
    sheet.line(0, "Data\n====");
    for (key, value) in entries(object, &["data"]) {
        sheet.field(0, key, format!("{} bytes", decoded_bytes(&plain(value))));
    }
}

pub(super) fn service_account(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    let names: Vec<String> = items(object, &["imagePullSecrets"])
        .iter()
        .map(|reference| text(reference, &["name"]).to_owned())
        .collect();
    sheet.list(0, "Image pull secrets", &names);
}

pub(super) fn event(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    sheet.field(0, "Type", text(object, &["type"]));
    sheet.field(0, "Reason", text(object, &["reason"]));
    let about = &object["involvedObject"];
    sheet.field(0, "Object", format!("{}/{}", text(about, &["kind"]), text(about, &["name"])));
    sheet.field(0, "Count", object["count"].as_i64().unwrap_or(1).to_string());
    sheet.field_if_any(0, "First Seen", &super::time(object, &["firstTimestamp"]));
    sheet.field_if_any(0, "Last Seen", &super::time(object, &["lastTimestamp"]));
    sheet.field_if_any(0, "From", text(object, &["source", "component"]));
    sheet.field_if_any(0, "On", text(object, &["source", "host"]));
    sheet.field(0, "Message", text(object, &["message"]));
}

pub(super) fn priority_class(sheet: &mut Sheet, object: &Value) {
    sheet.field(0, "Name", text(object, &["metadata", "name"]));
    sheet.field(0, "Value", plain(&object["value"]));
    sheet.field(0, "GlobalDefault", (object["globalDefault"] == true).to_string());
    sheet.field(0, "PreemptionPolicy", text(object, &["preemptionPolicy"]));
    sheet.field(0, "Description", text(object, &["description"]));
    let annotations = pairs(object, &["metadata", "annotations"], "=").join(",");
    sheet.field(0, "Annotations", if annotations.is_empty() { "<none>" } else { &annotations });
}

/// Everything but the metadata already shown, as YAML.
pub(super) fn other(sheet: &mut Sheet, object: &Value) {
    sheet.head(object);
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            sheet.line(0, format!("{key}:"));
            let yaml = crate::document::yaml(value);
            yaml.lines().for_each(|line| sheet.line(1, line));
        }
    }
}

/// Length of what base64 stands for.
fn decoded_bytes(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

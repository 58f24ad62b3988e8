//! The template of a workload's pods.

use serde_json::Value;

use super::{
    Sheet,
    container::{self, Containers, Place},
    pairs,
    pod::toleration,
    volume,
};
use crate::{
    document::{entries, items, plain, text},
    workload,
};

/// Describes a template, its title included.
pub(super) fn describe(sheet: &mut Sheet, template: &Value) {
    sheet.line(0, "Pod Template:");
    if !template.is_object() {
        sheet.line(1, "<unset>");
        return;
    }
    sheet.list(1, "Labels", &pairs(template, &["metadata", "labels"], "="));
    if entries(template, &["metadata", "annotations"]).next().is_some() {
        sheet.list(1, "Annotations", &pairs(template, &["metadata", "annotations"], ": "));
    }
    sheet.field_if_any(1, "Service Account", text(template, &["spec", "serviceAccountName"]));
    container::describe(sheet, template, Containers::Init, Place::Template);
    container::describe(sheet, template, Containers::Main, Place::Template);
    volume::describe(sheet, template, Place::Template);
    spreading(sheet, template);
    sheet.field_if_any(1, "Priority Class Name", text(template, &["spec", "priorityClassName"]));
    sheet.list(1, "Node-Selectors", &pairs(template, &["spec", "nodeSelector"], "="));
    let tolerations: Vec<String> = items(template, &["spec", "tolerations"]).iter().map(toleration).collect();
    sheet.list(1, "Tolerations", &tolerations);
}

fn spreading(sheet: &mut Sheet, template: &Value) {
    let constraints = items(template, &["spec", "topologySpreadConstraints"]);
    let one = |constraint: &Value| {
        let skew = format!(
            "{}:{} when max skew {} is exceeded",
            text(constraint, &["topologyKey"]),
            text(constraint, &["whenUnsatisfiable"]),
            plain(&constraint["maxSkew"]),
        );
        match workload::selector_text(&constraint["labelSelector"]).as_str() {
            "" => skew,
            selector => format!("{skew} for selector {selector}"),
        }
    };
    if !constraints.is_empty() {
        let lines: Vec<String> = constraints.iter().map(one).collect();
        sheet.list(1, "Topology Spread Constraints", &lines);
    }
}

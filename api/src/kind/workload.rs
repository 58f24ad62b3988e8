//! What kinds that keep pods share: templates, selectors of them, counts in their status, and cells.

use serde_json::{Value, json};

use super::{Column, label_selector, pod::template};
use crate::{
    field::{FieldError, Path},
    names,
    value::{entries, has, list, object_mut, put, set, text},
};

/// Where a spec has its template.
const TEMPLATE: &str = "template";

/// Takes what a client says of the status out of a new object.
pub(super) fn reset_status(object: &mut Value) {
    set(object, "status", json!({}));
}

/// An update of an object leaves its status.
pub(super) fn keep_status(new: &mut Value, old: &Value) {
    put(new, "status", old["status"].clone());
}

/// Fills in what the template of a spec has by default.
pub(super) fn default_template(spec: &mut Value) {
    template::default(object_mut(spec, TEMPLATE));
}

/// Rules for the selector of a spec, and for its template, which the selector must select. `kind` is how messages call the object,
/// `unreadable` what they say of a selector that is none.
pub(super) fn check_selector(spec: &Value, kind: &str, unreadable: &str, errors: &mut Vec<FieldError>) {
    let (selector, field) = (&spec["selector"], Path::new("spec.selector"));
    if selector.is_null() {
        errors.push(FieldError::required(&field, ""));
    } else {
        label_selector::check(selector, &field, errors);
    }
    if label_selector::is_empty(selector) {
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(FieldError::invalid_json(&field, &label_selector::shown(selector), &detail));
    }
    match label_selector::selects(selector, template_labels(spec)) {
        Some(true) => {}
        Some(false) => errors.push(not_selected(spec, &Path::new("spec"))),
        None => errors.push(FieldError::invalid_json(&field, &label_selector::shown(selector), unreadable)),
    }
}

/// Labels of the pods that a spec makes.
pub(super) fn template_labels(spec: &Value) -> &Value {
    &spec[TEMPLATE]["metadata"]["labels"]
}

/// The error about a selector that does not select the template.
pub(super) fn not_selected(spec: &Value, field: &Path) -> FieldError {
    let field = field.child(TEMPLATE).child("metadata").child("labels");
    FieldError::invalid(field, template_labels(spec).clone(), "`selector` does not match template `labels`")
}

/// Rules for the template of a spec whose pods run until they are deleted. `kind` is how messages call the object.
pub(super) fn check_lasting_template(spec: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let field = Path::new("spec").child(TEMPLATE);
    template::check(&spec[TEMPLATE], &field, errors);
    check_lasting(spec, kind, errors);
}

/// Pods that a controller replaces are restarted in place as well, and have no deadline.
pub(super) fn check_lasting(spec: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let field = Path::new("spec").child(TEMPLATE).child("spec");
    let pod = &spec[TEMPLATE]["spec"];
    let policy = text(pod, "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(field.child("restartPolicy"), policy, &["Always"]));
    }
    if has(pod, "activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(field.child("activeDeadlineSeconds"), &detail));
    }
}

/// A selector stays as it is, or pods would be lost.
pub(super) fn check_selector_stays(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let selector = &new["spec"]["selector"];
    if *selector != old["spec"]["selector"] {
        let shown = if selector.is_null() { "null".to_owned() } else { label_selector::shown(selector) };
        errors.push(FieldError::invalid_json("spec.selector", &shown, "field is immutable"));
    }
}

/// Warnings about the template of a spec, and about a name that pods cannot have.
pub(super) fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = name_warnings(object);
    warnings.extend(template_warnings(object));
    warnings
}

/// A warning about a name that pods cannot have.
pub(super) fn name_warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let problems = names::dns_label(text(&object["metadata"], "name"));
    if !problems.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            problems.join(" ")
        ));
    }
    warnings
}

/// Warnings about the template of a spec.
pub(super) fn template_warnings(object: &Value) -> Vec<String> {
    template::warnings(&object["spec"][TEMPLATE], &Path::new("spec").child(TEMPLATE))
}

/// These fields may not be negative.
pub(super) fn check_counts(holder: &Value, keys: &[&str], field: &Path, errors: &mut Vec<FieldError>) {
    for key in keys {
        if let Some(count) = holder[*key].as_i64().filter(|count| *count < 0) {
            errors.push(FieldError::invalid(field.child(key), count, "must be greater than or equal to 0"));
        }
    }
}

/// These counts of a status may not exceed that of all replicas.
pub(super) fn check_parts(status: &Value, parts: &[&str], errors: &mut Vec<FieldError>) {
    for part in parts {
        check_at_most(status, part, "replicas", "cannot be greater than status.replicas", errors);
    }
}

/// A count of a status may not exceed another.
pub(super) fn check_at_most(
    status: &Value,
    part: &str,
    whole: &str,
    detail: &str,
    errors: &mut Vec<FieldError>,
) {
    let count = |key: &str| status[key].as_i64().unwrap_or(0);
    if count(part) > count(whole) {
        errors.push(FieldError::invalid(Path::new("status").child(part), count(part), detail));
    }
}

/// Rules for the counts of a ReplicaSet or ReplicationController.
pub(super) fn check_replica_counts(status: &Value, errors: &mut Vec<FieldError>) {
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    let field = Path::new("status");
    check_counts(status, &["replicas"], &field, errors);
    check_counts(status, &parts, &field, errors);
    check_counts(status, &["observedGeneration"], &field, errors);
    check_parts(status, &parts, errors);
    let detail = "cannot be greater than readyReplicas";
    check_at_most(status, "availableReplicas", "readyReplicas", detail, errors);
}

/// How often names collided only grows.
pub(super) fn check_collisions(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let count = |object: &Value| object["status"]["collisionCount"].as_i64();
    if count(old).is_some_and(|before| count(new).is_none_or(|after| after < before)) {
        let after = count(new).unwrap_or(0);
        errors.push(FieldError::invalid("status.collisionCount", after, "cannot be decremented"));
    }
}

/// Columns that show the containers of a template.
pub(super) const CONTAINER_COLUMNS: [Column; 2] = [
    Column::wide("Containers", "Names of the containers in its template."),
    Column::wide("Images", "Images of the containers in its template."),
];

/// Cells under [`CONTAINER_COLUMNS`].
pub(super) fn container_cells(template: &Value) -> [Value; 2] {
    ["name", "image"].map(|key| {
        let containers = list(&template["spec"], "containers").iter();
        containers.map(|container| text(container, key)).collect::<Vec<_>>().join(",").into()
    })
}

/// A map of labels as tables show it.
pub(super) fn labels_cell(holder: &Value, key: &str) -> Value {
    let labels: Vec<String> = entries(holder, key)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if labels.is_empty() { "<none>".into() } else { labels.join(",").into() }
}

/// A count as a cell; an absent one is zero.
pub(super) fn count_cell(holder: &Value, key: &str) -> Value {
    holder[key].as_i64().unwrap_or(0).into()
}

/// The name of an object, for its first cell.
pub(super) fn name_cell(object: &Value) -> Value {
    text(&object["metadata"], "name").into()
}

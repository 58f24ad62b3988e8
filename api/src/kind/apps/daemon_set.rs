//! DaemonSet.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Subresource, Warns, age_cell, int_or_percent, label_selector,
        pod::template,
        workload::{
            self, CONTAINER_COLUMNS, check_counts, container_cells, count_cell, labels_cell, name_cell,
        },
    },
    value::{default, default_text, object_mut, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.DaemonSet",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::integer("Desired", "On how many nodes it should run."),
        Column::integer("Current", "On how many of them it runs."),
        Column::integer("Ready", "On how many of them it is ready."),
        Column::integer("Up-to-date", "On how many nodes its current template runs."),
        Column::integer("Available", "On how many nodes it has been ready for long enough."),
        Column::shown("Node Selector", "Which nodes it runs on."),
        Column::AGE,
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        Column::wide("Selector", "Which pods are its own."),
    ],
    inert: None,
    generation: Generation::CountsSpecChanges,
    default: defaults,
    prepare_create: |object, _| {
        workload::reset_status(object);
        let generation = template_generation(object).max(1);
        set_template_generation(object, generation);
    },
    prepare_update,
    validate,
    validate_update: workload::check_selector_stays,
    validate_status,
    warnings,
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

/// Counts changes of the template. It is a field in old versions of the kind, and kept for whoever still looks at it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    workload::default_template(spec);
    let strategy = object_mut(spec, "updateStrategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        default(strategy, "rollingUpdate", Map::new());
        let rolling = object_mut(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    default(spec, "revisionHistoryLimit", 10);
}

fn prepare_update(new: &mut Value, old: &Value) {
    workload::keep_status(new, old);
    let changed = i64::from(new["spec"]["template"] != old["spec"]["template"]);
    set_template_generation(new, template_generation(old).saturating_add(changed));
}

fn template_generation(object: &Value) -> i64 {
    text(&object["metadata"]["annotations"], TEMPLATE_GENERATION).parse().unwrap_or(0)
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = object_mut(object_mut(object, "metadata"), "annotations");
    set(annotations, TEMPLATE_GENERATION, generation.to_string());
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    super::rollout_annotations::check(object, errors);
    let (spec, field) = (&object["spec"], Path::new("spec"));
    let (selector, selector_field) = (&spec["selector"], field.child("selector"));
    label_selector::check(selector, &selector_field, errors);
    if label_selector::selects(selector, workload::template_labels(spec)) == Some(false) {
        errors.push(workload::not_selected(spec, &field));
    }
    if label_selector::is_empty(selector) {
        let detail = "empty selector is invalid for daemonset";
        errors.push(FieldError::invalid_json(&selector_field, &label_selector::shown(selector), detail));
    }
    template::check(&spec["template"], &field.child("template"), errors);
    workload::check_lasting(spec, "DaemonSet", errors);
    check_counts(spec, &["minReadySeconds"], &field, errors);
    check_strategy(&spec["updateStrategy"], &field.child("updateStrategy"), errors);
    check_counts(spec, &["revisionHistoryLimit"], &field, errors);
}

fn check_strategy(strategy: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (rolling, rolling_field) = (&strategy["rollingUpdate"], field.child("rollingUpdate"));
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let limits = ["maxUnavailable", "maxSurge"];
            for key in limits {
                int_or_percent::check(&rolling[key], &rolling_field.child(key), errors);
            }
            for key in limits {
                int_or_percent::check_at_most_all(&rolling[key], &rolling_field.child(key), errors);
            }
            match limits.map(|key| int_or_percent::is_zero(&rolling[key])) {
                [false, false] => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    let field = rolling_field.child("maxSurge");
                    errors.push(FieldError::invalid(field, rolling["maxSurge"].clone(), detail));
                }
                [true, true] => {
                    let detail = "cannot be 0 when maxSurge is 0";
                    errors.push(FieldError::required(rolling_field.child("maxUnavailable"), detail));
                }
                _ => {}
            }
        }
        _ => {
            errors.push(FieldError::not_supported_json(
                field,
                &super::shown_strategy(strategy),
                &["RollingUpdate", "OnDelete"],
            ));
        }
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    check_counts(&new["status"], &counts, &Path::new("status"), errors);
    workload::check_collisions(new, old, errors);
}

fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = workload::warnings(object);
    warnings.extend(super::rollout_annotations::warnings(object));
    warnings
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = container_cells(&spec["template"]);
    vec![
        name_cell(object),
        count_cell(status, "desiredNumberScheduled"),
        count_cell(status, "currentNumberScheduled"),
        count_cell(status, "numberReady"),
        count_cell(status, "updatedNumberScheduled"),
        count_cell(status, "numberAvailable"),
        labels_cell(&spec["template"]["spec"], "nodeSelector"),
        age_cell(object, now),
        containers,
        images,
        label_selector::cell(&spec["selector"]).into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    fn daemon_set(strategy: Value) -> Value {
        let mut object = json!({"metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}}, "updateStrategy": strategy,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }});
        defaults(&mut object);
        object
    }

    #[test]
    fn rules_of_strategies() {
        let check = |strategy: Value, expected: &[&str]| {
            let found = messages(|errors| validate(&daemon_set(strategy), errors));
            assert_eq!(found, expected);
        };
        let field = "spec.updateStrategy.rollingUpdate";
        check(json!({}), &[]);
        check(json!({"type": "OnDelete"}), &[]);
        check(json!({"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}}), &[]);
        check(
            json!({"rollingUpdate": {"maxSurge": 1}}),
            &[&format!("{field}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero")],
        );
        check(
            json!({"rollingUpdate": {"maxUnavailable": 0}}),
            &[&format!("{field}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0")],
        );
        check(
            json!({"type": "x"}),
            &[
                "spec.updateStrategy: Unsupported value: {\"Type\":\"x\",\"RollingUpdate\":null}: supported values: \
             \"RollingUpdate\", \"OnDelete\"",
            ],
        );
    }

    #[test]
    fn changes_of_the_template_are_counted() {
        let mut old = daemon_set(json!({}));
        set_template_generation(&mut old, 4);
        let check = |change: fn(&mut Value), expected: &str| {
            let mut new = old.clone();
            change(&mut new);
            prepare_update(&mut new, &old);
            assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], expected);
        };
        check(|_| {}, "4");
        check(|new| new["metadata"]["annotations"] = json!({TEMPLATE_GENERATION: "9"}), "4");
        check(|new| new["metadata"]["annotations"] = json!(null), "4");
        check(|new| new["spec"]["minReadySeconds"] = json!(1), "4");
        check(|new| new["spec"]["template"]["spec"]["hostNetwork"] = json!(true), "5");
    }

    #[test]
    fn rows_count_nodes() {
        let mut object = daemon_set(json!({}));
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b", "c": ""});
        object["status"] = json!({"desiredNumberScheduled": 3, "numberReady": 2});
        let expected = json!(["d", 3, 0, 2, 0, 0, "a=b,c=", "<unknown>", "c", "i", "app=a"]);
        assert_eq!(json!(row(&object, Timestamp::UNIX_EPOCH)), expected);
    }
}

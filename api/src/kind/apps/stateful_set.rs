//! StatefulSet.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Generation, Kind, Scale, Subresource, Warns, age_cell, int_or_percent,
        pod::template,
        report,
        workload::{self, CONTAINER_COLUMNS, check_counts, container_cells, count_cell, name_cell},
    },
    names::{self, NameRule},
    value::{default, default_text, has, list_mut, object_mut, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    schema: "io.k8s.api.apps.v1.StatefulSet",
    subresources: &[Subresource::SCALE, Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("Ready", "How many of its pods are ready, of how many there should be."),
        Column::AGE,
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
    ],
    scale: Some(Scale::LabelSelector),
    inert: None,
    name_rule: NameRule::Label,
    generation: Generation::CountsSpecChanges,
    default: defaults,
    prepare_create: |object, _| workload::reset_status(object),
    prepare_update: workload::keep_status,
    validate,
    validate_create: |object, errors| {
        let name = text(&object["spec"], "serviceName");
        if !name.is_empty() {
            report(names::dns_label(name), &Path::new("spec.serviceName"), name, errors);
        }
    },
    validate_update,
    validate_status,
    warnings,
    warns: Warns::OnNewGenerations,
    row,
    ..Kind::BASE
};

fn defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    workload::default_template(spec);
    for claim in list_mut(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        default_text(object_mut(claim, "spec"), "volumeMode", "Filesystem");
        default_text(object_mut(claim, "status"), "phase", "Pending");
    }
    default_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = object_mut(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        set(strategy, "type", "RollingUpdate");
        default(strategy, "rollingUpdate", Map::new());
    }
    if text(strategy, "type") == "RollingUpdate" && has(strategy, "rollingUpdate") {
        default(&mut strategy["rollingUpdate"], "partition", 0);
    }
    let retention = object_mut(spec, "persistentVolumeClaimRetentionPolicy");
    default_text(retention, "whenDeleted", "Retain");
    default_text(retention, "whenScaled", "Retain");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    super::rollout_annotations::check(object, errors);
    let (spec, field) = (&object["spec"], Path::new("spec"));
    let policy = text(spec, "podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&policy) {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid(field.child("podManagementPolicy"), policy, detail));
    }
    check_strategy(&spec["updateStrategy"], &field.child("updateStrategy"), errors);
    let retention_field = field.child("persistentVolumeClaimRetentionPolicy");
    for key in ["whenDeleted", "whenScaled"] {
        let policy = text(&spec["persistentVolumeClaimRetentionPolicy"], key);
        if !["Retain", "Delete"].contains(&policy) {
            let field = retention_field.child(key);
            errors.push(FieldError::not_supported(field, policy, &["Retain", "Delete"]));
        }
    }
    check_counts(spec, &["replicas", "minReadySeconds"], &field, errors);
    check_counts(&spec["ordinals"], &["start"], &field.child("ordinals"), errors);
    workload::check_selector(spec, "statefulset", "", errors);
    check_template(spec, &field.child("template"), errors);
    workload::check_lasting(spec, "StatefulSet", errors);
}

/// Rules for the template. Its pods also get a volume for each claim, so that a claim's name is as good as a volume's.
fn check_template(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut completed = spec["template"].clone();
    let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
    let claims: Vec<&str> = claims.map(|claim| text(&claim["metadata"], "name")).collect();
    let pod = object_mut(&mut completed, "spec");
    let mut volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    volumes.retain(|volume| !claims.contains(&text(volume, "name")));
    let own = volumes.len();
    volumes.extend(
        claims.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}})),
    );
    put(pod, "volumes", volumes.into());
    let mut found = Vec::new();
    template::check(&completed, field, &mut found);
    // What is wrong with the claims themselves is said about them, not about volumes that nobody wrote.
    let volumes = field.child("spec").child("volumes");
    let added: Vec<String> =
        (own..own + claims.len()).map(|position| volumes.index(position).as_str().to_owned()).collect();
    errors
        .extend(found.into_iter().filter(|error| !added.iter().any(|path| error.field().starts_with(path))));
}

fn check_strategy(strategy: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let (rolling, rolling_field) = (&strategy["rollingUpdate"], field.child("rollingUpdate"));
    match text(strategy, "type") {
        "OnDelete" => {
            if !rolling.is_null() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(FieldError::invalid_json(rolling_field, &shown_rolling(rolling), detail));
            }
        }
        "RollingUpdate" => {
            check_counts(rolling, &["partition"], &rolling_field, errors);
            let (unavailable, field) = (&rolling["maxUnavailable"], rolling_field.child("maxUnavailable"));
            int_or_percent::check(unavailable, &field, errors);
            if !unavailable.is_null() && int_or_percent::is_zero(unavailable) {
                errors.push(FieldError::invalid(&field, unavailable.clone(), "cannot be 0"));
            }
            int_or_percent::check_at_most_all(unavailable, &field, errors);
        }
        _ => {
            let shown =
                format!("{{\"Type\":{},\"RollingUpdate\":{}}}", strategy["type"], shown_rolling(rolling));
            errors.push(FieldError::invalid_json(field, &shown, "must be 'RollingUpdate' or 'OnDelete'"));
        }
    }
}

/// How to update, as messages show it: the way Go holds it.
fn shown_rolling(rolling: &Value) -> String {
    if rolling.is_null() {
        return "null".to_owned();
    }
    let partition = rolling["partition"].as_i64().unwrap_or(0);
    format!("{{\"Partition\":{partition},\"MaxUnavailable\":{}}}", rolling["maxUnavailable"])
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let mut spec = new["spec"].clone();
    for key in CHANGEABLE {
        put(&mut spec, key, old["spec"][key].clone());
    }
    if spec != old["spec"] {
        errors.push(FieldError::forbidden("spec", FIXED));
    }
}

/// What of a spec may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
                     'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

fn validate_status(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (status, field) = (&new["status"], Path::new("status"));
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    check_counts(status, &["replicas"], &field, errors);
    check_counts(status, &parts, &field, errors);
    check_counts(status, &["observedGeneration", "collisionCount"], &field, errors);
    workload::check_parts(status, &parts, errors);
    let detail = "cannot be greater than status.readyReplicas";
    workload::check_at_most(status, "availableReplicas", "readyReplicas", detail, errors);
    workload::check_collisions(new, old, errors);
}

fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = workload::template_warnings(object);
    warnings.extend(super::rollout_annotations::warnings(object));
    if object["spec"]["revisionHistoryLimit"].as_i64().is_some_and(|limit| limit < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned(),
        );
    }
    warnings
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = container_cells(&spec["template"]);
    vec![
        name_cell(object),
        format!("{}/{}", count_cell(status, "readyReplicas"), count_cell(spec, "replicas")).into(),
        age_cell(object, now),
        containers,
        images,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::messages;

    fn stateful_set(change: impl FnOnce(&mut Value)) -> Value {
        let mut object = json!({"metadata": {"name": "s"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }});
        change(&mut object["spec"]);
        defaults(&mut object);
        object
    }

    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let object = stateful_set(change);
        assert_eq!(messages(|errors| validate(&object, errors)), expected);
    }

    #[test]
    fn rules() {
        check(|_| {}, &[]);
        check(
            |spec| spec["podManagementPolicy"] = json!("x"),
            &["spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"],
        );
        check(
            |spec| spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "x"}),
            &[
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"x\": supported values: \"Retain\", \"Delete\"",
            ],
        );
        check(
            |spec| spec["ordinals"] = json!({"start": -1}),
            &["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"],
        );
        check(
            |spec| spec["selector"] = json!({}),
            &["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
        );
    }

    #[test]
    fn rules_of_strategies() {
        let check_strategy =
            |strategy: Value, expected: &[&str]| check(|spec| spec["updateStrategy"] = strategy, expected);
        check_strategy(json!({"rollingUpdate": {"partition": 2}}), &[]);
        check_strategy(
            json!({"rollingUpdate": {"partition": -2, "maxUnavailable": 0}}),
            &[
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -2: must be greater than or equal to 0",
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
            ],
        );
        check_strategy(
            json!({"type": "OnDelete", "rollingUpdate": {}}),
            &[
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":0,\"MaxUnavailable\":null}: only allowed for \
             updateStrategy 'RollingUpdate'",
            ],
        );
        check_strategy(
            json!({"type": "x"}),
            &[
                "spec.updateStrategy: Invalid value: {\"Type\":\"x\",\"RollingUpdate\":null}: must be 'RollingUpdate' or 'OnDelete'",
            ],
        );
    }

    #[test]
    fn claims_are_volumes_that_containers_may_mount() {
        let mount = |spec: &mut Value| {
            spec["template"]["spec"]["containers"][0]["volumeMounts"] =
                json!([{"name": "data", "mountPath": "/d"}]);
        };
        check(
            |spec| {
                mount(spec);
                spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
            },
            &[],
        );
        check(mount, &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""]);
        let claim =
            &stateful_set(|spec| spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "d"}}]))["spec"];
        let expected = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"},
            "spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}});
        assert_eq!(claim["volumeClaimTemplates"][0], expected);
    }

    #[test]
    fn little_of_a_spec_may_change() {
        let old = stateful_set(|_| {});
        let check = |key: &str, value: Value, expected: &[&str]| {
            let mut new = old.clone();
            new["spec"][key] = value;
            assert_eq!(messages(|errors| validate_update(&new, &old, errors)), expected, "{key}");
        };
        let fixed = format!("spec: Forbidden: {FIXED}");
        for key in CHANGEABLE {
            check(key, json!({"changed": true}), &[]);
        }
        check("serviceName", json!("x"), &[&fixed]);
        check("volumeClaimTemplates", json!([]), &[&fixed]);
        check("podManagementPolicy", json!("Parallel"), &[&fixed]);
    }

    #[test]
    fn histories_without_end_are_warned_of() {
        let object = stateful_set(|spec| spec["revisionHistoryLimit"] = json!(-1));
        assert!(warnings(&object)[0].starts_with("spec.revisionHistoryLimit: a negative value"));
    }
}

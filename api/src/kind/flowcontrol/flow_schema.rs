//! FlowSchema: which requests wait in which queues.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::INERT;
use crate::{
    field::{FieldError, Path},
    kind::{Column, Generation, Kind, Subresource, age_cell, report, rules::check_subdomain},
    names,
    value::{has, is_true, list, object_mut, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "FlowSchema",
    plural: "flowschemas",
    singular: "flowschema",
    namespaced: false,
    schema: "io.k8s.api.flowcontrol.v1.FlowSchema",
    subresources: &[Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::shown("PriorityLevel", "Where its requests wait."),
        Column::shown(
            "MatchingPrecedence",
            "Which schema counts when several match: the one with the least.",
        ),
        Column::shown("DistinguisherMethod", "What tells its flows apart."),
        Column::AGE,
        Column::shown("MissingPL", "Whether its priority level is missing."),
    ],
    generation: Generation::CountsSpecChanges,
    inert: INERT,
    default: |object| {
        let spec = object_mut(object, "spec");
        if spec["matchingPrecedence"].as_i64().unwrap_or_default() == 0 {
            set(spec, "matchingPrecedence", PRECEDENCE);
        }
    },
    prepare_create: |object, _| set(object, "status", json!({})),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate,
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    let precedence = spec["matchingPrecedence"].as_i64().unwrap_or_default();
    let mut refuse = |detail: &str| {
        errors.push(FieldError::invalid(field.child("matchingPrecedence"), precedence, detail));
    };
    if precedence <= 0 {
        refuse("must be a positive value");
    } else if precedence > PRECEDENCE_MAX {
        refuse(&format!("must not be greater than {PRECEDENCE_MAX}"));
    } else if precedence == 1 && text(&object["metadata"], "name") != "exempt" {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = &spec["distinguisherMethod"];
    let methods = ["ByNamespace", "ByUser"];
    if has(spec, "distinguisherMethod") && !methods.contains(&text(method, "type")) {
        let field = field.child("distinguisherMethod").child("type");
        errors.push(FieldError::not_supported(field, method.clone(), &methods));
    }
    let level = field.child("priorityLevelConfiguration").child("name");
    match text(&spec["priorityLevelConfiguration"], "name") {
        "" => errors.push(FieldError::required(level, "must reference a priority level")),
        name => check_subdomain(name, &level, errors),
    }
    for (position, rule) in list(spec, "rules").iter().enumerate() {
        check_rule(rule, &field.child("rules").index(position), errors);
    }
}

fn check_rule(rule: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let subjects = list(rule, "subjects");
    if subjects.is_empty() {
        let detail = "subjects must contain at least one value";
        errors.push(FieldError::required(field.child("subjects"), detail));
    }
    for (position, subject) in subjects.iter().enumerate() {
        check_subject(subject, &field.child("subjects").index(position), errors);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(field, detail));
    }
    for (position, rule) in resources.iter().enumerate() {
        check_resource_rule(rule, &field.child("resourceRules").index(position), errors);
    }
    for (position, rule) in others.iter().enumerate() {
        let field = field.child("nonResourceRules").index(position);
        check_verbs(rule, &field, errors);
        check_all_or_some(
            rule,
            ("nonResourceURLs", "nonResourceURLs must contain at least one value", "non-resource URLs"),
            &field,
            errors,
        );
    }
}

fn check_subject(subject: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let kinds = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = text(subject, "kind");
    let Some((_, own)) = kinds.iter().find(|(name, _)| *name == kind) else {
        let names = kinds.map(|(name, _)| name);
        errors.push(FieldError::not_supported(field.child("kind"), kind, &names));
        return;
    };
    for (name, key) in kinds.iter().filter(|(_, key)| key != own && has(subject, key)) {
        let detail = format!("{key} is forbidden when subject kind is not '{name}'");
        errors.push(FieldError::forbidden(field.child(key), &detail));
    }
    let field = field.child(own);
    if !has(subject, own) {
        let detail = format!("{own} is required when subject kind is '{kind}'");
        errors.push(FieldError::required(field, &detail));
        return;
    }
    let subject = &subject[*own];
    match text(subject, "name") {
        "" => errors.push(FieldError::required(field.child("name"), "")),
        name if kind == "ServiceAccount" && name != ALL => {
            check_subdomain(name, &field.child("name"), errors)
        }
        _ => {}
    }
    if kind == "ServiceAccount" {
        match text(subject, "namespace") {
            "" => {
                let detail = "must specify namespace for service account";
                errors.push(FieldError::required(field.child("namespace"), detail));
            }
            namespace => report(names::dns_label(namespace), &field.child("namespace"), namespace, errors),
        }
    }
}

fn check_resource_rule(rule: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_verbs(rule, field, errors);
    for (key, missing, others) in [
        ("apiGroups", "resource rules must supply at least one api group", "api groups"),
        ("resources", "resource rules must supply at least one resource", "resources"),
    ] {
        check_all_or_some(rule, (key, missing, others), field, errors);
    }
    let namespaces = list(rule, "namespaces");
    if !(namespaces.is_empty() && is_true(rule, "clusterScope")) {
        let missing = "resource rules that are not cluster scoped must supply at least one namespace";
        check_all_or_some(rule, ("namespaces", missing, "namespaces"), field, errors);
    }
    for (position, namespace) in namespaces.iter().filter_map(Value::as_str).enumerate() {
        let problems = names::dns_label(namespace).into_iter().filter(|_| namespace != ALL);
        let problems = problems.map(|problem| {
            format!("each member of this list must be '*' or a DNS-1123 label; {problem}").into()
        });
        report(problems.collect(), &field.child("namespaces").index(position), namespace, errors);
    }
}

fn check_verbs(rule: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let missing = "verbs must contain at least one value";
    check_all_or_some(rule, ("verbs", missing, "verbs"), field, errors);
    let verbs = list(rule, "verbs");
    let is_known = |verb: &Value| VERBS.contains(&verb.as_str().unwrap_or_default());
    if !verbs.iter().any(|verb| verb == ALL) && !verbs.iter().all(is_known) {
        errors.push(FieldError::not_supported(field.child("verbs"), rule["verbs"].clone(), &VERBS));
    }
}

/// A list holds something, and nothing else when it means everything.
fn check_all_or_some(
    rule: &Value,
    (key, missing, others): (&str, &str, &str),
    field: &Path,
    errors: &mut Vec<FieldError>,
) {
    let values = list(rule, key);
    if values.is_empty() {
        errors.push(FieldError::required(field.child(key), missing));
    } else if values.len() > 1 && values.iter().any(|value| value == ALL) {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.push(FieldError::invalid(field.child(key), rule[key].clone(), &detail));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let conditions = list(&object["status"], "conditions");
    let dangling = conditions.iter().find(|condition| condition["type"] == "Dangling");
    vec![
        text(&object["metadata"], "name").into(),
        text(&spec["priorityLevelConfiguration"], "name").into(),
        spec["matchingPrecedence"].as_i64().unwrap_or_default().into(),
        spec["distinguisherMethod"]["type"].as_str().unwrap_or("<none>").into(),
        age_cell(object, now),
        dangling.map_or("?", |condition| text(condition, "status")).into(),
    ]
}

const ALL: &str = "*";
const PRECEDENCE: i64 = 1_000;
const PRECEDENCE_MAX: i64 = 10_000;
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut object = json!({"metadata": {"name": "f"}, "spec": {
            "priorityLevelConfiguration": {"name": "p"},
            "rules": [{
                "subjects": [{"kind": "Group", "group": {"name": "g"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true}],
            }],
        }});
        change(&mut object["spec"]);
        (KIND.default)(&mut object);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn schemas_match_something() {
        check(|_| {}, &[]);
        check(
            |spec| set(spec, "matchingPrecedence", 1),
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        );
        check(
            |spec| {
                set(
                    &mut spec["rules"][0],
                    "resourceRules",
                    json!([{"verbs": ["x"], "apiGroups": ["a", "*"]}]),
                );
                set(&mut spec["rules"][0]["subjects"][0], "user", json!({"name": "u"}));
            },
            &[
                "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
                "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"x\"]: supported values: \"create\", \"delete\", \
                 \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"a\",\"*\"]: if '*' is present, must not specify \
                 other api groups",
                "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must \
                 supply at least one namespace",
            ],
        );
    }
}

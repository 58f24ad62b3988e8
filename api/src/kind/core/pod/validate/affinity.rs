//! Rules for node and pod affinity.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        label_selector::{self, check_operator},
        report,
    },
    names,
    value::{has, list, text},
};

pub(super) fn check(affinity: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if has(affinity, "nodeAffinity") {
        check_node(&affinity["nodeAffinity"], &field.child("nodeAffinity"), errors);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let (pods, field) = (&affinity[key], field.child(key));
        for (position, term) in list(pods, REQUIRED).iter().enumerate() {
            check_pod_term(term, &field.child(REQUIRED).index(position), errors);
        }
        for (position, weighted) in list(pods, PREFERRED).iter().enumerate() {
            let field = field.child(PREFERRED).index(position);
            check_weight(weighted, &field, errors);
            check_pod_term(&weighted["podAffinityTerm"], &field.child("podAffinityTerm"), errors);
        }
    }
}

fn check_node(affinity: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if has(affinity, REQUIRED) {
        check_node_terms(&affinity[REQUIRED], &field.child(REQUIRED), errors);
    }
    for (position, weighted) in list(affinity, PREFERRED).iter().enumerate() {
        let field = field.child(PREFERRED).index(position);
        check_weight(weighted, &field, errors);
        check_node_term(&weighted["preference"], &field.child("preference"), errors);
    }
}

/// A selector of nodes must have terms.
pub(in crate::kind) fn check_node_terms(selector: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let field = field.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&field, "must have at least one node selector term"));
    }
    for (position, term) in terms.iter().enumerate() {
        check_node_term(term, &field.index(position), errors);
    }
}

fn check_weight(weighted: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let weight = weighted["weight"].as_i64().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(field.child("weight"), weight, "must be in the range 1-100"));
    }
}

fn check_node_term(term: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (position, requirement) in list(term, "matchExpressions").iter().enumerate() {
        let field = field.child("matchExpressions").index(position);
        check_operator(requirement, &field, &["Gt", "Lt"], errors);
        let key = text(requirement, "key");
        report(names::qualified_name(key), &field.child("key"), key, errors);
    }
    for (position, requirement) in list(term, "matchFields").iter().enumerate() {
        let field = field.child("matchFields").index(position);
        let values = list(requirement, "values");
        let operator = text(requirement, "operator");
        if !["In", "NotIn"].contains(&operator) {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(field.child("operator"), operator, detail));
        } else if values.len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(field.child("values"), detail));
        }
        let key = text(requirement, "key");
        if key != "metadata.name" {
            errors.push(FieldError::invalid(field.child("key"), key, "not a valid field selector key"));
        }
        for (position, name) in values.iter().filter_map(Value::as_str).enumerate() {
            report(names::dns_subdomain(name), &field.child("values").index(position), name, errors);
        }
    }
}

fn check_pod_term(term: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for key in ["labelSelector", "namespaceSelector"] {
        label_selector::check(&term[key], &field.child(key), errors);
    }
    for (position, namespace) in list(term, "namespaces").iter().filter_map(Value::as_str).enumerate() {
        report(names::dns_label(namespace), &field.child("namespace").index(position), namespace, errors);
    }
    match text(term, "topologyKey") {
        "" => errors.push(FieldError::required(field.child("topologyKey"), "can not be empty")),
        key => report(names::qualified_name(key), &field.child("topologyKey"), key, errors),
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

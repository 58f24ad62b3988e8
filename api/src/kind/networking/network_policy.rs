//! NetworkPolicy.

use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    ip,
    kind::{Column, Generation, Kind, age_cell, label_selector, report, rules::check_port_number},
    names,
    selector::LabelSelector,
    value::{default, default_text, has, list, list_mut, object_mut, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    schema: "io.k8s.api.networking.v1.NetworkPolicy",
    columns: &[Column::NAME, Column::shown("Pod-Selector", "The pods that it is about."), Column::AGE],
    generation: Generation::CountsSpecChanges,
    inert: Some("nothing keeps traffic from pods yet"),
    default: apply_defaults,
    validate,
    row: |object, now| {
        let selector = LabelSelector::from_object(&object["spec"]["podSelector"]).unwrap_or_default();
        let selector = if selector.is_empty() { "<none>".to_owned() } else { selector.to_string() };
        vec![text(&object["metadata"], "name").into(), selector.into(), age_cell(object, now)]
    },
    ..Kind::BASE
};

fn apply_defaults(object: &mut Value) {
    let spec = object_mut(object, "spec");
    default(spec, "podSelector", json!({}));
    for direction in ["ingress", "egress"] {
        for rule in list_mut(spec, direction) {
            for port in list_mut(rule, "ports") {
                default_text(port, "protocol", "TCP");
            }
        }
    }
    if list(spec, "policyTypes").is_empty() {
        let mut types = vec!["Ingress"];
        types.extend((!list(spec, "egress").is_empty()).then_some("Egress"));
        crate::value::set(spec, "policyTypes", json!(types));
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    label_selector::check(&spec["podSelector"], &field.child("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (position, rule) in list(spec, direction).iter().enumerate() {
            let field = field.child(direction).index(position);
            for (position, port) in list(rule, "ports").iter().enumerate() {
                check_port(port, &field.child("ports").index(position), errors);
            }
            for (position, peer) in list(rule, peers).iter().enumerate() {
                check_peer(peer, &field.child(peers).index(position), errors);
            }
        }
    }
    let (types, field) = (list(spec, "policyTypes"), field.child("policyTypes"));
    if types.len() > TYPES.len() {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(field, json!(types), detail));
        return;
    }
    for (position, given) in types.iter().enumerate() {
        if !TYPES.contains(&given.as_str().unwrap_or_default()) {
            errors.push(FieldError::not_supported(field.index(position), given.clone(), &TYPES));
        }
    }
}

fn check_port(port: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let protocol = text(port, "protocol");
    let protocols = ["TCP", "UDP", "SCTP"];
    if !protocols.contains(&protocol) {
        errors.push(FieldError::not_supported(field.child("protocol"), protocol, &protocols));
    }
    let end = port["endPort"].as_i64();
    let end_field = field.child("endPort");
    let mut refuse_end = |detail| {
        if let Some(end) = end {
            errors.push(FieldError::invalid(&end_field, end, detail));
        }
    };
    match &port["port"] {
        Value::Null => refuse_end("may not be specified when `port` is not specified"),
        Value::String(name) => {
            refuse_end("may not be specified when `port` is non-numeric");
            report(names::port_name(name), &field.child("port"), name, errors);
        }
        number => {
            let number = number.as_i64().unwrap_or_default();
            if end.is_some_and(|end| end < number) {
                refuse_end("must be greater than or equal to `port`");
            }
            check_port_number(number, &field.child("port"), errors);
            if let Some(end) = end {
                check_port_number(end, &end_field, errors);
            }
        }
    }
}

fn check_peer(peer: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let selectors = ["podSelector", "namespaceSelector"];
    for key in selectors.into_iter().filter(|key| has(peer, key)) {
        label_selector::check(&peer[key], &field.child(key), errors);
    }
    let is_block = has(peer, "ipBlock");
    if is_block {
        check_block(&peer["ipBlock"], &field.child("ipBlock"), errors);
    }
    let count = selectors.iter().filter(|key| has(peer, key)).count();
    if count == 0 && !is_block {
        errors.push(FieldError::required(field, "must specify a peer"));
    } else if count > 0 && is_block {
        errors.push(FieldError::forbidden(field, "may not specify both ipBlock and another peer"));
    }
}

fn check_block(block: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let range = text(block, "cidr");
    if range.is_empty() {
        errors.push(FieldError::required(field.child("cidr"), ""));
        return;
    }
    let Some(range) = ip::check_cidr(range, &field.child("cidr"), errors) else { return };
    for (position, except) in list(block, "except").iter().filter_map(Value::as_str).enumerate() {
        let field = field.child("except").index(position);
        let parsed = ip::check_cidr(except, &field, errors);
        if parsed.is_some_and(|except| !range.strictly_contains(except)) {
            errors.push(FieldError::invalid(field, except, "must be a strict subset of `cidr`"));
        }
    }
}

const TYPES: [&str; 2] = ["Ingress", "Egress"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Value, expected: &[&str]) {
        let mut object = json!({"spec": {"ingress": [rule]}});
        apply_defaults(&mut object);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn peers_are_pods_or_ranges() {
        let block = |except: &str| json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": [except]}}]});
        check(block("10.1.0.0/16"), &[]);
        check(
            block("10.0.0.0/8"),
            &[
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
            ],
        );
        check(json!({"from": [{}]}), &["spec.ingress[0].from[0]: Required value: must specify a peer"]);
        check(
            json!({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}),
            &[
                "spec.ingress[0].from[0].podSelector.matchExpressions[0].values: Required value: must be specified when \
                 `operator` is 'In' or 'NotIn'",
            ],
        );
    }

    #[test]
    fn ports_may_be_ranges() {
        check(json!({"ports": [{"port": 80, "endPort": 90}, {}, {"port": "web"}]}), &[]);
        check(
            json!({"ports": [{"port": 80, "endPort": 70}, {"endPort": 1}, {"port": "web", "endPort": 1}]}),
            &[
                "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
                "spec.ingress[0].ports[1].endPort: Invalid value: 1: may not be specified when `port` is not specified",
                "spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is non-numeric",
            ],
        );
    }
}

//! Endpoints: the older form of what EndpointSlices say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    ip,
    kind::{
        Column, Kind, age_cell, report,
        rules::{check_choice, check_port_number, check_subdomain},
    },
    names,
    value::{default_text, list, list_mut, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    schema: "io.k8s.api.core.v1.Endpoints",
    columns: &[Column::NAME, Column::shown("Endpoints", "Addresses and ports that are ready."), Column::AGE],
    deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    default: |object| {
        for subset in list_mut(object, "subsets") {
            for port in list_mut(subset, "ports") {
                default_text(port, "protocol", "TCP");
            }
        }
    },
    validate,
    validate_update,
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    for (position, subset) in list(object, "subsets").iter().enumerate() {
        let field = Path::new("subsets").index(position);
        if ADDRESS_LISTS.iter().all(|key| list(subset, key).is_empty()) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&field, detail));
        }
        for key in ADDRESS_LISTS {
            for (position, address) in list(subset, key).iter().enumerate() {
                check_address(address, &field.child(key).index(position), errors);
            }
        }
        let ports = list(subset, "ports");
        for (position, port) in ports.iter().enumerate() {
            let field = field.child("ports").index(position);
            match text(port, "name") {
                "" if ports.len() > 1 => errors.push(FieldError::required(field.child("name"), "")),
                "" => {}
                name => report(names::dns_label(name), &field.child("name"), name, errors),
            }
            check_port_number(port["port"].as_i64().unwrap_or_default(), &field.child("port"), errors);
            check_choice(port, "protocol", &field, &["SCTP", "TCP", "UDP"], errors);
        }
    }
}

fn check_address(address: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let known = errors.len();
    let parsed = ip::check_ip(text(address, "ip"), &field.child("ip"), errors);
    let hostname = text(address, "hostname");
    if !hostname.is_empty() {
        report(names::dns_label(hostname), &field.child("hostname"), hostname, errors);
    }
    if let Some(node) = address["nodeName"].as_str() {
        check_subdomain(node, &field.child("nodeName"), errors);
    }
    if let Some(parsed) = parsed.filter(|_| errors.len() == known) {
        ip::check_not_special(parsed, &field.child("ip"), errors);
    }
}

/// An address stays on its node.
fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let on_nodes =
        addresses(old).filter_map(|(_, address)| Some((text(address, "ip"), address["nodeName"].as_str()?)));
    let known: BTreeMap<&str, &str> = on_nodes.collect();
    for (field, address) in addresses(new) {
        let (ip, node) = (text(address, "ip"), address["nodeName"].as_str());
        if let (Some(node), Some(before)) = (node, known.get(ip))
            && node != *before
        {
            let detail = format!("Cannot change NodeName for {ip} to {node}");
            errors.push(FieldError::forbidden(field.child("nodeName"), &detail));
        }
    }
}

fn addresses(object: &Value) -> impl Iterator<Item = (Path, &Value)> {
    let lists = list(object, "subsets").iter().enumerate().flat_map(|(position, subset)| {
        let field = Path::new("subsets").index(position);
        ADDRESS_LISTS.into_iter().map(move |key| (field.child(key), list(subset, key)))
    });
    lists.flat_map(|(field, list)| {
        list.iter().enumerate().map(move |(position, address)| (field.index(position), address))
    })
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut shown = Vec::new();
    for subset in list(object, "subsets") {
        let ports = list(subset, "ports");
        for address in list(subset, "addresses").iter().filter(|_| ports.is_empty()) {
            shown.push(text(address, "ip").to_owned());
        }
        for port in ports {
            let number = port["port"].as_i64().unwrap_or_default();
            for address in list(subset, "addresses") {
                shown.push(match text(address, "ip") {
                    ip if ip.contains(':') => format!("[{ip}]:{number}"),
                    ip => format!("{ip}:{number}"),
                });
            }
        }
    }
    let cell = if shown.is_empty() { "<none>".to_owned() } else { crate::kind::some_of(&shown) };
    vec![text(&object["metadata"], "name").into(), cell.into(), age_cell(object, now)]
}

const ADDRESS_LISTS: [&str; 2] = ["addresses", "notReadyAddresses"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(subsets: Value, expected: &[&str]) {
        let mut object = json!({"subsets": subsets});
        (KIND.default)(&mut object);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{object}");
    }

    #[test]
    fn subsets_hold_addresses_of_others() {
        check(json!([{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]), &[]);
        check(json!([{}]), &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]);
        check(
            json!([{"notReadyAddresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 0, "protocol": "X"}]}]),
            &[
                "subsets[0].notReadyAddresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range \
                 (127.0.0.0/8, ::1/128)",
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[0].ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        );
    }

    #[test]
    fn an_address_stays_on_its_node() {
        let at = |node| json!({"subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": node}]}]});
        let mut errors = Vec::new();
        validate_update(&at("a"), &at("a"), &mut errors);
        assert!(errors.is_empty());
        validate_update(&at("b"), &at("a"), &mut errors);
        assert_eq!(
            errors[0].to_string(),
            "subsets[0].addresses[0].nodeName: Forbidden: Cannot change NodeName for 10.0.0.1 to b"
        );
    }

    #[test]
    fn rows_show_three_endpoints() {
        let object = json!({"metadata": {"name": "e"}, "subsets": [{
            "addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "ports": [{"port": 80}, {"port": 81}],
        }]});
        assert_eq!(
            row(&object, Timestamp::UNIX_EPOCH)[1],
            "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more..."
        );
        assert_eq!(row(&json!({}), Timestamp::UNIX_EPOCH)[1], "<none>");
    }
}

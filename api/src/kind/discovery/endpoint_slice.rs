//! EndpointSlice: some of the addresses behind a Service.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    ip,
    kind::{
        Column, FieldLabels, Generation, Kind, age_cell, report,
        rules::{check_choice, check_port_number, check_same, check_subdomain},
        some_of,
    },
    names,
    value::{default, default_text, entries, has, list, list_mut, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    columns: &[
        Column::NAME,
        Column::shown("AddressType", "What its addresses are."),
        Column::shown("Ports", "Its ports."),
        Column::shown("Endpoints", "Its addresses."),
        Column::AGE,
    ],
    generation: Generation::CountsChanges,
    fields: FieldLabels::MetadataOnly,
    default: |object| {
        for port in list_mut(object, "ports") {
            default(port, "name", "");
            default_text(port, "protocol", "TCP");
        }
    },
    validate,
    validate_update: |new, old, errors| {
        check_same(&new["addressType"], &old["addressType"], "addressType", errors);
    },
    warnings: |object| {
        let is_named = text(object, "addressType") == "FQDN";
        let warning = "spec.addressType: FQDN endpoints are deprecated";
        is_named.then(|| warning.to_owned()).into_iter().collect()
    },
    row,
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    check_choice(object, "addressType", &Path::new(""), &["FQDN", "IPv4", "IPv6"], errors);
    let (endpoints, field) = (list(object, "endpoints"), Path::new("endpoints"));
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(&field, endpoints.len(), ENDPOINTS_MAX));
    } else {
        for (position, endpoint) in endpoints.iter().enumerate() {
            check_endpoint(endpoint, text(object, "addressType"), &field.index(position), errors);
        }
    }
    check_ports(list(object, "ports"), &Path::new("ports"), errors);
}

fn check_endpoint(endpoint: &Value, family: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let addresses = list(endpoint, "addresses");
    let all = field.child("addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(&all, "must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(&all, addresses.len(), ADDRESSES_MAX));
    }
    for (position, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
        let field = all.index(position);
        match family {
            "IPv4" | "IPv6" => check_address(address, family, &field, errors),
            "FQDN" => report(names::fully_qualified_domain_name(address), &field, address, errors),
            _ => {}
        }
    }
    if let Some(node) = endpoint["nodeName"].as_str() {
        check_subdomain(node, &field.child("nodeName"), errors);
    }
    check_topology(endpoint, &field.child("deprecatedTopology"), errors);
    if let Some(hostname) = endpoint["hostname"].as_str() {
        report(names::dns_label(hostname), &field.child("hostname"), hostname, errors);
    }
    check_hints(&endpoint["hints"], &field.child("hints"), errors);
}

fn check_address(address: &str, family: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let Some(parsed) = ip::check_ip(address, field, errors) else { return };
    if ip::family(parsed) != family {
        let detail = format!("must be a valid {family} address");
        errors.push(FieldError::invalid(field, address, &detail));
    }
    ip::check_not_special(parsed, field, errors);
}

fn check_topology(endpoint: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let count = entries(endpoint, "deprecatedTopology").count();
    if count > TOPOLOGY_LABELS_MAX {
        errors.push(FieldError::too_many(field, count, TOPOLOGY_LABELS_MAX));
    }
    for (key, value) in entries(endpoint, "deprecatedTopology") {
        report(names::qualified_name(key), field, key, errors);
        let value = value.as_str().unwrap_or_default();
        report(names::label_value(value), field, value, errors);
    }
    let hostname = "kubernetes.io/hostname";
    if has(&endpoint["deprecatedTopology"], hostname) && has(endpoint, "nodeName") {
        let detail = "use nodeName instead";
        errors.push(FieldError::forbidden(field.key(hostname), detail));
    }
}

fn check_hints(hints: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (key, most) in [("forZones", HINTS_MAX), ("forNodes", HINTS_MAX)] {
        let (all, field) = (list(hints, key), field.child(key));
        if all.len() > most {
            errors.push(FieldError::too_many(&field, all.len(), most));
            continue;
        }
        for (position, hint) in all.iter().enumerate() {
            let name = field.index(position).child("name");
            if all[..position].iter().any(|other| other["name"] == hint["name"]) {
                errors.push(FieldError::duplicate(&name, hint["name"].clone()));
            }
            let hint = text(hint, "name");
            report(names::label_value(hint), &name, hint, errors);
        }
    }
}

fn check_ports(ports: &[Value], field: &Path, errors: &mut Vec<FieldError>) {
    if ports.len() > PORTS_MAX {
        errors.push(FieldError::too_many(field, ports.len(), PORTS_MAX));
        return;
    }
    for (position, port) in ports.iter().enumerate() {
        let field = field.index(position);
        let name = text(port, "name");
        if !name.is_empty() {
            report(names::dns_label(name), &field.child("name"), name, errors);
        }
        if ports[..position].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(field.child("name"), name));
        }
        check_choice(port, "protocol", &field, &["SCTP", "TCP", "UDP"], errors);
        if let Some(number) = port["port"].as_i64() {
            check_port_number(number, &field.child("port"), errors);
        }
        if let Some(protocol) = port["appProtocol"].as_str() {
            report(names::qualified_name(protocol), &field.child("appProtocol"), protocol, errors);
        }
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let port = |port: &Value| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => port["name"].as_str().unwrap_or("*").to_owned(),
    };
    let ports: Vec<String> = list(object, "ports").iter().map(port).collect();
    let endpoints = list(object, "endpoints").iter().flat_map(|endpoint| list(endpoint, "addresses"));
    let addresses: Vec<&str> = endpoints.filter_map(Value::as_str).collect();
    let or_unset = |cell: String| if cell.is_empty() { "<unset>".to_owned() } else { cell };
    vec![
        text(&object["metadata"], "name").into(),
        text(object, "addressType").into(),
        or_unset(some_of(&ports)).into(),
        or_unset(some_of(&addresses)).into(),
        age_cell(object, now),
    ]
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_LABELS_MAX: usize = 16;
const HINTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(family: &str, endpoints: Value, ports: Value, expected: &[&str]) {
        let mut object = json!({"addressType": family, "endpoints": endpoints, "ports": ports});
        (KIND.default)(&mut object);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn addresses_are_of_the_family() {
        check("IPv4", json!([{"addresses": ["10.0.0.1"]}]), json!([{"port": 80}]), &[]);
        check("FQDN", json!([{"addresses": ["a.example."]}]), json!([]), &[]);
        check(
            "IPv4",
            json!([{"addresses": ["fd00::1"]}, {"addresses": ["127.0.0.1"]}]),
            json!([]),
            &[
                "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address",
                "endpoints[1].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
                 ::1/128)",
            ],
        );
        check(
            "FQDN",
            json!([{"addresses": ["a"]}]),
            json!([]),
            &[
                "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by \
                 dots",
            ],
        );
    }

    #[test]
    fn ports_differ_in_name() {
        check(
            "IPv4",
            json!([]),
            json!([{"name": "a"}, {"name": "a", "protocol": "X"}, {"name": "A"}]),
            &[
                "ports[1].name: Duplicate value: \"a\"",
                "ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                "ports[2].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric \
                 characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
                 regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        );
    }

    #[test]
    fn rows_show_ports_and_addresses() {
        let object = json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "web"}, {}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]});
        let cells = row(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(cells[2..4], ["80,web,*", "10.0.0.1,10.0.0.2"].map(Value::from));
        assert_eq!(row(&json!({}), Timestamp::UNIX_EPOCH)[2], "<unset>");
    }
}

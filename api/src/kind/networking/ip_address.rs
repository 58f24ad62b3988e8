//! IPAddress: whose an address of the cluster is.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        Column, Kind, report,
        rules::{check_path_segment, check_same, check_subdomain},
    },
    names::{self, NameRule},
    value::{has, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    namespaced: false,
    schema: "io.k8s.api.networking.v1.IPAddress",
    columns: &[Column::NAME, Column::shown("ParentRef", "Whose it is.")],
    name_rule: NameRule::IpAddress,
    validate,
    validate_update: |new, old, errors| {
        check_same(&new["spec"]["parentRef"], &old["spec"]["parentRef"], "spec.parentRef", errors);
    },
    row: |object, _| vec![text(&object["metadata"], "name").into(), parent_cell(object).into()],
    ..Kind::BASE
};

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let field = Path::new("spec.parentRef");
    let parent = &object["spec"]["parentRef"];
    if !has(&object["spec"], "parentRef") {
        errors.push(FieldError::required(field, ""));
        return;
    }
    let group = text(parent, "group");
    if !group.is_empty() {
        check_subdomain(group, &field.child("group"), errors);
    }
    check_path_segment(parent, "resource", &field, errors);
    check_path_segment(parent, "name", &field, errors);
    let namespace = text(parent, "namespace");
    report(names::path_segment(namespace), &field.child("namespace"), namespace, errors);
}

fn parent_cell(object: &Value) -> String {
    let parent = &object["spec"]["parentRef"];
    let resource = match text(parent, "group") {
        "" => text(parent, "resource").to_owned(),
        group => format!("{}.{group}", text(parent, "resource")),
    };
    let parts =
        [resource.to_lowercase(), text(parent, "namespace").to_owned(), text(parent, "name").to_owned()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_addresses() {
        let check =
            |name: &str, expected: &[&str]| assert_eq!(KIND.name_rule.check(name), expected, "{name}");
        check("10.43.0.1", &[]);
        check("2001:db8::1", &[]);
        check("2001:DB8::1", &["must be in canonical form (\"2001:db8::1\")"]);
        check("x", &["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
    }

    #[test]
    fn an_address_is_somebodys() {
        let check = |spec: Value, expected: &[&str]| {
            let mut errors = Vec::new();
            validate(&json!({"spec": spec}), &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(json!({}), &["spec.parentRef: Required value"]);
        check(json!({"parentRef": {"resource": "services", "name": "s", "namespace": "n"}}), &[]);
        check(
            json!({"parentRef": {"resource": "a/b"}}),
            &[
                "spec.parentRef.resource: Invalid value: \"a/b\": may not contain '/'",
                "spec.parentRef.name: Required value",
            ],
        );
    }

    #[test]
    fn rows_name_the_parent() {
        let object = json!({"spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "n"}}});
        assert_eq!(parent_cell(&object), "services/n/s");
        let object = json!({"spec": {"parentRef": {"group": "G.example", "resource": "foos", "name": "s"}}});
        assert_eq!(parent_cell(&object), "foos.g.example/s");
    }
}

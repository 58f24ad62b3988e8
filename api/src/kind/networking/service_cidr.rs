//! ServiceCIDR: a range of addresses for Services.

use serde_json::{Value, json};

use crate::{
    field::{FieldError, Path},
    ip,
    kind::{Column, Kind, Subresource, age_cell},
    value::{list, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    namespaced: false,
    schema: "io.k8s.api.networking.v1.ServiceCIDR",
    subresources: &[Subresource::STATUS],
    columns: &[Column::NAME, Column::shown("CIDRs", "Its ranges."), Column::AGE],
    prepare_create: |object, _| set(object, "status", json!({})),
    prepare_update: |new, old| put(new, "status", old["status"].clone()),
    validate: |object, errors| check_ranges(list(&object["spec"], "cidrs"), errors),
    validate_update,
    row: |object, now| {
        let ranges: Vec<&str> = list(&object["spec"], "cidrs").iter().filter_map(Value::as_str).collect();
        vec![text(&object["metadata"], "name").into(), ranges.join(",").into(), age_cell(object, now)]
    },
    ..Kind::BASE
};

fn check_ranges(ranges: &[Value], errors: &mut Vec<FieldError>) {
    let field = Path::new("spec.cidrs");
    match ranges.len() {
        0 => errors.push(FieldError::required(&field, "at least one CIDR required")),
        1 | 2 => {}
        _ => {
            let shown = json!({"CIDRs": ranges});
            errors.push(FieldError::invalid(&field, shown, "may only hold up to 2 values"));
            return;
        }
    }
    let texts = ranges.iter().map(|range| range.as_str().unwrap_or_default());
    let parsed: Vec<_> =
        texts.enumerate().filter_map(|(i, range)| ip::check_cidr(range, &field.index(i), errors)).collect();
    for (position, range) in parsed.iter().enumerate() {
        let canonical = format!("{}/{}", range.network(), range.bits());
        if parsed.len() == ranges.len() && ranges[position] != canonical.as_str() {
            let detail = format!("must be in canonical form (\"{canonical}\")");
            errors.push(FieldError::invalid(field.index(position), ranges[position].clone(), &detail));
        }
    }
    if matches!(parsed.as_slice(), [one, other] if one.is_ipv6() == other.is_ipv6()) {
        let detail =
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(&field, json!(ranges), detail));
    }
}

/// The range of the other family may be added; nothing else changes.
fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (now, before) = (list(&new["spec"], "cidrs"), list(&old["spec"], "cidrs"));
    let field = Path::new("spec.cidrs");
    let detail = "field is immutable";
    if now.len() == before.len() || (before.len() == 1 && now.len() == 2) {
        let changed = before.iter().enumerate().filter(|(position, range)| now[*position] != **range);
        for (position, _) in changed {
            errors.push(FieldError::invalid(field.index(position), now[position].clone(), detail));
        }
    } else {
        errors.push(FieldError::invalid(&field, json!(now), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ranges: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        check_ranges(ranges.as_array().unwrap(), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn ranges_are_one_of_each_family() {
        check(json!(["10.43.0.0/16", "fd00::/112"]), &[]);
        check(json!([]), &["spec.cidrs: Required value: at least one CIDR required"]);
        check(
            json!(["10.43.0.1/16"]),
            &["spec.cidrs[0]: Invalid value: \"10.43.0.1/16\": must be in canonical form (\"10.43.0.0/16\")"],
        );
        check(
            json!(["10.43.0.0/16", "10.44.0.0/16"]),
            &[
                "spec.cidrs: Invalid value: [\"10.43.0.0/16\",\"10.44.0.0/16\"]: may specify no more than one IP for each IP \
                 family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ],
        );
    }

    #[test]
    fn ranges_only_grow() {
        let check = |now: Value, expected: usize| {
            let mut errors = Vec::new();
            let of = |cidrs| json!({"spec": {"cidrs": cidrs}});
            validate_update(&of(now), &of(json!(["10.43.0.0/16"])), &mut errors);
            assert_eq!(errors.len(), expected, "{errors:?}");
        };
        check(json!(["10.43.0.0/16", "fd00::/112"]), 0);
        check(json!(["10.44.0.0/16"]), 1);
        check(json!([]), 1);
    }
}

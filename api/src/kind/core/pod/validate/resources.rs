//! Rules for requests and limits.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::report,
    names,
    quantity::Quantity,
    value::{entries, list, text},
};

pub(super) fn check(resources: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for list_name in ["limits", "requests"] {
        for (name, amount) in entries(resources, list_name) {
            let field = field.child(list_name).key(name);
            check_name(name, &field, errors);
            check_amount(name, amount, &field, errors);
            if list_name == "requests" {
                check_within_limit(resources, name, errors, &field_of_requests(&field));
            }
        }
    }
    let mut seen = Vec::new();
    for (position, claim) in list(resources, "claims").iter().enumerate() {
        let name = text(claim, "name");
        let field = field.child("claims").index(position);
        if name.is_empty() {
            errors.push(FieldError::required(field.child("name"), ""));
        } else if seen.contains(&(name, text(claim, "request"))) {
            errors.push(FieldError::duplicate(field, name));
        }
        seen.push((name, text(claim, "request")));
    }
}

/// `...requests` of `...requests[name]`: a request over its limit is reported on the whole list.
fn field_of_requests(field: &Path) -> Path {
    Path::new(field.as_str().rsplit_once('[').map_or(field.as_str(), |(list, _)| list))
}

fn check_name(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let problems = names::qualified_name(name);
    if !problems.is_empty() {
        report(problems, field, name, errors);
    } else if !name.contains('/') && !is_standard(name) {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(field, name, detail));
        errors.push(FieldError::invalid(field, name, "must be a standard resource for containers"));
    }
}

fn check_amount(name: &str, amount: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let Some(quantity) = parse(amount) else { return };
    if quantity.is_negative() {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(field, amount.clone(), detail));
    } else if is_extended(name) && !quantity.is_whole() {
        errors.push(FieldError::invalid(field, amount.clone(), "must be an integer"));
    }
}

fn check_within_limit(resources: &Value, name: &str, errors: &mut Vec<FieldError>, field: &Path) {
    let request = &resources["requests"][name];
    let limit = &resources["limits"][name];
    let Some(requested) = parse(request) else { return };
    let whole = is_extended(name) || name.starts_with("hugepages-");
    match parse(limit) {
        Some(limited) if whole && requested != limited => {
            let limit = text_of(limit);
            let detail = format!("must be equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(field, request.clone(), &detail));
        }
        Some(limited) if !whole && requested > limited => {
            let limit = text_of(limit);
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(field, request.clone(), &detail));
        }
        None if whole => {
            let limits = Path::new(&field.as_str().replace(".requests", ".limits"));
            errors.push(FieldError::required(limits, "Limit must be set for non overcommitable resources"));
        }
        _ => {}
    }
}

fn parse(amount: &Value) -> Option<Quantity> {
    amount.as_str()?.parse().ok()
}

fn text_of(amount: &Value) -> &str {
    amount.as_str().unwrap_or_default()
}

fn is_standard(name: &str) -> bool {
    ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-")
}

/// A resource that only whole units of exist.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(prefix, _)| !prefix.ends_with("kubernetes.io"))
}

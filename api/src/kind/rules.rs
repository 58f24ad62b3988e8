//! Rules that objects of several kinds share.

use serde_json::Value;

use super::report;
use crate::{
    field::{FieldError, Path},
    names,
    quantity::Quantity,
    value::text,
};

/// The field must be there and hold one of `choices`.
pub(super) fn check_choice(
    holder: &Value,
    key: &str,
    field: &Path,
    choices: &[&str],
    errors: &mut Vec<FieldError>,
) {
    match text(holder, key) {
        "" => errors.push(FieldError::required(field.child(key), "")),
        _ => check_optional_choice(holder, key, field, choices, errors),
    }
}

/// The field must hold one of `choices` when it is there.
pub(super) fn check_optional_choice(
    holder: &Value,
    key: &str,
    field: &Path,
    choices: &[&str],
    errors: &mut Vec<FieldError>,
) {
    let given = holder[key].as_str();
    if let Some(given) = given.filter(|given| !choices.contains(given)) {
        errors.push(FieldError::not_supported(field.child(key), given, choices));
    }
}

/// The field must be there and not empty.
pub(super) fn check_required(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if text(holder, key).is_empty() {
        errors.push(FieldError::required(field.child(key), ""));
    }
}

/// The field may not differ from what it was.
pub(super) fn check_same(new: &Value, old: &Value, field: impl Into<Path>, errors: &mut Vec<FieldError>) {
    if new != old {
        errors.push(FieldError::invalid(field, new.clone(), "field is immutable"));
    }
}

/// The field holds the name of an object, as most kinds' names are.
pub(super) fn check_subdomain(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    report(names::dns_subdomain(name), field, name, errors);
}

/// The field must be there and hold what can be part of a path.
pub(super) fn check_path_segment(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    match text(holder, key) {
        "" => errors.push(FieldError::required(field.child(key), "")),
        name => report(names::path_segment(name), &field.child(key), name, errors),
    }
}

/// A port's number.
pub(super) fn check_port_number(port: i64, field: &Path, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&port) {
        errors.push(FieldError::invalid(field, port, "must be between 1 and 65535, inclusive"));
    }
}

/// A port's number or name.
pub(super) fn check_port(port: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    match port {
        Value::String(name) => report(names::port_name(name), field, name, errors),
        port => check_port_number(port.as_i64().unwrap_or_default(), field, errors),
    }
}

/// A quantity of the object, which is well formed since the object was decoded.
pub(super) fn quantity(amount: &Value) -> Option<Quantity> {
    amount.as_str().and_then(|text| text.parse().ok())
}

/// An amount that may not be negative, of a resource that may come in whole numbers only.
pub(super) fn check_amount(resource: &str, amount: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let Some(quantity) = quantity(amount) else { return };
    if quantity.is_negative() {
        errors.push(FieldError::invalid(field, amount.clone(), "must be greater than or equal to 0"));
    }
    if is_counted(resource) && !quantity.is_whole() {
        errors.push(FieldError::invalid(field, amount.clone(), "must be an integer"));
    }
}

/// An amount that must be more than nothing.
pub(super) fn check_positive(amount: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if quantity(amount).is_some_and(|quantity| quantity.is_negative() || quantity.is_zero()) {
        errors.push(FieldError::invalid(field, amount.clone(), "must be greater than zero"));
    }
}

/// The name of a resource: a standard one, or one of somebody's own. Answers whether it is one.
pub(super) fn check_resource_name(name: &str, field: &Path, errors: &mut Vec<FieldError>) -> bool {
    let problems = names::qualified_name(name);
    let is_malformed = !problems.is_empty();
    report(problems, field, name, errors);
    let is_unknown = !is_malformed && !name.contains('/') && !is_standard_resource(name);
    if is_unknown {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(field, name, detail));
    }
    !is_malformed && !is_unknown
}

/// The name of a resource that containers ask for.
pub(super) fn check_container_resource_name(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    check_resource_name(name, field, errors);
    if !name.contains('/') {
        if !is_container_resource(name) {
            errors.push(FieldError::invalid(field, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(field, name, "doesn't follow extended resource name standard"));
    }
}

/// Whether requests for the resource may exceed what there is.
pub(super) fn may_be_overcommitted(resource: &str) -> bool {
    is_native(resource) && !resource.starts_with(HUGE_PAGES)
}

fn is_container_resource(name: &str) -> bool {
    ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with(HUGE_PAGES)
}

/// Whether the resource has no domain, or Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the resource is somebody's own, counted on nodes.
fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_counted(resource: &str) -> bool {
    COUNTED_RESOURCES.contains(&resource) || is_extended(resource)
}

fn is_standard_resource(name: &str) -> bool {
    STANDARD_RESOURCES.contains(&name)
        || COUNTED_RESOURCES.contains(&name)
        || [HUGE_PAGES, "requests.hugepages-"].iter().any(|prefix| name.starts_with(prefix))
}

const HUGE_PAGES: &str = "hugepages-";

const STANDARD_RESOURCES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "requests.storage",
    "storage",
];

/// Resources that come in whole numbers only.
const COUNTED_RESOURCES: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Resources that a quota can bound.
pub(super) fn is_quota_resource(name: &str) -> bool {
    (STANDARD_RESOURCES.contains(&name) && name != "storage")
        || COUNTED_RESOURCES.contains(&name)
        || [HUGE_PAGES, "requests.hugepages-"].iter().any(|prefix| name.starts_with(prefix))
}

//! Rules for requests and limits.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::{
        core::pod::resources::{HUGE_PAGES, is_of_pods, of_containers},
        report,
    },
    names,
    quantity::Quantity,
    value::{entries, has, list, text},
};

/// Of a container.
pub(super) fn check(resources: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    check_lists(resources, field, check_name, errors);
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

/// Of a pod as a whole.
pub(super) fn check_pod(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let resources = &spec["resources"];
    if has(resources, "claims") {
        let detail = "claims cannot be set for Resources at pod-level";
        errors.push(FieldError::forbidden(field.child("claims"), detail));
    }
    check_lists(resources, field, check_pod_name, errors);
    let said = |list: &str, name: &str| parse(&resources[list][name]);
    for (name, all) in of_containers(spec, "requests") {
        if let Some(requested) = said("requests", &name).filter(|requested| all > *requested) {
            let detail = format!("must be greater than or equal to aggregate container requests of {all}");
            let field = field.child("requests").key(&name);
            errors.push(FieldError::invalid(field, requested.to_string(), &detail));
        }
    }
    for (name, all) in of_containers(spec, "limits").into_iter().filter(|(name, _)| is_huge_pages(name)) {
        if let Some(limit) = said("limits", &name).filter(|limit| all > *limit) {
            let detail = format!("must be greater than or equal to aggregate container limits of {all}");
            let field = field.child("limits").key(&name);
            errors.push(FieldError::invalid(field, limit.to_string(), &detail));
        }
    }
    for (position, container) in list(spec, "containers").iter().enumerate() {
        for (name, amount) in entries(&container["resources"], "limits") {
            let (Some(own), Some(limit)) = (parse(amount), said("limits", name)) else { continue };
            if own > limit {
                let detail = format!("must be less than or equal to pod limits of {limit}");
                let field = field.child("containers").index(position).key(name).child("limits");
                errors.push(FieldError::invalid(field, amount.clone(), &detail));
            }
        }
    }
}

fn check_lists(
    resources: &Value,
    field: &Path,
    check_name: fn(&str, &Path, &mut Vec<FieldError>),
    errors: &mut Vec<FieldError>,
) {
    let (mut huge, mut usual) = (false, false);
    for list_name in ["limits", "requests"] {
        for (name, amount) in entries(resources, list_name) {
            huge |= is_huge_pages(name);
            usual |= ["cpu", "memory"].contains(&name.as_str());
            let field_of_name = field.child(list_name).key(name);
            check_name(name, &field_of_name, errors);
            check_amount(name, amount, &field_of_name, errors);
            if list_name == "requests" {
                check_within_limit(resources, name, errors, &field_of_requests(&field_of_name));
            }
            if is_huge_pages(name) && !is_divisible(name, amount) {
                let amount = text_of(amount);
                let detail = format!("{amount} is not positive integer multiple of {name}");
                // Kubernetes names the one in `limits`, and of `requests` the whole.
                let field = if list_name == "limits" { &field_of_name } else { field };
                errors.push(FieldError::invalid(field.clone(), amount, &detail));
            }
        }
    }
    if huge && !usual {
        errors.push(FieldError::forbidden(field.clone(), "HugePages require cpu or memory"));
    }
}

/// Whether an amount is made of whole pages of the size that the name says.
fn is_divisible(name: &str, amount: &Value) -> bool {
    let page = name.strip_prefix(HUGE_PAGES).and_then(|size| size.parse::<Quantity>().ok());
    let (Some(page), Some(amount)) = (page, parse(amount)) else { return false };
    page.value() > 0 && page.is_whole() && amount.value() % page.value() == 0
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
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

fn check_pod_name(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if !is_of_pods(name) {
        errors.push(FieldError::not_supported(field, name, &["cpu", "hugepages-", "memory"]));
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
    let whole = is_extended(name) || is_huge_pages(name);
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
    ["cpu", "memory", "ephemeral-storage"].contains(&name) || is_huge_pages(name)
}

/// A resource that only whole units of exist.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(prefix, _)| !prefix.ends_with("kubernetes.io"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_of(check: fn(&Value, &Path, &mut Vec<FieldError>), subject: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        check(&subject, &Path::new("resources"), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn large_pages_are_whole_ones_beside_memory_or_processors() {
        let check = |resources: Value, expected: &[&str]| check_of(check, resources, expected);
        let both = |name: &str, amount: &str| json!({"limits": {"cpu": "1", name: amount}, "requests": {"cpu": "1", name: amount}});
        check(both("hugepages-2Mi", "4Mi"), &[]);
        check(
            both("hugepages-2Mi", "3Mi"),
            &[
                r#"resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi"#,
                r#"resources: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi"#,
            ],
        );
        let alone = json!({"limits": {"hugepages-2Mi": "2Mi"}, "requests": {"hugepages-2Mi": "2Mi"}});
        check(alone, &["resources: Forbidden: HugePages require cpu or memory"]);
    }

    #[test]
    fn a_pod_s_own_resources_have_room_for_its_containers() {
        let check = |own: Value, expected: &[&str]| {
            let container = json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "3", "hugepages-2Mi": "4Mi"}}});
            check_of(
                check_pod,
                json!({"resources": own, "containers": [container.clone(), container]}),
                expected,
            );
        };
        check(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "4", "hugepages-2Mi": "8Mi"}}), &[]);
        check(
            json!({"requests": {"cpu": "1500m"}, "limits": {"cpu": "2", "hugepages-2Mi": "6Mi"}}),
            &[
                r#"resources.requests[cpu]: Invalid value: "1500m": must be greater than or equal to aggregate container requests of 2"#,
                r#"resources.limits[hugepages-2Mi]: Invalid value: "6Mi": must be greater than or equal to aggregate container limits of 8Mi"#,
                r#"resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2"#,
                r#"resources.containers[1][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 2"#,
            ],
        );
        check(
            json!({"limits": {"ephemeral-storage": "1Gi"}, "claims": [{"name": "x"}]}),
            &[
                "resources.claims: Forbidden: claims cannot be set for Resources at pod-level",
                r#"resources.limits[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory""#,
            ],
        );
    }
}

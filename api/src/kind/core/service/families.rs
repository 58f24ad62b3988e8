//! The families of a Service's addresses, of which a cluster here has one.

use serde_json::{Value, json};

use super::{NO_ADDRESS, allocate::Ranges, is_headless, needs_address};
use crate::{
    field::{FieldError, Path},
    ip,
    value::{entries, has, list, put, set, text},
};

/// Fills in families and policy, and answers why what is asked for cannot be.
pub(super) fn settle(spec: &mut Value, old: Option<&Value>, ranges: &Ranges) -> Vec<FieldError> {
    if !needs_address(spec) || keeps_preferred(spec, old) {
        return Vec::new();
    }
    let is_bare = text(spec, "clusterIP") == NO_ADDRESS && entries(spec, "selector").next().is_none();
    if !has(spec, "ipFamilyPolicy") {
        let policy = match old.map(|old| &old["ipFamilyPolicy"]).filter(|policy| !policy.is_null()) {
            Some(policy) => policy.clone(),
            // Without a selector nobody but the client knows what is behind it.
            None if is_bare => "RequireDualStack".into(),
            None => "SingleStack".into(),
        };
        put(spec, "ipFamilyPolicy", policy);
    }
    let mut errors = Vec::new();
    check(spec, &mut errors);
    if !errors.is_empty() {
        return errors;
    }
    check_reduction(spec, old, &mut errors);
    infer(spec, ranges, &mut errors);
    if !errors.is_empty() {
        return errors;
    }
    if is_bare {
        complete_bare(spec, ranges);
        return errors;
    }
    check_configured(spec, ranges, &mut errors);
    if errors.is_empty() && list(spec, "ipFamilies").is_empty() {
        set(spec, "ipFamilies", json!([ranges.family()]));
    }
    errors
}

/// A Service that prefers two families stays as it is until its client changes that.
fn keeps_preferred(spec: &Value, old: Option<&Value>) -> bool {
    let fields = ["ipFamilyPolicy", "clusterIP", "clusterIPs", "ipFamilies"];
    text(spec, "ipFamilyPolicy") == "PreferDualStack"
        && old.is_some_and(|old| fields.iter().all(|field| spec[*field] == old[*field]))
}

/// How addresses, families and policy must look and agree.
pub(super) fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    if !needs_address(spec) {
        return;
    }
    let field = Path::new("spec.clusterIPs");
    let (single, all) = (text(spec, "clusterIP"), list(spec, "clusterIPs"));
    let shown = || spec["clusterIPs"].clone();
    match (single, all.first()) {
        ("", Some(_)) => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.push(FieldError::invalid(&field, shown(), detail));
        }
        ("", None) => {}
        (_, None) => errors.push(FieldError::required(&field, "")),
        (single, Some(first)) if first != single => {
            errors.push(FieldError::invalid(&field, shown(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    check_families(spec, errors);
    if has(spec, "ipFamilyPolicy") && !POLICIES.contains(&text(spec, "ipFamilyPolicy")) {
        let policy = spec["ipFamilyPolicy"].clone();
        errors.push(FieldError::not_supported("spec.ipFamilyPolicy", policy, &POLICIES));
    }
    let known = errors.len();
    let mut families = Vec::new();
    for (position, address) in all.iter().filter_map(Value::as_str).enumerate() {
        if position == 0 && address == NO_ADDRESS {
            if all.len() > 1 {
                let detail = "'None' must be the first and only value";
                errors.push(FieldError::invalid(&field, shown(), detail));
            }
            continue;
        }
        families.extend(ip::check_ip(address, &field.index(position), errors).map(ip::family));
    }
    if all.len() > 2 {
        errors.push(FieldError::invalid(&field, shown(), "may only hold up to 2 values"));
    }
    if errors.len() > known {
        return;
    }
    if matches!(families.as_slice(), [first, second] if first == second) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(&field, shown(), detail));
    }
    for (position, (found, wanted)) in families.iter().zip(list(spec, "ipFamilies")).enumerate() {
        if found != wanted && FAMILIES.contains(&wanted.as_str().unwrap_or_default()) {
            let wanted = wanted.as_str().unwrap_or_default();
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{position}]`");
            errors.push(FieldError::invalid(field.index(position), all[position].clone(), &detail));
        }
    }
}

fn check_families(spec: &Value, errors: &mut Vec<FieldError>) {
    let families = list(spec, "ipFamilies");
    for (position, family) in families.iter().enumerate() {
        let field = Path::new("spec.ipFamilies").index(position);
        if !FAMILIES.contains(&family.as_str().unwrap_or_default()) {
            errors.push(FieldError::not_supported(&field, family.clone(), &FAMILIES));
        }
        if families[..position].contains(family) {
            errors.push(FieldError::duplicate(&field, family.clone()));
        }
    }
}

/// Fewer addresses or families than before must be asked for by the policy, and more than one allowed by it.
fn check_reduction(spec: &mut Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let field = Path::new("spec.ipFamilyPolicy");
    let policy = spec["ipFamilyPolicy"].clone();
    let is_single = policy == "SingleStack";
    let names = [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")];
    if let Some(old) = old {
        for (key, name) in names {
            let (new_count, old_count) = (list(spec, key).len(), list(old, key).len());
            if is_single && spec[key] == old[key] && new_count > 1 {
                let first = json!([list(spec, key)[0]]);
                set(spec, key, first);
            } else if !is_single && new_count == 1 && old_count == 2 {
                let detail = format!("must be 'SingleStack' to release the secondary {name}");
                errors.push(FieldError::invalid(&field, policy.clone(), &detail));
            }
        }
    }
    for (key, name) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if is_single && list(spec, key).len() == 2 {
            let detail =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {name} are specified");
            errors.push(FieldError::invalid(&field, policy.clone(), &detail));
        }
    }
}

/// Families that are not named are those of the addresses that are.
fn infer(spec: &mut Value, ranges: &Ranges, errors: &mut Vec<FieldError>) {
    if is_headless(spec) {
        return;
    }
    let mut families = list(spec, "ipFamilies").to_vec();
    for (position, address) in list(spec, "clusterIPs").iter().enumerate().skip(families.len()) {
        let Some(family) = address.as_str().and_then(|address| address.parse().ok()).map(ip::family) else {
            continue;
        };
        if family == ranges.family() {
            families.push(family.into());
        } else {
            let field = Path::new("spec.clusterIPs").index(position);
            let detail = format!("{family} is not configured on this cluster");
            errors.push(FieldError::invalid(field, spec["clusterIPs"].clone(), &detail));
        }
    }
    if !families.is_empty() {
        set(spec, "ipFamilies", families);
    }
}

/// A headless Service without a selector may say that it has both families, whatever the cluster has.
fn complete_bare(spec: &mut Value, ranges: &Ranges) {
    let mut families = list(spec, "ipFamilies").to_vec();
    if families.is_empty() {
        families.push(ranges.family().into());
    }
    if families.len() < 2 && text(spec, "ipFamilyPolicy") != "SingleStack" {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.into());
    }
    set(spec, "ipFamilies", families);
}

fn check_configured(spec: &Value, ranges: &Ranges, errors: &mut Vec<FieldError>) {
    if text(spec, "ipFamilyPolicy") == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", "RequireDualStack", detail));
    }
    for (position, family) in list(spec, "ipFamilies").iter().enumerate() {
        if family != ranges.family() {
            let field = Path::new("spec.ipFamilies").index(position);
            errors.push(FieldError::invalid(field, family.clone(), "not configured on this cluster"));
        }
    }
}

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

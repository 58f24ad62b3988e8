//! Rules for tolerations and topology spread constraints.

use serde_json::Value;

use super::check_choice;
use crate::{
    field::{FieldError, Path},
    kind::{label_selector, report},
    names,
    value::{has, list, text},
};

pub(in crate::kind) fn check(tolerations: &[Value], field: &Path, errors: &mut Vec<FieldError>) {
    for (position, toleration) in tolerations.iter().enumerate() {
        let field = field.index(position);
        let [key, operator, value, effect] =
            ["key", "operator", "value", "effect"].map(|name| text(toleration, name));
        if !key.is_empty() {
            report(names::qualified_name(key), &field.child("key"), key, errors);
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(field.child("operator"), operator, detail));
        }
        if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(field.child("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => {
                let problems = names::label_value(value);
                if !problems.is_empty() {
                    errors.push(FieldError::invalid(field.child("operator"), value, &problems.join(";")));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(field.child("operator"), value, detail));
            }
            other => {
                errors.push(FieldError::not_supported(field.child("operator"), other, &["Equal", "Exists"]));
            }
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check_choice(toleration, "effect", &field, &effects, errors);
    }
}

pub(super) fn check_spread(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let constraints = list(spec, "topologySpreadConstraints");
    for (position, constraint) in constraints.iter().enumerate() {
        let field = field.index(position);
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(field.child("maxSkew"), skew, "must be greater than zero"));
        }
        match text(constraint, "topologyKey") {
            "" => errors.push(FieldError::required(field.child("topologyKey"), "can not be empty")),
            key => report(names::qualified_name(key), &field.child("topologyKey"), key, errors),
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if actions.contains(&text(constraint, "whenUnsatisfiable")) {
            let same = |other: &&Value| {
                ["topologyKey", "whenUnsatisfiable"].iter().all(|key| other[*key] == constraint[*key])
            };
            if constraints[position + 1..].iter().any(|other| same(&other)) {
                let pair = format!(
                    "{{{}, {}}}",
                    text(constraint, "topologyKey"),
                    text(constraint, "whenUnsatisfiable")
                );
                errors.push(FieldError::duplicate(field.child("{topologyKey, whenUnsatisfiable}"), pair));
            }
        } else {
            let action = text(constraint, "whenUnsatisfiable");
            errors.push(FieldError::not_supported(field.child("whenUnsatisfiable"), action, &actions));
        }
        if let Some(domains) = constraint["minDomains"].as_i64() {
            let field = field.child("minDomains");
            if domains <= 0 {
                errors.push(FieldError::invalid(field, domains, "must be greater than zero"));
            } else if text(constraint, "whenUnsatisfiable") != "DoNotSchedule" {
                let action = text(constraint, "whenUnsatisfiable");
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(FieldError::invalid(field, domains, &detail));
            }
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check_choice(constraint, key, &field, &["Honor", "Ignore"], errors);
        }
        label_selector::check(&constraint["labelSelector"], &field.child("labelSelector"), errors);
    }
}

//! Quotas and limits of a namespace, by themselves and as parts of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Sheet, workload::identity};
use crate::document::{entries, items, plain, text};

pub(super) fn quota(sheet: &mut Sheet, object: &Value) {
    identity(sheet, object);
    scopes(sheet, object, Indent::None);
    sheet.line(0, "Resource\tUsed\tHard");
    sheet.line(0, "--------\t----\t----");
    amounts(sheet, object, 0);
}

pub(super) fn limit_range(sheet: &mut Sheet, object: &Value) {
    identity(sheet, object);
    sheet.line(0, LIMIT_COLUMNS);
    sheet.line(0, LIMIT_RULER);
    limits(object).iter().for_each(|line| sheet.line(0, line));
}

/// The quotas of a namespace.
pub(super) fn of_namespace(sheet: &mut Sheet, quotas: &[Value]) {
    if quotas.is_empty() {
        sheet.line(0, "No resource quota.");
        return;
    }
    sheet.line(0, "Resource Quotas");
    for quota in quotas {
        sheet.field(1, "Name", text(quota, &["metadata", "name"]));
        scopes(sheet, quota, Indent::Level);
        sheet.line(1, "Resource\tUsed\tHard");
        sheet.line(1, "--------\t---\t---");
        amounts(sheet, quota, 1);
    }
}

/// The limits of a namespace.
pub(super) fn limits_of_namespace(sheet: &mut Sheet, ranges: &[Value]) {
    if ranges.is_empty() {
        sheet.line(0, "No LimitRange resource.");
        return;
    }
    sheet.line(0, "Resource Limits");
    sheet.line(0, format!(" {LIMIT_COLUMNS}"));
    sheet.line(0, format!(" {LIMIT_RULER}"));
    ranges.iter().flat_map(limits).for_each(|line| sheet.line(0, format!(" {line}")));
}

/// How far what a scope means is indented.
#[derive(Clone, Copy)]
enum Indent {
    None,
    Level,
}

fn scopes(sheet: &mut Sheet, quota: &Value, indent: Indent) {
    let mut scopes: Vec<&str> = items(quota, &["spec", "scopes"]).iter().filter_map(Value::as_str).collect();
    if scopes.is_empty() {
        return;
    }
    scopes.sort_unstable();
    let (level, before) = match indent {
        Indent::None => (0, " "),
        Indent::Level => (1, ""),
    };
    sheet.field(level, "Scopes", scopes.join(", "));
    for scope in scopes {
        if let Some((_, meaning)) = SCOPES.iter().find(|(name, _)| *name == scope) {
            sheet.line(level, format!("{before}* {meaning}"));
        }
    }
}

fn amounts(sheet: &mut Sheet, quota: &Value, level: usize) {
    let hard: BTreeMap<&str, &Value> = entries(quota, &["status", "hard"]).collect();
    for (resource, hard) in hard {
        let used = match plain(&quota["status"]["used"][resource]) {
            used if used.is_empty() => "0".to_owned(),
            used => used,
        };
        sheet.line(level, format!("{resource}\t{used}\t{}", plain(hard)));
    }
}

/// A line for each resource of each type that a LimitRange is about.
fn limits(range: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for limit in items(range, &["spec", "limits"]) {
        let fields = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
        let mut resources: BTreeMap<&str, ()> = BTreeMap::new();
        for field in fields {
            resources.extend(entries(limit, &[field]).map(|(resource, _)| (resource, ())));
        }
        for resource in resources.keys() {
            let amounts = fields.map(|field| match plain(&limit[field][resource]) {
                amount if amount.is_empty() => "-".to_owned(),
                amount => amount,
            });
            lines.push(format!("{}\t{resource}\t{}", text(limit, &["type"]), amounts.join("\t")));
        }
    }
    lines
}

const LIMIT_COLUMNS: &str =
    "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio";

const LIMIT_RULER: &str = "----\t--------\t---\t---\t---------------\t-------------\t-----------------------";

/// What kubectl says that a scope matches.
const SCOPES: [(&str, &str); 4] = [
    (
        "Terminating",
        "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system.",
    ),
    (
        "NotTerminating",
        "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate.",
    ),
    (
        "BestEffort",
        "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service.",
    ),
    (
        "NotBestEffort",
        "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service.",
    ),
];

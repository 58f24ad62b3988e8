//! PodDisruptionBudgets.

use serde_json::Value;

use super::{
    Sheet,
    workload::{identity, selector},
};
use crate::document::plain;

pub(super) fn disruption_budget(sheet: &mut Sheet, object: &Value) {
    identity(sheet, object);
    let spec = &object["spec"];
    sheet.field_if_any(0, "Min available", &plain(&spec["minAvailable"]));
    sheet.field_if_any(0, "Max unavailable", &plain(&spec["maxUnavailable"]));
    sheet.field(
        0,
        "Selector",
        if spec["selector"].is_object() { selector(object) } else { "<unset>".to_owned() },
    );
    sheet.line(0, "Status:");
    for (title, field) in [
        ("Allowed disruptions", "disruptionsAllowed"),
        ("Current", "currentHealthy"),
        ("Desired", "desiredHealthy"),
        ("Total", "expectedPods"),
    ] {
        sheet.field(2, title, object["status"][field].as_i64().unwrap_or(0).to_string());
    }
}

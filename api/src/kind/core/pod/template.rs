//! Templates of pods, as other kinds hold them.

use serde_json::Value;

use super::{defaults, validate, warnings};
use crate::{
    field::{FieldError, Path},
    meta,
    value::{list, object_mut},
};

/// Fills in what a template has by default.
pub(in crate::kind) fn default(template: &mut Value) {
    defaults::template(object_mut(template, "spec"));
}

/// Rules for a template at `field`.
pub(in crate::kind) fn check(template: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    // Kubernetes leaves `metadata` out of these paths.
    meta::validate_labels(&template["metadata"], "labels", field, errors);
    meta::validate_annotations(&template["metadata"], &field.child("annotations"), errors);
    validate::annotations(&template["metadata"], field, errors);
    let (spec, field) = (&template["spec"], field.child("spec"));
    validate::template(spec, &field, errors);
    if !list(spec, "ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(field.child("ephemeralContainers"), detail));
    }
}

/// Warnings about a template at `field`.
pub(in crate::kind) fn warnings(template: &Value, field: &Path) -> Vec<String> {
    warnings::about(template, field)
}

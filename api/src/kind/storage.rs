//! Kinds of the group `storage.k8s.io`.

mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod storage_class;
mod volume_attachment;
mod volume_attributes_class;

use serde_json::Value;

use super::{Kind, report};
use crate::{
    field::{FieldError, Path},
    names,
    value::entries,
};

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[
    &csi_driver::KIND,
    &csi_node::KIND,
    &csi_storage_capacity::KIND,
    &storage_class::KIND,
    &volume_attachment::KIND,
    &volume_attributes_class::KIND,
];

/// The name of a driver must be there, short, and a domain's but for its case.
fn check_driver_name(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    }
    if name.len() > DRIVER_NAME_BYTES_MAX {
        errors.push(FieldError::too_long(field, DRIVER_NAME_BYTES_MAX));
    }
    report(names::dns_subdomain(&name.to_lowercase()), field, name, errors);
}

/// Who makes volumes of a class.
fn check_provisioner(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else {
        report(names::qualified_name(&name.to_lowercase()), field, name, errors);
    }
}

/// Options for whoever makes volumes: not too many, and not too large together.
fn check_parameters(holder: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let count = entries(holder, "parameters").count();
    if count > PARAMETERS_MAX {
        errors.push(FieldError::too_long(field, PARAMETERS_MAX));
        return;
    }
    let mut size = 0;
    for (key, value) in entries(holder, "parameters") {
        if key.is_empty() {
            errors.push(FieldError::invalid(field, "", "field can not be empty."));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > PARAMETERS_BYTES_MAX {
        errors.push(FieldError::too_long(field, PARAMETERS_BYTES_MAX));
    }
}

/// A field that an update leaves as it is, in the words that these kinds have for it.
fn check_not_updated(new: &Value, old: &Value, key: &str, errors: &mut Vec<FieldError>) {
    if new[key] != old[key] {
        errors.push(FieldError::forbidden(key, &format!("updates to {key} are forbidden.")));
    }
}

/// Why these kinds do nothing yet.
const INERT: Option<&str> = Some("nothing makes or attaches volumes yet");
const DRIVER_NAME_BYTES_MAX: usize = 63;
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

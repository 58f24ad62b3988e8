//! Rules for what a client says about managers.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    value::{list, text},
};

/// Rules for `metadata.managedFields`.
pub(crate) fn validate(metadata: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (position, entry) in list(metadata, "managedFields").iter().enumerate() {
        let field = field.index(position);
        check_manager(text(entry, "manager"), &field.child("manager"), errors);
        if text(entry, "subresource").len() > SUBRESOURCE_BYTES_MAX {
            errors.push(FieldError::too_long(field.child("subresource"), SUBRESOURCE_BYTES_MAX));
        }
    }
}

/// Rules for the name of a manager, which may be empty.
pub fn check_manager(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if name.len() > MANAGER_BYTES_MAX {
        errors.push(FieldError::too_long(field, MANAGER_BYTES_MAX));
    }
    for (position, character) in name.char_indices().filter(|(_, character)| !is_printable(*character)) {
        let detail = format!("invalid character U+{:04X} (at position {position})", u32::from(character));
        errors.push(FieldError::invalid(field, name, &detail));
    }
}

/// Whether a character can be shown.
pub(super) fn is_printable(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().count() == 1
}

/// Kubernetes' bound on names of managers.
pub(super) const MANAGER_BYTES_MAX: usize = 128;

/// Kubernetes' bound on names of subresources.
const SUBRESOURCE_BYTES_MAX: usize = 256;

//! From an applied configuration to an object: decoding, merging, ownership.

use jiff::Timestamp;
use serde_json::Value;

use super::{Accepted, FieldValidation, Target};
use crate::{
    Status,
    conform::conform,
    decode::{BODY_LIMIT_BYTES, DecodeError, Document, Format, document},
    field::FieldError,
    kind::Kind,
    managed::{self, Force, Scope, group_version_kind},
    value::{object_mut, remove, text},
};

/// What a server-side apply is.
#[derive(Clone, Copy, Debug)]
pub struct Applying<'a> {
    /// What of the object it writes.
    pub target: Target,
    /// Name of the object that it is sent to.
    pub name: &'a str,
    /// Who applies.
    pub manager: &'a str,
    /// Whether it takes fields from others.
    pub force: Force,
    /// `fieldValidation` of the request. Unknown fields are refused in any case.
    pub validation: FieldValidation,
    /// Time of the request.
    pub now: Timestamp,
}

/// The object that a configuration, YAML or JSON, makes of `current`, or of nothing; [`super::update`] or [`super::create`] comes next,
/// with [`super::Ownership::AsGiven`].
///
/// # Errors
///
/// BadRequest when it is no configuration of this object, Conflict when others own what it would change, and what Kubernetes answers
/// to one that does not fit the schema.
pub fn apply(
    kind: &'static Kind,
    current: Option<&Value>,
    body: &[u8],
    applying: &Applying<'_>,
) -> Result<Accepted, Status> {
    let Document { value: config, duplicates, .. } = read(body)?;
    let Applying { target, manager, now, .. } = *applying;
    let scope = Scope { kind, subresource: target.subresource(), manager, now };
    let before = current.map(|current| super::served(kind, current)).transpose()?;
    let mut object = managed::applied(&scope, before.as_deref(), &config, applying.force)?;
    if applying.validation == FieldValidation::Strict && !duplicates.is_empty() {
        let message = format!("error strict decoding YAML: {}", duplicates.join(", "));
        return Err(Status::bad_request(message));
    }
    conform(kind.definition(), &mut object, &mut Vec::new()).map_err(|mismatch| {
        let shown = group_version_kind(&kind.api_version(), kind.kind);
        let message = format!(
            "failed to convert new typed object ({}) to object: unable to convert unstructured object to {shown}: {}",
            managed::identity(&config),
            mismatch.into_conversion()
        );
        Status::failure(500, "", message)
    })?;
    if current.is_none() {
        prepare_new(kind, &mut object, applying.name)?;
    }
    check_name(&object, applying.name)?;
    let warnings = if applying.validation == FieldValidation::Warn { duplicates } else { Vec::new() };
    Ok(Accepted { object, warnings })
}

/// Reads a configuration. JSON is YAML too, but faster when it is read as what it is.
pub(super) fn read(body: &[u8]) -> Result<Document, Status> {
    let json = document(body, Format::Json, None);
    let read = json.or_else(|error| match error {
        DecodeError::TooLarge | DecodeError::Protobuf(_) => Err(error),
        DecodeError::Syntax { .. } => document(body, Format::Yaml, None),
    });
    let document = read.map_err(|error| match error {
        DecodeError::TooLarge => Status::too_large(BODY_LIMIT_BYTES),
        error => Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {error}")),
    })?;
    let found = match &document.value {
        Value::Object(_) | Value::Null => return Ok(document),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(Status::bad_request(format!(
        "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of \
         type map[string]interface {{}}"
    )))
}

/// Takes from a new object what only an existing one can have.
fn prepare_new(kind: &'static Kind, object: &mut Value, name: &str) -> Result<(), Status> {
    let metadata = object_mut(object, "metadata");
    let uid = text(metadata, "uid");
    if !uid.is_empty() {
        let detail = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(Status::conflict(kind, name, &detail));
    }
    // Of what is made now there is no version yet, whichever is expected.
    remove(metadata, "resourceVersion");
    // Nor is its name made up: the request has one.
    if text(metadata, "name").is_empty() {
        remove(metadata, "generateName");
    }
    Ok(())
}

fn check_name(object: &Value, name: &str) -> Result<(), Status> {
    let own = text(&object["metadata"], "name");
    if own.is_empty() || own == name {
        return Ok(());
    }
    let message = format!("the name of the object ({own}) does not match the name on the URL ({name})");
    Err(Status::bad_request(message))
}

/// Refuses an applied object that is another one by its uid.
pub(super) fn check_uid(kind: &'static Kind, object: &Value, current: &Value) -> Result<(), Status> {
    let (uid, current) = (text(&object["metadata"], "uid"), &current["metadata"]);
    if uid.is_empty() || uid == text(current, "uid") {
        return Ok(());
    }
    let error = FieldError::invalid("metadata.uid", uid, "field is immutable");
    // Kubernetes checks it twice and says it once.
    Err(Status::invalid(kind, text(current, "name"), &[error.clone(), error]))
}

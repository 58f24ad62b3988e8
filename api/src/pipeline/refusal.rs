//! What a body that is no object of the kind is answered with, in Kubernetes' words.

use serde_json::Value;

use crate::{
    Status,
    decode::{BODY_LIMIT_BYTES, DecodeError, Format},
    kind::{self, Kind},
    protobuf::ProtobufError,
};

pub(super) fn unhandled(kind: &Kind, api_version: &str, name: &str, detail: &str) -> Status {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let wanted = kind.kind;
    Status::bad_request(format!("{name} in version \"{version}\" cannot be handled as a {wanted}: {detail}"))
}

pub(super) fn wrong_kind(kind: &Kind, api_version: &str, name: &str) -> Status {
    unhandled(kind, api_version, name, &unconvertible(kind, api_version, name))
}

/// Why an object of another kind makes none of `kind`.
pub(super) fn unconvertible(kind: &Kind, api_version: &str, name: &str) -> String {
    match kind::by_kind(api_version, name) {
        Some(other) => format!(
            "converting ({}.{}) to ({}.{}): unknown conversion",
            other.version,
            other.kind,
            internal_package(kind),
            kind.kind
        ),
        None => format!(
            "no kind \"{name}\" is registered for version \"{api_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        ),
    }
}

fn internal_package(kind: &Kind) -> &'static str {
    if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or_default() }
}

/// Kubernetes first looks for version and kind; a body it cannot read fails there.
pub(super) fn unreadable(kind: &Kind, body: &[u8], format: Format, error: &DecodeError) -> Status {
    match error {
        DecodeError::TooLarge => Status::too_large(BODY_LIMIT_BYTES),
        // The envelope could be read, and says what should have been in it.
        DecodeError::Protobuf(
            inner @ (ProtobufError::UnknownKind { api_version, kind: name }
            | ProtobufError::Object { api_version, kind: name, .. }),
        ) => {
            let or =
                |own: &str, implied: &str| if own.is_empty() { implied.to_owned() } else { own.to_owned() };
            let (api_version, name) = (or(api_version, &kind.api_version()), or(name, kind.kind));
            unhandled(kind, &api_version, &name, &inner.to_string())
        }
        error => unrecognized(kind, body, format, &error.to_string()),
    }
}

pub(super) fn not_an_object(kind: &Kind, body: &[u8], value: &Value) -> Status {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        _ => "array",
    };
    let wanted = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let error = format!("json: cannot unmarshal {found} into Go value of type {wanted}");
    unrecognized_json(kind, body, &error)
}

fn unrecognized(kind: &Kind, body: &[u8], format: Format, error: &str) -> Status {
    match format {
        Format::Json => unrecognized_json(kind, body, error),
        Format::Yaml | Format::Protobuf => Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {error} ({})",
            kind.kind,
            summary(body)
        )),
    }
}

fn unrecognized_json(kind: &Kind, body: &[u8], error: &str) -> Status {
    let (kind, body) = (kind.kind, summary(body));
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error} \
         ({body})"
    ))
}

/// The start of a body: as text if it looks like JSON.
fn summary(body: &[u8]) -> String {
    let (shown, more) = match body.split_at_checked(QUOTED_BYTES) {
        Some((shown, [_, ..])) => (shown, " ..."),
        _ => (body, ""),
    };
    match shown.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => format!("{}{more}", shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

/// As much of a body as Kubernetes quotes.
const QUOTED_BYTES: usize = 30;

//! Requests that more than a function of a request and an object answers, and what the service adds to recorded answers.

use dunlin_api::kind::Storage;
use serde_json::Value;

use crate::case::Case;

/// Why the pure pipeline does not answer a request; `None` when it does.
pub(crate) fn answers(case: &Case, current: Option<&Value>) -> Option<&'static str> {
    let Some(address) = case.address() else { return Some("its kind is not served") };
    if !["POST", "PUT", "PATCH"].contains(&case.method.as_str()) {
        return Some("it only reads or deletes");
    }
    if !["", "status", "scale"].contains(&address.subresource) {
        return Some("a subresource of the service");
    }
    if matches!(address.kind.storage, Storage::None) {
        return Some("what is not stored is made up by the service");
    }
    if case.method == "POST" && current.is_some() {
        return Some("the store knows that the object exists");
    }
    let creates = case.method == "POST" || (case.applies() && address.subresource.is_empty());
    if !creates && current.is_none() {
        return Some("the store knows that there is no object");
    }
    refused_by_the_service(case)
}

fn refused_by_the_service(case: &Case) -> Option<&'static str> {
    let message = case.message();
    match case.reason() {
        "Unauthorized" => Some("who asks is known to the front"),
        "Forbidden" if message.contains("User \"") => Some("who asks is known to the front"),
        "Forbidden" if message.contains("because it is being terminated") => Some("namespaces are stored"),
        "NotFound" => Some("what is there is known to the store"),
        "MethodNotAllowed" | "NotAcceptable" | "UnsupportedMediaType" => Some("verbs and media types"),
        "Invalid" if quotes_a_version(message) => Some(
            "its message shows an object with the version that the store gave and fields in the order of Go's structs",
        ),
        "Invalid" if message.contains("\"InitContainers\":") => {
            Some("its message shows a template as Go holds it inside the server, ours as the API has it")
        }
        "Conflict" if message.contains("has been modified") => Some("the store compares revisions"),
        _ if message.contains("Options.meta.k8s.io") && !message.contains("fieldValidation") => {
            Some("options are read by the service")
        }
        _ => None,
    }
}

fn quotes_a_version(message: &str) -> bool {
    let version = message.split_once("\\\"resourceVersion\\\":\\\"");
    version.is_some_and(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit()))
}

/// Gives `found` what the service allocates and the data has a placeholder for: addresses, ports and uids.
pub(crate) fn allocate(expected: &Value, found: &mut Value) {
    match expected {
        Value::Object(fields) => {
            for (key, expected) in fields {
                if is_allocated(expected) && found.is_object() {
                    found[key] = expected.clone();
                } else if let Some(found) = found.get_mut(key) {
                    allocate(expected, found);
                }
            }
        }
        Value::Array(elements) => {
            for (position, expected) in elements.iter().enumerate() {
                if let Some(found) = found.get_mut(position) {
                    allocate(expected, found);
                }
            }
        }
        _ => {}
    }
}

fn is_allocated(value: &Value) -> bool {
    match value {
        Value::String(text) => ALLOCATED.contains(&text.as_str()),
        Value::Array(elements) => !elements.is_empty() && elements.iter().all(is_allocated),
        _ => false,
    }
}

/// The first uid of a case is given to its first object; a second one is made up while the first was sent by a client.
const ALLOCATED: [&str; 3] = ["<clusterIP>", "<nodePort>", "<uid-2>"];

//! `metav1.Status`: every refusal of the API, with Kubernetes' codes, reasons and words.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    field::{self, FieldError},
    kind::Kind,
};

/// A refusal (or the success of a delete), as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status(pub Value);

/// The type that request options have in messages about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsKind {
    /// Query of a create.
    Create,
    /// Query of an update.
    Update,
    /// Query of a patch.
    Patch,
    /// Body and query of a delete.
    Delete,
    /// Query of a list or watch.
    List,
}

impl Status {
    /// 404: no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.group_resource());
        Self::of_object(404, "NotFound", &message, kind, name)
    }

    /// 404: no such path or resource type.
    pub fn no_such_resource() -> Self {
        Self::failure(404, "NotFound", "the server could not find the requested resource")
            .with_details(json!({}))
    }

    /// 409: an object of this name exists.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.group_resource());
        Self::of_object(409, "AlreadyExists", &message, kind, name)
    }

    /// 409: a precondition or another writer stands against it.
    pub fn conflict(kind: &Kind, name: &str, detail: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {detail}", kind.group_resource());
        Self::of_object(409, "Conflict", &message, kind, name)
    }

    /// 409: the resourceVersion sent is not the current one.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let detail =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, detail)
    }

    /// 422: the object breaks rules.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_as(kind.group, kind.kind, name, errors)
    }

    /// 422: the request's options break rules.
    pub fn invalid_options(options: OptionsKind, errors: &[FieldError]) -> Self {
        Self::invalid_as("meta.k8s.io", options.name(), "", errors)
    }

    /// 422: the object that a patch led to does not decode.
    pub fn invalid_patch(patched: &str, detail: &str) -> Self {
        let error = FieldError::invalid("patch", patched, detail);
        Self::invalid_as("", "", "", &[error])
    }

    /// 422: a JSON patch does not apply.
    pub fn patch_not_applicable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::failure(422, "Invalid", message).with_details(json!({}))
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 403: not allowed, with why. An empty name stands for the whole collection.
    pub fn forbidden(kind: &Kind, name: &str, detail: &str) -> Self {
        Self::forbidden_resource(kind.group, kind.plural, name, detail)
    }

    /// The same for what is no kind of object, and still has rights of its own.
    pub fn forbidden_resource(group: &str, plural: &str, name: &str, detail: &str) -> Self {
        let dot = if group.is_empty() { "" } else { "." };
        let message = match name {
            "" => format!("{plural}{dot}{group} is forbidden: {detail}"),
            name => format!("{plural}{dot}{group} \"{name}\" is forbidden: {detail}"),
        };
        Self::failure(403, "Forbidden", message).with_details(object_details(group, plural, name))
    }

    /// 401: the caller is not known.
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 405: the resource does not serve this verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::failure(405, "MethodNotAllowed", message).with_details(json!({}))
    }

    /// 406: none of the representations asked for is served.
    pub fn not_acceptable(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::failure(406, "NotAcceptable", message)
    }

    /// 415: the body's content type is not understood.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 410: the revision asked for is compacted away.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 410 with a token to go on inconsistently, for a list whose revision is compacted away.
    pub fn expired_continue(token: &str) -> Self {
        let mut status = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new \
             list without the continue parameter, or use the continue token in this response to retrieve the \
             remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
             that were created, modified, or deleted between the time the first chunk was returned and now may show \
             up in the list.",
        );
        status.0["metadata"]["continue"] = token.into();
        status
    }

    /// 413: the body is larger than the server takes.
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// 500: our fault.
    pub fn internal(detail: impl fmt::Display) -> Self {
        let details = json!({"causes": [{"message": detail.to_string()}]});
        Self::failure(500, "InternalError", format!("Internal error occurred: {detail}"))
            .with_details(details)
    }

    /// 504: not answered in time.
    pub fn timeout(detail: &str, retry_after_seconds: u32) -> Self {
        let details = retry_after(retry_after_seconds);
        Self::failure(504, "Timeout", format!("Timeout: {detail}")).with_details(details)
    }

    /// 504: the revision asked for is not reached yet.
    pub fn resource_version_too_large(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut status = Self::timeout(&message, 1);
        let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        status.0["details"]["causes"] = cause;
        status
    }

    /// 429: come back later.
    pub fn too_many_requests(message: &str, retry_after_seconds: u32) -> Self {
        let details = retry_after(retry_after_seconds);
        Self::failure(429, "TooManyRequests", message).with_details(details)
    }

    /// 503: not able to serve now.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 200: what a delete answers once the object is gone.
    pub fn deleted(kind: &Kind, name: &str, uid: &str) -> Self {
        let mut details = object_details(kind.group, kind.plural, name);
        details["uid"] = uid.into();
        Self(
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        )
    }

    /// A status with a code and reason of the caller's choice; an empty reason is left out.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        Self(status)
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        let code = self.0["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        code.unwrap_or_else(|| if self.is_success() { 200 } else { 500 })
    }

    /// The reason, for instance `NotFound`; empty when there is none.
    pub fn reason(&self) -> &str {
        self.0["reason"].as_str().unwrap_or_default()
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        self.0["message"].as_str().unwrap_or_default()
    }

    /// Whether it reports success.
    pub fn is_success(&self) -> bool {
        self.0["status"] == "Success"
    }

    fn of_object(code: u16, reason: &str, message: &str, kind: &Kind, name: &str) -> Self {
        Self::failure(code, reason, message).with_details(object_details(kind.group, kind.plural, name))
    }

    fn invalid_as(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut message = format!("{qualified} \"{name}\" is invalid");
        if !errors.is_empty() {
            message = format!("{message}: {}", field::aggregate(errors));
        }
        let mut details = object_details(group, kind, name);
        if !errors.is_empty() {
            details["causes"] = errors.iter().map(FieldError::cause).collect();
        }
        Self::failure(422, "Invalid", message).with_details(details)
    }

    fn with_details(mut self, details: Value) -> Self {
        self.0["details"] = details;
        self
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Status {}

impl OptionsKind {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch => "PatchOptions",
            Self::Delete => "DeleteOptions",
            Self::List => "ListOptions",
        }
    }
}

fn retry_after(seconds: u32) -> Value {
    if seconds == 0 { json!({}) } else { json!({"retryAfterSeconds": seconds}) }
}

fn object_details(group: &str, kind: &str, name: &str) -> Value {
    let entries = [("name", name), ("group", group), ("kind", kind)];
    let present = entries.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(present.map(|(key, value)| (key.to_owned(), value.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind;

    fn check(status: &Status, expected: Value) {
        assert_eq!(status.0, expected);
    }

    #[test]
    fn statuses_have_kubernetes_form() {
        let maps = kind::by_kind("v1", "ConfigMap").unwrap();
        check(
            &Status::not_found(maps, "nope"),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "configmaps \"nope\" not found", "reason": "NotFound",
                "details": {"name": "nope", "kind": "configmaps"}, "code": 404}),
        );
        check(
            &Status::deleted(maps, "dup", "u1"),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": "dup", "kind": "configmaps", "uid": "u1"}}),
        );
        check(
            &Status::resource_version_too_large(9, 5),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Timeout: Too large resource version: 9, current: 5", "reason": "Timeout",
                "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                    "retryAfterSeconds": 1}, "code": 504}),
        );
        assert_eq!(Status::deleted(maps, "dup", "u1").code(), 200);
    }
}

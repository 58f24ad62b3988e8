//! The API over QUIC (ALPN `dunlin-api/1`): one bidirectional stream per request, shaped like HTTP.
//!
//! The client sends a [`RequestHead`] frame (after an [`Impersonation`], if the request is made as somebody else) and then the body's raw bytes until it finishes the stream; the answer is a
//! [`ResponseHead`] frame and then raw bytes until the stream ends. Bodies are exactly what the HTTPS front carries: JSON objects,
//! watch events one per line, log text. Formats are therefore Kubernetes' own and nothing is specified twice.
//!
//! One thing HTTP does in another way: where the answer's status is [`SWITCHING_PROTOCOLS`], frames of [`crate::exec`] follow the heads,
//! both ways, until the stream ends.

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};

/// ALPN of the API over QUIC.
pub const ALPN: &[u8] = b"dunlin-api/1";

/// Status of an answer that is followed by frames both ways.
pub const SWITCHING_PROTOCOLS: u16 = 101;

/// What HTTP calls these frames in `Upgrade` headers; every request over QUIC offers them.
pub const STREAM_PROTOCOL: &str = "dunlin-exec/1";

/// The start of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    /// What to do.
    pub method: Method,
    /// Path without query, as in HTTP: `/api/v1/namespaces/default/pods/p`.
    pub path: String,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// Media type of the body, or empty.
    pub content_type: String,
    /// Accepted media types, or empty for `application/json`.
    pub accept: String,
    /// Names the client in logs and as default field manager.
    pub user_agent: String,
}

/// Whom a request is made as, in place of whoever sends it: a frame before the [`RequestHead`]. A coordinator that does not know it
/// answers 400, so that nobody does as themselves what they meant to do as another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impersonation {
    /// The user; for a service account its user.
    pub user: String,
    /// The user's groups; of a service account, those of its namespace when there are none here.
    pub groups: Vec<String>,
    /// The user's uid, or empty.
    pub uid: String,
    /// What else is known of the user: a key and a value of it.
    pub extra: Vec<(String, String)>,
}

/// HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// The start of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// HTTP status code.
    pub status: u16,
    /// Media type of the body.
    pub content_type: String,
    /// Warnings for a person, as HTTP's `Warning: 299` headers carry.
    pub warnings: Vec<String>,
}

impl Message for RequestHead {
    const KIND: Kind = Kind(0x0401);
}

impl Message for ResponseHead {
    const KIND: Kind = Kind(0x0402);
}

impl Message for Impersonation {
    const KIND: Kind = Kind(0x0403);
}

//! Answers in the encoding that was agreed on.

use std::io;

use bytes::Bytes;
use dunlin_api::{
    Status,
    protobuf::{self, EncodeError, ListEncoder},
    yaml,
};
use futures_util::stream;
use serde_json::Value;

use super::{
    media::Encoding,
    response::{Body, ByteStream, JSON, Response},
};

/// An answer in this encoding.
pub(super) fn encode(encoding: Encoding, status: u16, value: &Value) -> Result<Response, Status> {
    let body: Bytes = match encoding {
        Encoding::Json => return Ok(Response::json(status, value)),
        Encoding::Yaml => yaml::emit(value).into(),
        Encoding::Protobuf => protobuf::encode(value).map_err(unencodable)?.into(),
    };
    Ok(Response::bytes(status, encoding.media_type(), body))
}

/// The answer for who reads this encoding, when it is a refusal: those are made as JSON.
pub(super) fn refusal(encoding: Encoding, mut response: Response) -> Response {
    let is_refusal = response.head.status >= 400 && response.head.content_type == JSON;
    if let Body::Bytes(json) = &response.body
        && is_refusal
        && encoding != Encoding::Json
        && let Ok(status) = serde_json::from_slice(json)
        && let Ok(encoded) = encode(encoding, response.head.status, &status)
    {
        response.head.content_type = encoded.head.content_type;
        response.body = encoded.body;
    }
    response
}

/// A list in protobuf, whose parts are sent as they lie in memory.
pub(super) fn protobuf_list(items: ListEncoder, metadata: &Value) -> Result<Response, Status> {
    let parts = items.finish(metadata).map_err(unencodable)?;
    let parts =
        parts.into_iter().filter(|part| !part.is_empty()).map(|part| io::Result::Ok(Bytes::from(part)));
    Ok(Response::parts(Encoding::Protobuf.media_type(), ByteStream::new(stream::iter(parts))))
}

/// What an object that cannot be written in protobuf is answered with.
pub(super) fn unencodable(error: EncodeError) -> Status {
    match error {
        EncodeError::NoMessage { .. } => Status::not_acceptable(WITHOUT_PROTOBUF),
        error => Status::internal(error),
    }
}

/// Refuses protobuf for objects that have none, before anything is done for them.
pub(super) fn check_has_protobuf(encoding: Encoding, api_version: &str, kind: &str) -> Result<(), Status> {
    if encoding == Encoding::Protobuf && !protobuf::has_message(api_version, kind) {
        return Err(Status::not_acceptable(WITHOUT_PROTOBUF));
    }
    Ok(())
}

/// What there is of every object.
const WITHOUT_PROTOBUF: &str = "application/json, application/yaml";

//! The health protocol of gRPC: one unary call of `grpc.health.v1.Health/Check`, written and read by hand.
//!
//! A message is a byte 0 (not compressed), its length as four bytes big-endian, and protobuf: the request's field 1 is the service, the
//! answer's field 1 the status.

use dunlin_edge_node_core::check::{ANSWER_BYTES_MAX, Outcome, Target};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{dial, http::AGENT};

/// Asks whether a service is served.
pub(super) async fn ask(target: &Target, service: &str) -> Outcome {
    match call(target, service).await {
        Ok(SERVING) => Outcome::Success,
        Ok(status) => {
            let name = match status {
                0 => "UNKNOWN".to_owned(),
                2 => "NOT_SERVING".to_owned(),
                3 => "SERVICE_UNKNOWN".to_owned(),
                other => other.to_string(),
            };
            Outcome::Failure(format!("service unhealthy (responded with \"{name}\")"))
        }
        Err(why) => Outcome::Failure(why),
    }
}

/// The status that was answered.
async fn call(target: &Target, service: &str) -> Result<u64, String> {
    let refused = |why: String| {
        format!("error: failed to connect service at \"{}\": connection error: {why}", target.shown)
    };
    let failed = |why: String| format!("error: health rpc probe failed: {why}");
    let stream = dial::connect(target).await.map_err(refused)?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| refused(error.to_string()))?;
    tokio::spawn(async move {
        // What goes wrong on the connection shows in the answer.
        let _ = connection.await;
    });
    let request = Request::post(format!("http://{}{METHOD}", target.shown))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", AGENT)
        .body(Full::new(Bytes::from(request_body(service))))
        .map_err(|error| failed(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    let (body, headers, trailers) = read(response).await.map_err(failed)?;
    let told = trailers.get("grpc-status").or_else(|| headers.get("grpc-status"));
    let message = trailers.get("grpc-message").or_else(|| headers.get("grpc-message"));
    let message = message.and_then(|text| text.to_str().ok()).unwrap_or_default();
    match told.and_then(|code| code.to_str().ok()?.parse::<u32>().ok()) {
        Some(0) => status(&body).ok_or_else(|| failed("the answer is malformed".to_owned())),
        Some(UNIMPLEMENTED) => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Some(code) => Err(failed(format!("rpc error: code = {} desc = {message}", code_name(code)))),
        None => Err(failed("the server does not speak gRPC".to_owned())),
    }
}

async fn read(mut response: Response<Incoming>) -> Result<(Vec<u8>, HeaderMap, HeaderMap), String> {
    if !response.status().is_success() {
        return Err(format!("unexpected HTTP status code received from server: {}", response.status()));
    }
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = response.body_mut().frame().await {
        match frame.map_err(|error| error.to_string())?.into_data() {
            Ok(data) => body.extend(data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
        if body.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    Ok((body, std::mem::take(response.headers_mut()), trailers))
}

fn request_body(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(FIELD_1_BYTES);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    body.extend(message);
    body
}

/// The status in an answer; none that is written is 0.
fn status(body: &[u8]) -> Option<u64> {
    let (&[compressed, a, b, c, d], message) = body.split_first_chunk::<5>()?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    if compressed != 0 || message.len() != length {
        return None;
    }
    match message {
        [] => Some(0),
        [FIELD_1_VARINT, status @ 0..=0x7f, ..] => Some(u64::from(*status)),
        _ => None,
    }
}

/// As Go's library names codes.
fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

const METHOD: &str = "/grpc.health.v1.Health/Check";
const SERVING: u64 = 1;
const UNIMPLEMENTED: u32 = 12;
/// Protobuf: field 1, of bytes.
const FIELD_1_BYTES: u8 = 0x0a;
/// Protobuf: field 1, a number.
const FIELD_1_VARINT: u8 = 0x08;

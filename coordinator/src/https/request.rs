//! From a request of HTTP to the head that the service takes.

mod impersonation;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunlin_api::Status;
use dunlin_link::rpc::{Method, RequestHead};
use http::{HeaderMap, header, request::Parts};

use crate::service::proxy::is_passed_on;

pub(super) use self::impersonation::impersonation;

/// Reads the head of a request.
///
/// # Errors
/// 400 and 405 for what is no request of this API.
pub(super) fn head(parts: &Parts) -> Result<RequestHead, Status> {
    Ok(RequestHead {
        method: match &parts.method {
            // The pod is asked for what was asked here.
            &http::Method::HEAD if is_passed_on(parts.uri.path()) => Method::Get,
            other => method(other)?,
        },
        path: path(parts.uri.path())?,
        query: query(parts.uri.query().unwrap_or_default())?,
        content_type: text(&parts.headers, header::CONTENT_TYPE),
        accept: accept(&parts.headers),
        user_agent: text(&parts.headers, header::USER_AGENT),
    })
}

/// Path and query of a request, decoded.
///
/// # Errors
/// 400 for what is neither.
pub(super) fn place(parts: &Parts) -> Result<(String, Vec<(String, String)>), Status> {
    Ok((path(parts.uri.path())?, query(parts.uri.query().unwrap_or_default())?))
}

/// The password that a request shows with a name. Tools for images know no other way to show a token.
pub(super) fn password(headers: &HeaderMap) -> Option<String> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

/// The token that a request shows.
///
/// # Errors
/// When it shows something else, of which nothing is known.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn method(method: &http::Method) -> Result<Method, Status> {
    match *method {
        http::Method::GET => Ok(Method::Get),
        http::Method::POST => Ok(Method::Post),
        http::Method::PUT => Ok(Method::Put),
        http::Method::PATCH => Ok(Method::Patch),
        http::Method::DELETE => Ok(Method::Delete),
        _ => Err(Status::method_not_allowed()),
    }
}

/// A path, decoded segment by segment: an encoded slash or a step upwards in one could make it another path after it was looked at.
fn path(raw: &str) -> Result<String, Status> {
    let mut path = String::with_capacity(raw.len());
    if !raw.starts_with('/') {
        return Err(Status::bad_request("the request's target is not a path"));
    }
    let mut rest = raw.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        // Kubernetes takes double slashes for single ones; a last one is no segment.
        if segment.is_empty() && (rest.peek().is_some() || path.is_empty()) {
            continue;
        }
        path.push('/');
        let from = path.len();
        decode(segment, Plus::Itself, &mut path)?;
        if matches!(&path[from..], "." | "..") || path[from..].contains(['/', '\0']) {
            return Err(Status::bad_request("the request's path leads out of itself"));
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

fn query(raw: &str) -> Result<Vec<(String, String)>, Status> {
    let parameters = raw.split('&').filter(|parameter| !parameter.is_empty());
    let mut decoded = Vec::new();
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (mut decoded_name, mut decoded_value) = (String::new(), String::new());
        decode(name, Plus::Space, &mut decoded_name)?;
        decode(value, Plus::Space, &mut decoded_value)?;
        decoded.push((decoded_name, decoded_value));
    }
    Ok(decoded)
}

/// What a plus sign stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Itself,
    Space,
}

/// Resolves percent signs.
fn decode(raw: &str, plus: Plus, decoded: &mut String) -> Result<(), Status> {
    if !raw.contains(['%', '+']) {
        decoded.push_str(raw);
        return Ok(());
    }
    let malformed = || Status::bad_request(format!("invalid URL escape in {raw:?}"));
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = digit(rest.next()).zip(digit(rest.next())).ok_or_else(malformed)?;
                u8::try_from(high * 16 + low).map_err(|_| malformed())?
            }
            b'+' if plus == Plus::Space => b' ',
            byte => byte,
        });
    }
    decoded.push_str(std::str::from_utf8(&bytes).map_err(|_| malformed())?);
    Ok(())
}

/// Several headers mean what one with all their clauses means.
fn accept(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut accept = String::new();
    for value in values {
        if !accept.is_empty() {
            accept.push(',');
        }
        accept.push_str(value);
    }
    accept
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;

//! Requests over QUIC, which have a head of few words, and a body that is bounded as any other's.

use dunlin_api::Status;
use dunlin_link::rpc::{self, RequestHead};
use http::{HeaderMap, HeaderValue, Method, header};

use super::{
    super::{
        body::{self, Source},
        query::Query,
    },
    Passed, PassedBody,
};

/// What such a request is over HTTP.
pub(super) async fn passed(head: &RequestHead, query: &Query, source: Source<'_>) -> Result<Passed, Status> {
    let mut headers = HeaderMap::new();
    let words = [
        (header::CONTENT_TYPE, &head.content_type),
        (header::ACCEPT, &head.accept),
        (header::USER_AGENT, &head.user_agent),
    ];
    for (name, value) in words {
        if let Ok(value) = HeaderValue::from_str(value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
    let body = body::read(source).await?;
    let uri = uri(&head.path, query.pairs()).parse();
    Ok(Passed {
        method: method(head.method),
        uri: uri.map_err(|error| Status::bad_request(format!("invalid path: {error}")))?,
        headers,
        body: (!body.is_empty()).then(|| PassedBody::new(std::io::Cursor::new(body))),
    })
}

fn method(method: rpc::Method) -> Method {
    match method {
        rpc::Method::Get => Method::GET,
        rpc::Method::Post => Method::POST,
        rpc::Method::Put => Method::PUT,
        rpc::Method::Patch => Method::PATCH,
        rpc::Method::Delete => Method::DELETE,
    }
}

/// Path and query, encoded again.
fn uri(path: &str, query: &[(String, String)]) -> String {
    let mut uri = String::with_capacity(path.len());
    encode(path, "/:", &mut uri);
    for (position, (name, value)) in query.iter().enumerate() {
        uri.push(if position == 0 { '?' } else { '&' });
        encode(name, "", &mut uri);
        uri.push('=');
        encode(value, "", &mut uri);
    }
    uri
}

/// Percent signs for all that is neither plain nor in `kept`.
fn encode(text: &str, kept: &str, out: &mut String) {
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-._~".contains(character) || kept.contains(character) {
            out.push(character);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_and_queries_are_encoded_again() {
        let query = [("a b".to_owned(), "c&d".to_owned()), ("e".to_owned(), String::new())];
        assert_eq!(uri("/x:1/\u{e9} y", &query), "/x:1/%C3%A9%20y?a%20b=c%26d&e=");
        assert_eq!(uri("/", &[]), "/");
    }
}

//! Requests for what may have changed: whoever shows the entity tag of an answer gets it again only if it is another now.

use http::{HeaderMap, Method, header, request::Parts};

use crate::service::Response;

/// The answer, or a word that the client has it already.
pub(super) fn unless_known(request: &Parts, answer: Response) -> Response {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    if !reads || answer.head.status != 200 || !is_known(&request.headers, &answer) {
        return answer;
    }
    let mut word = Response::bytes(304, "", "");
    word.headers = answer.headers;
    word
}

/// Whether the tag of the answer is among those that the client shows. Tags are compared weakly, as a proxy may have weakened ours.
fn is_known(request: &HeaderMap, answer: &Response) -> bool {
    let Some((_, tag)) = answer.headers.iter().find(|(name, _)| *name == "etag") else { return false };
    let shown = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut shown = shown.flat_map(|value| value.split(',')).map(str::trim);
    shown.any(|shown| shown == "*" || shown.strip_prefix("W/").unwrap_or(shown) == tag)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn check(shown: &[&'static str], expected: u16) {
        let mut request = Request::get("/openapi/v3").body(()).unwrap();
        for shown in shown {
            request.headers_mut().append(header::IF_NONE_MATCH, HeaderValue::from_static(shown));
        }
        let (parts, ()) = request.into_parts();
        let response = Response::bytes(200, "application/json", "{}").with_header("etag", "\"AB\"");
        let answer = unless_known(&parts, response);
        assert_eq!(answer.head.status, expected, "{shown:?}");
        assert_eq!(answer.headers, [("etag".into(), "\"AB\"".to_owned())]);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        check(&[], 200);
        check(&["\"AB\""], 304);
        check(&["\"CD\", W/\"AB\""], 304);
        check(&["\"CD\"", "\"AB\""], 304);
        check(&["*"], 304);
        check(&["\"CD\""], 200);
        check(&["AB"], 200);
    }

    #[test]
    fn only_reads_that_went_well_are_conditional() {
        let check = |request: http::request::Builder, status, expected| {
            let request = request.header(header::IF_NONE_MATCH, "*").body(()).unwrap();
            let answer = Response::bytes(status, "", "").with_header("etag", "\"AB\"");
            assert_eq!(unless_known(&request.into_parts().0, answer).head.status, expected);
        };
        check(Request::post("/"), 200, 200);
        check(Request::get("/"), 404, 404);
        check(Request::head("/"), 200, 304);
    }
}

//! Headers that name whom a request is made as.

use dunlin_api::Status;
use dunlin_link::rpc::Impersonation;
use http::{HeaderMap, HeaderValue, request::Parts};

use super::{Plus, decode};
use crate::service::Response;

/// Whom a request is to be made as; `None` without such headers. The table of headers bounds how much they can say.
///
/// # Errors
/// The answer to headers that name no user: what was meant as somebody else must not be done as oneself.
pub(in crate::https) fn impersonation(parts: &Parts) -> Result<Option<Impersonation>, Response> {
    let asked = read(&parts.headers).map_err(Response::from)?;
    if asked.user.is_empty() && !is_nobody(&asked) {
        let uri = parts.uri.path_and_query().map_or("", |uri| uri.as_str());
        let text = format!(
            "Internal Server Error: {uri:?}: requested {} without impersonating a user\n",
            told(&asked)
        );
        return Err(Response::text(500, text));
    }
    Ok((!asked.user.is_empty()).then_some(asked))
}

fn read(headers: &HeaderMap) -> Result<Impersonation, Status> {
    let texts = |name: &str| headers.get_all(name).iter().map(text).collect::<Result<Vec<_>, _>>();
    let first = |name: &str| headers.get(name).map_or_else(|| Ok(String::new()), text);
    let mut extra = Vec::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.push((unescaped(key), text(value)?));
        }
    }
    Ok(Impersonation { user: first(USER)?, groups: texts(GROUP)?, uid: first(UID)?, extra })
}

fn text(value: &HeaderValue) -> Result<String, Status> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| Status::bad_request("a header that impersonates is not UTF-8"))
}

/// Keys are percent-encoded, because a header's name has no room for all characters; one that is not stands for itself.
fn unescaped(key: &str) -> String {
    let mut decoded = String::new();
    match decode(key, Plus::Itself, &mut decoded) {
        Ok(()) => decoded,
        Err(_) => key.to_owned(),
    }
}

fn is_nobody(asked: &Impersonation) -> bool {
    asked.groups.is_empty() && asked.uid.is_empty() && asked.extra.is_empty()
}

/// What was asked for, as Kubernetes prints it: references with kind, name, version and field.
fn told(asked: &Impersonation) -> String {
    let mut told = Vec::new();
    told.extend(asked.groups.iter().map(|group| format!("{{Group  {group}    }}")));
    let version = "authentication.k8s.io/v1";
    told.extend(asked.extra.iter().map(|(key, value)| format!("{{UserExtra  {value}  {version}  {key}}}")));
    if !asked.uid.is_empty() {
        told.push(format!("{{UID  {}  {version}  }}", asked.uid));
    }
    format!("[{}]", told.join(" "))
}

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get("/api/v1/pods?limit=5");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn headers_name_another_user() {
        let found = impersonation(&parts(&[
            ("Impersonate-User", "joe"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b, c"),
            ("Impersonate-Uid", "u"),
            ("Impersonate-Extra-Acme.com%2Fproject", "x"),
            ("Impersonate-Extra-acme.com%2fproject", "y"),
            ("Impersonate-Extra-50%", "z"),
        ]));
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let expected = Impersonation {
            user: "joe".to_owned(),
            groups: vec!["a".to_owned(), "b, c".to_owned()],
            uid: "u".to_owned(),
            extra: [("acme.com/project", "x"), ("acme.com/project", "y"), ("50%", "z")].map(owned).into(),
        };
        let mut found = found.unwrap().unwrap();
        // The order of different headers says nothing.
        found.extra.sort_by_key(|(key, _)| key != "acme.com/project");
        assert_eq!(found, expected);
        assert!(impersonation(&parts(&[])).unwrap().is_none());
    }

    #[test]
    fn whoever_is_no_user_is_nobody() {
        let check = |header: (&str, &str), expected: &str| {
            let refused = impersonation(&parts(&[header])).unwrap_err();
            assert_eq!(refused.head.status, 500);
            let crate::service::Body::Bytes(body) = refused.body else { panic!("no text") };
            let expected = format!(
                "Internal Server Error: \"/api/v1/pods?limit=5\": requested [{expected}] without impersonating a user\n"
            );
            assert_eq!(body, expected);
        };
        check(("impersonate-group", "g"), "{Group  g    }");
        check(("impersonate-uid", "u"), "{UID  u  authentication.k8s.io/v1  }");
        check(("impersonate-extra-k", "v"), "{UserExtra  v  authentication.k8s.io/v1  k}");
        let raw = HeaderValue::from_bytes(b"\xff").unwrap();
        let mut parts = parts(&[]);
        parts.headers.insert("impersonate-user", raw);
        assert_eq!(impersonation(&parts).unwrap_err().head.status, 400);
    }
}

//! Paths, queries and tokens as clients write them, and as attackers do.

use super::{bearer, path, query};

#[test]
fn paths_are_decoded_and_lead_nowhere_else() {
    let check = |raw: &str, expected: Option<&str>| {
        assert_eq!(path(raw).ok().as_deref(), expected, "{raw}");
    };
    check("/", Some("/"));
    check("/api/v1/pods", Some("/api/v1/pods"));
    check("/api/", Some("/api/"));
    check("//api///v1", Some("/api/v1"));
    check(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
        Some("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"),
    );
    check("/api/v1/a+b", Some("/api/v1/a+b"));
    check("/api/v1/%c3%a9", Some("/api/v1/\u{e9}"));
    for refused in [
        "",
        "*",
        "api",
        "/api/../x",
        "/api/%2e%2e/x",
        "/api/.%2E",
        "/api/./x",
        "/a%2fb",
        "/a%00",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%ff",
    ] {
        check(refused, None);
    }
}

#[test]
fn queries_keep_order_and_repeats() {
    let check = |raw: &str, expected: Option<&[(&str, &str)]>| {
        let found = query(raw).ok();
        let found = found.as_ref().map(|found| {
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>()
        });
        assert_eq!(found.as_deref(), expected, "{raw}");
    };
    check("", Some(&[]));
    check("watch", Some(&[("watch", "")]));
    check("a=1&&b=2&a=3", Some(&[("a", "1"), ("b", "2"), ("a", "3")]));
    check("l=a%3Db%2Cc+d&x=y=z", Some(&[("l", "a=b,c d"), ("x", "y=z")]));
    check("a=%", None);
    check("a=%80", None);
}

#[test]
fn a_bearer_token_is_what_follows_its_scheme() {
    let check = |value: &str, expected: Option<&str>| {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", value.parse().unwrap());
        assert_eq!(bearer(&headers), expected, "{value}");
    };
    check("Bearer abc", Some("abc"));
    check("bearer  abc ", Some("abc"));
    check("Bearer", None);
    check("Bearer ", None);
    check("Basic YTpi", None);
}

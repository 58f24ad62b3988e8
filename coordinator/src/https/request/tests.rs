//! Paths, queries and tokens as clients write them, and as attackers do.

use proptest::{
    collection::vec,
    prelude::{prop_assert, prop_assert_eq, proptest},
};

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

proptest! {
    #[test]
    fn a_path_never_leads_out_of_itself(raw in r"(/|[a-z]|[.]|%2[eEfF]|%25|%00|%c3%a9|%|\\|\PC){0,24}") {
        if let Ok(path) = path(&raw) {
            prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\0'), "{path}");
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
        }
    }

    #[test]
    fn what_is_escaped_is_read_back(parameters in vec((r"\PC{0,8}", r"\PC{0,8}"), 0..4)) {
        let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let raw: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        prop_assert_eq!(query(&raw.join("&")).unwrap(), parameters);
    }

    #[test]
    fn no_query_is_too_strange(raw in r"([a-z&=+%]|%[0-9a-f]{2}|\PC){0,24}") {
        if let Ok(parameters) = query(&raw) {
            prop_assert!(parameters.len() <= raw.split('&').count());
        }
    }
}

//! Headers on their way through a proxy.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Takes from a request what concerns this connection only, and who is asking.
pub(super) fn clean_request(headers: &mut HeaderMap, upgrade: Option<&str>) {
    strip_hops(headers);
    headers.remove(header::AUTHORIZATION);
    let impersonated: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(IMPERSONATION)).cloned().collect();
    for name in impersonated {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

/// Takes from an answer what concerns the pod's connection only, and what would let other sites speak with this API.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    strip_hops(headers);
    for name in CROSS_ORIGIN {
        headers.remove(name);
    }
}

/// Where a redirect leads once it leads through the proxy: as Kubernetes has it, a path below `prefix` where it meant one of the pod's.
pub(super) fn redirected(location: &str, host: &str, prefix: &str) -> String {
    let (authority, path) = match location.split_once("://") {
        Some((_, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        None => match location.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, location),
        },
    };
    let leads_elsewhere = authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host));
    let is_relative = !path.starts_with('/');
    let leads_through =
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    if leads_elsewhere || (is_relative && authority.is_none()) {
        location.to_owned()
    } else if leads_through {
        path.to_owned()
    } else if is_relative {
        format!("{prefix}/{path}")
    } else {
        format!("{prefix}{path}")
    }
}

/// Removes headers that concern one connection: those that are known to, and those that `Connection` names.
fn strip_hops(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> = named
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOPS {
        headers.remove(name);
    }
}

const HOPS: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const CROSS_ORIGIN: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

/// Begins the headers by which somebody acts as another.
const IMPERSONATION: &str = "impersonate-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_a_connection_or_a_caller_stays_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "1"),
            ("upgrade", "websocket"),
            ("authorization", "Bearer t"),
            ("impersonate-user", "joe"),
            ("impersonate-extra-a", "b"),
            ("cookie", "c"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut upgrading = headers.clone();
        clean_request(&mut headers, None);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["cookie"]);
        clean_request(&mut upgrading, Some("websocket"));
        assert_eq!(
            (&upgrading["upgrade"], &upgrading["connection"]),
            (&"websocket".parse().unwrap(), &"Upgrade".parse().unwrap())
        );
    }

    #[test]
    fn redirects_lead_through_the_proxy() {
        let prefix = "/api/v1/namespaces/d/pods/p/proxy";
        let check = |location: &str, expected: &str| {
            assert_eq!(redirected(location, "coordinator:6443", prefix), expected, "{location}");
        };
        check("/login?x=1", "/api/v1/namespaces/d/pods/p/proxy/login?x=1");
        check("/a/", "/api/v1/namespaces/d/pods/p/proxy/a/");
        check("login", "login");
        check("../x", "../x");
        check("https://elsewhere.example/a", "https://elsewhere.example/a");
        check("//elsewhere.example/a", "//elsewhere.example/a");
        check("https://coordinator:6443/a", "/api/v1/namespaces/d/pods/p/proxy/a");
        check("/api/v1/namespaces/d/pods/p/proxy/a", "/api/v1/namespaces/d/pods/p/proxy/a");
        check(
            "/api/v1/namespaces/d/pods/p/proxying",
            "/api/v1/namespaces/d/pods/p/proxy/api/v1/namespaces/d/pods/p/proxying",
        );
    }
}

//! What a path asks for in the eyes of authorizers, read as Kubernetes reads it: from its form alone, whether or not anything is
//! served there.

use dunlin_coordinator_core::authorizer::{Attributes, Target};
use dunlin_link::rpc::Method;

use super::Query;

/// What a path that has the form of an object's asks for; `None` for other paths.
pub(in crate::service) fn attributes<'a>(
    method: Method,
    path: &'a str,
    query: &Query,
) -> Option<Attributes<'a>> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match segments.as_slice() {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (prefix, rest) = match rest {
        [prefix @ ("watch" | "proxy"), rest @ ..] if !rest.is_empty() => (Some(*prefix), rest),
        rest => (None, rest),
    };
    let (namespace, parts) = match rest {
        [] => return None,
        // A namespace's own subresources look like resources in it.
        ["namespaces", name, "status" | "finalize", ..] => (*name, rest),
        ["namespaces", namespace, parts @ ..] if !parts.is_empty() => (*namespace, parts),
        ["namespaces", name] => (*name, rest),
        parts => ("", parts),
    };
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    // What is below the old form of a proxy is the other end's.
    let subresource = if prefix == Some("proxy") { "" } else { part(2) };
    let verb = prefix.unwrap_or_else(|| verb(method, part(1), query));
    let target = Target::Resource { group, resource: part(0), subresource, namespace, name: part(1) };
    Some(Attributes { verb, target })
}

fn verb(method: Method, name: &str, query: &Query) -> &'static str {
    match method {
        Method::Get if !name.is_empty() => "get",
        Method::Get if query.flag("watch") => "watch",
        Method::Get => "list",
        Method::Post => "create",
        Method::Put => "update",
        Method::Patch => "patch",
        Method::Delete if name.is_empty() => "deletecollection",
        Method::Delete => "delete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, query: &[(&str, &str)]) -> Option<String> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let query = Query::new(query.collect());
        let Attributes { verb, target } = attributes(method, path, &query)?;
        let Target::Resource { group, resource, subresource, namespace, name } = target else { return None };
        Some([verb, group, resource, subresource, namespace, name].join("|"))
    }

    #[test]
    fn paths_are_read_by_their_form() {
        let get = |path| asked(Method::Get, path, &[]).unwrap_or_default();
        assert_eq!(get("/api/v1/foos"), "list||foos|||");
        assert_eq!(get("/apis/no.such/v9/namespaces/n/foos/f/sub/more"), "get|no.such|foos|sub|n|f");
        assert_eq!(get("/api/v1/namespaces/n/status"), "get||namespaces|status|n|n");
        assert_eq!(get("/api/v1/watch/namespaces/n/pods/p/log"), "watch||pods|log|n|p");
        assert_eq!(get("/api/v1/proxy/namespaces/n/pods/p/x/y"), "proxy||pods||n|p");
        for path in ["/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1/", "/metrics/a/b/c"] {
            assert_eq!(get(path), "", "{path}");
        }
    }

    #[test]
    fn methods_become_verbs() {
        let path = "/api/v1/namespaces/n/pods";
        let verbs = [
            (Method::Post, "create"),
            (Method::Put, "update"),
            (Method::Patch, "patch"),
            (Method::Delete, "deletecollection"),
        ];
        for (method, verb) in verbs {
            assert!(asked(method, path, &[]).unwrap().starts_with(verb), "{verb}");
        }
        assert!(asked(Method::Delete, &format!("{path}/p"), &[]).unwrap().starts_with("delete|"));
        assert!(asked(Method::Get, path, &[("watch", "true")]).unwrap().starts_with("watch|"));
    }
}

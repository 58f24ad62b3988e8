//! What operations are called: generated clients make functions of these names, so they are Kubernetes' own.

use super::paths::Spot;
use crate::kind::Kind;

/// The id of an operation at `path`: what it does, the group's version, and to what.
pub(super) fn id(word: &str, path: &str, subject: &str) -> String {
    let group: String = group_and_version(path).into_iter().map(|part| camel(part, First::Upper)).collect();
    format!("{word}{group}{subject}")
}

/// The tag of the operations at `path`: group and version, or else the first word of the path.
pub(super) fn tag(path: &str) -> String {
    let parts: Vec<_> = group_and_version(path).into_iter().map(|part| camel(part, First::AsIs)).collect();
    match parts.as_slice() {
        [] => {
            let first = path.trim_matches('/').split('/').next().unwrap_or_default();
            camel(first.strip_prefix('.').map_or_else(|| first.to_owned(), capitalized).as_str(), First::AsIs)
        }
        parts => parts.join("_"),
    }
}

/// The objects that an operation is about, for its id.
pub(super) fn subject(kind: &Kind, spot: Spot, list: &str) -> String {
    let scope = if kind.namespaced { "Namespaced" } else { "" };
    match spot {
        Spot::AllNamespaces | Spot::WatchAllNamespaces => format!("{}{list}ForAllNamespaces", kind.kind),
        Spot::Subresource(subresource) => {
            format!("{scope}{}{}", kind.kind, capitalized(subresource.name))
        }
        Spot::Behind(subresource) => {
            format!("{scope}{}{}WithPath", kind.kind, capitalized(subresource.name))
        }
        _ => format!("{scope}{}{list}", kind.kind),
    }
}

/// With a capital letter.
pub(super) fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// The group, without what all groups of Kubernetes end in, and the version; neither for paths outside of all groups.
fn group_and_version(path: &str) -> Vec<&str> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api"] => vec!["core"],
        ["api", version, ..] => vec!["core", version],
        ["apis", group] => vec![group.trim_end_matches(".k8s.io")],
        ["apis", group, version, ..] => vec![group.trim_end_matches(".k8s.io"), version],
        _ => Vec::new(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Upper,
    AsIs,
}

/// Joins the words of a name that are divided by dots or dashes.
fn camel(name: &str, first: First) -> String {
    let words = name.split(['.', '-']).enumerate();
    let word = |(position, word): (usize, &str)| {
        if position == 0 && first == First::AsIs { word.to_owned() } else { capitalized(word) }
    };
    words.map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind;

    #[test]
    fn operations_are_called_as_by_kubernetes() {
        let pod = kind::by_kind("v1", "Pod").unwrap();
        let path = "/api/v1/namespaces/{namespace}/pods";
        let check = |word, spot, list, expected: &str| {
            assert_eq!(id(word, path, &subject(pod, spot, list)), expected);
        };
        check("list", Spot::Collection, "", "listCoreV1NamespacedPod");
        check("list", Spot::AllNamespaces, "", "listCoreV1PodForAllNamespaces");
        check("watch", Spot::WatchCollection, "List", "watchCoreV1NamespacedPodList");
        check("watch", Spot::WatchAllNamespaces, "List", "watchCoreV1PodListForAllNamespaces");
        let status = pod.subresource("status").unwrap();
        check("read", Spot::Subresource(status), "", "readCoreV1NamespacedPodStatus");
        check("connect", Spot::Behind(status), "", "connectCoreV1NamespacedPodStatusWithPath");
        assert_eq!(id("get", "/apis/rbac.authorization.k8s.io/", "APIGroup"), "getRbacAuthorizationAPIGroup");
        assert_eq!(id("get", "/version/", "CodeVersion"), "getCodeVersion");
    }

    #[test]
    fn tags_are_groups() {
        for (path, expected) in [
            ("/api/", "core"),
            ("/api/v1/pods", "core_v1"),
            ("/apis/", "apis"),
            ("/apis/flowcontrol.apiserver.k8s.io/v1/", "flowcontrolApiserver_v1"),
            ("/version/", "version"),
            ("/.well-known/openid-configuration/", "WellKnown"),
        ] {
            assert_eq!(tag(path), expected, "{path}");
        }
    }
}

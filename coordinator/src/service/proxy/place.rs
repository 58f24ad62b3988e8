//! Where in a path the proxy ends and what it is asked for begins.

/// A path as it was written, in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'p> {
    /// Up to and with `proxy`.
    pub(super) prefix: &'p str,
    /// Empty, or a path.
    pub(super) rest: &'p str,
}

impl<'p> Place<'p> {
    /// `None` when the path leads to no proxy.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let mut segments = Vec::with_capacity(DEPTH_MAX);
        let mut end = 0;
        for segment in path.split_inclusive('/') {
            let name = segment.trim_end_matches('/');
            if !name.is_empty() {
                segments.push(name);
                let at = end + name.len();
                match segments.as_slice() {
                    ["api", "v1", "namespaces", _, "pods" | "services", _, NAME]
                    | ["api", "v1", "nodes", _, NAME] => {
                        return Some(Self { prefix: &path[..at], rest: &path[at..] });
                    }
                    known if known.len() == DEPTH_MAX => return None,
                    _ => {}
                }
            }
            end += segment.len();
        }
        None
    }

    /// What to ask for.
    pub(super) fn rest_or_root(&self) -> String {
        if self.rest.is_empty() { "/".to_owned() } else { self.rest.to_owned() }
    }
}

/// Whether requests to this path are handed on.
pub fn is_passed_on(path: &str) -> bool {
    Place::of(path).is_some()
}

/// The subresource.
pub(in crate::service) const NAME: &str = "proxy";

/// Segments up to and with `proxy`, at most.
const DEPTH_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_behind_the_proxy() {
        let check = |path: &str, expected: Option<(&str, &str)>| {
            let found = Place::of(path).map(|place| (place.prefix, place.rest));
            assert_eq!(found, expected, "{path}");
        };
        let pod = "/api/v1/namespaces/d/pods/http:p:80/proxy";
        check(pod, Some((pod, "")));
        check("/api/v1/namespaces/d/pods/http:p:80/proxy/", Some((pod, "/")));
        check("/api/v1/namespaces/d/pods/http:p:80/proxy/a%2fb/proxy", Some((pod, "/a%2fb/proxy")));
        check("/api/v1/namespaces/d/pods/http:p:80/proxy//a", Some((pod, "//a")));
        check("//api/v1/nodes//n/proxy/x", Some(("//api/v1/nodes//n/proxy", "/x")));
        check("/api/v1/namespaces/d/services/s/proxy", Some(("/api/v1/namespaces/d/services/s/proxy", "")));
        check("/api/v1/namespaces/d/configmaps/proxy/proxy", None);
        check("/api/v1/namespaces/d/pods/proxy", None);
        check("/apis/x/v1/namespaces/d/pods/p/proxy", None);
        check("/", None);
    }
}

//! Which cgroup is a pod's. Whoever cleans up kills what is in it, so that what names no cgroup of a pod must never become one.

use std::{fmt, path::Path};

/// A cgroup below the root of each hierarchy, at least two levels deep: never one that others are in, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPath(String);

/// Why a text is no pod's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no cgroup of a pod: an absolute path of two parts or more, without `.` and `..`")]
pub(crate) struct NoCgroupPath;

impl CgroupPath {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or none of a pod.
    pub(crate) fn parse(text: &str) -> Result<Self, NoCgroupPath> {
        let parts = text.strip_prefix('/').ok_or(NoCgroupPath)?;
        let is_deep = parts.split('/').count() >= DEPTH_MIN;
        if is_deep && text.len() <= BYTES_MAX && parts.split('/').all(is_name) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoCgroupPath)
        }
    }

    /// The one of this name inside it.
    ///
    /// # Errors
    /// When that is no name.
    pub(crate) fn child(&self, name: &str) -> Result<Self, NoCgroupPath> {
        if is_name(name) { Self::parse(&format!("{self}/{name}")) } else { Err(NoCgroupPath) }
    }

    /// As specifications have it.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// From the root of a hierarchy.
    pub(super) fn relative(&self) -> &str {
        self.0.trim_start_matches('/')
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name(part: &str) -> bool {
    let is_plain = !part.contains('/') && !part.chars().any(char::is_control);
    is_plain && !part.is_empty() && part != "." && part != ".." && part.len() <= NAME_BYTES_MAX
}

/// The root and what is right below it belong to the machine and to all of us.
const DEPTH_MIN: usize = 2;
/// Longest path that the kernel takes, with room for the hierarchy's root.
const BYTES_MAX: usize = 2048;
/// Longest name of a folder.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_pods_is_a_cgroup() {
        for text in ["/dunlin/pod1", "/dunlin/burstable/pod1", "/a/b/c/d"] {
            assert_eq!(CgroupPath::parse(text).unwrap().to_string(), text);
        }
        let long = format!("/a/{}", "b".repeat(256));
        let texts = ["", "/", "//", "/dunlin", "/dunlin/", "dunlin/pod1", "/../..", "/dunlin/..", "/./pod1"];
        for text in texts.into_iter().chain(["/dunlin//pod1", "/dunlin/pod1\n", "/a/b\0", &long]) {
            assert_eq!(CgroupPath::parse(text), Err(NoCgroupPath), "{text:?}");
        }
    }

    #[test]
    fn what_is_inside_has_a_name_of_its_own() {
        let pod = CgroupPath::parse("/dunlin/pod1").unwrap();
        assert_eq!(pod.child("c").unwrap().to_string(), "/dunlin/pod1/c");
        for name in ["", ".", "..", "a/b", "../x"] {
            assert_eq!(pod.child(name), Err(NoCgroupPath), "{name:?}");
        }
    }
}

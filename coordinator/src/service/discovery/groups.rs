//! Groups and versions of what is served, in the order that clients prefer them.

use std::{cmp::Reverse, collections::BTreeSet};

use dunlin_api::{Kind, kind};

/// Groups other than the core group, each once.
pub(super) fn group_names() -> Vec<&'static str> {
    let mut groups = Vec::new();
    for kind in kind::all().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&kind.group) {
            groups.push(kind.group);
        }
    }
    groups
}

/// Versions of a group, the preferred one first.
pub(super) fn versions(group: &str) -> Vec<&'static str> {
    let versions: BTreeSet<&str> =
        kind::all().filter(|kind| kind.group == group).map(|kind| kind.version).collect();
    let mut versions: Vec<&str> = versions.into_iter().collect();
    versions.sort_by_key(|version| Reverse(priority(version)));
    versions
}

/// Kinds of a group's version, by the names of their resources.
pub(super) fn kinds(group: &str, version: &str) -> Vec<&'static Kind> {
    let mut kinds: Vec<_> =
        kind::all().filter(|kind| kind.group == group && kind.version == version).collect();
    kinds.sort_by_key(|kind| kind.plural);
    kinds
}

/// How far a version has come: stable above beta above alpha above all else, and then the higher number.
fn priority(version: &str) -> (u8, u32, u32) {
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (major, stage) = rest.split_at(digits);
        let (stage, minor) = match (stage.strip_prefix("alpha"), stage.strip_prefix("beta")) {
            (Some(minor), _) => (1, minor.parse().ok()?),
            (_, Some(minor)) => (2, minor.parse().ok()?),
            _ if stage.is_empty() => (3, 0),
            _ => return None,
        };
        Some((stage, major.parse().ok()?, minor))
    };
    parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_by_how_far_they_came() {
        let mut versions = ["v1alpha1", "v10", "foo", "v2beta1", "v1", "v11beta2", "v11beta10", "v2"];
        versions.sort_by_key(|version| Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta10", "v11beta2", "v2beta1", "v1alpha1", "foo"]);
    }
}

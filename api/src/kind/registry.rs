//! Which kinds are served: those that every cluster has, and those added while it runs.
//!
//! A kind that is added lives as long as the process, so that what looks at it needs no lock and no count; removing it only ends
//! that it is found. Adding one that was there before brings the same row back.

use std::sync::{PoisonError, RwLock};

use super::Kind;

/// Kinds that every cluster has, by group and in the order of discovery. Where a plain name means several kinds, the first wins.
static GROUPS: &[&[&Kind]] = &[
    super::core::KINDS,
    super::apps::KINDS,
    super::events::KINDS,
    super::authentication::KINDS,
    super::authorization::KINDS,
    super::autoscaling::KINDS,
    super::batch::KINDS,
    super::certificates::KINDS,
    super::networking::KINDS,
    super::policy::KINDS,
    super::rbac::KINDS,
    super::storage::KINDS,
    super::scheduling::KINDS,
    super::coordination::KINDS,
    super::node::KINDS,
    super::discovery::KINDS,
    super::flowcontrol::KINDS,
    super::metrics::KINDS,
];

/// Kinds added while running, with whether they are served.
static ADDED: RwLock<Vec<(&'static Kind, Served)>> = RwLock::new(Vec::new());

#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Yes,
    No,
}

/// Why a kind is not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// Another kind has its name or its plural.
    #[error("{0} is served already")]
    Taken(String),
    /// As many kinds were added as a process may hold.
    #[error("no more than {ADDED_MAX} kinds can be added before a restart")]
    TooMany,
}

/// Every kind that is served, in the order of discovery.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner);
    let added: Vec<_> =
        added.iter().filter(|(_, served)| *served == Served::Yes).map(|(kind, _)| *kind).collect();
    GROUPS.iter().copied().flatten().copied().chain(added)
}

/// Serves another kind from now on.
///
/// # Errors
///
/// When its names are taken, or too many kinds were added.
pub fn add(kind: Kind) -> Result<&'static Kind, AddError> {
    let same = |other: &&Kind| {
        (other.group, other.version) == (kind.group, kind.version)
            && (other.kind == kind.kind || other.plural == kind.plural)
    };
    if let Some(taken) = all().find(same) {
        return Err(AddError::Taken(taken.group_resource()));
    }
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    if added.len() >= ADDED_MAX {
        return Err(AddError::TooMany);
    }
    let kind: &'static Kind = Box::leak(Box::new(kind));
    added.push((kind, Served::Yes));
    Ok(kind)
}

/// Serves a kind that was added no longer. Kinds that every cluster has stay.
pub fn remove(kind: &'static Kind) {
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    for (known, served) in added.iter_mut().filter(|(known, _)| std::ptr::eq(*known, kind)) {
        debug_assert_eq!(known.kind, kind.kind);
        *served = Served::No;
    }
}

/// The kind served at this group, version and plural name.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    all().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind of an object with this `apiVersion` and `kind`.
pub fn by_kind(api_version: &str, name: &str) -> Option<&'static Kind> {
    all().find(|kind| kind.kind == name && kind.api_version() == api_version)
}

/// The kinds that a name typed by a person means: plural, singular, kind or short name, in any case, with or without the group
/// (`deployments.apps`) or version and group (`deployments.v1.apps`); or a category. Empty when there is none.
pub fn by_any_name(typed: &str) -> Vec<&'static Kind> {
    let typed = typed.to_lowercase();
    let (name, rest) =
        typed.split_once('.').map_or((typed.as_str(), None), |(name, rest)| (name, Some(rest)));
    let in_group = |kind: &Kind| {
        rest.is_none_or(|rest| rest == kind.group || rest.split_once('.') == Some((kind.version, kind.group)))
    };
    let named = all().find(|kind| in_group(kind) && kind.is_called(name));
    match named {
        Some(kind) => vec![kind],
        None if rest.is_none() => all().filter(|kind| kind.categories.contains(&name)).collect(),
        None => Vec::new(),
    }
}

/// More custom kinds than an edge cluster has; each stays in memory.
const ADDED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &[&str]) {
        let found: Vec<_> = by_any_name(typed).into_iter().map(|kind| kind.kind).collect();
        assert_eq!(found, expected, "{typed}");
    }

    #[test]
    fn kinds_are_found_by_any_name() {
        for typed in ["pod", "pods", "po", "Pod", "pods.v1."] {
            check(typed, &["Pod"]);
        }
        check("no", &["Node"]);
        check("sa", &["ServiceAccount"]);
        check("cm", &["ConfigMap"]);
        check("pods.apps", &[]);
        check("foo", &[]);
        let all: Vec<_> = by_any_name("all").into_iter().map(|kind| kind.kind).collect();
        assert!(all.contains(&"Pod"), "{all:?}");
    }

    #[test]
    fn kinds_come_and_go_while_running() {
        let row = || Kind {
            group: "test.dunlin.dev",
            kind: "Gadget",
            plural: "gadgets",
            singular: "gadget",
            schema: "io.k8s.api.core.v1.ConfigMap",
            ..Kind::BASE
        };
        let added = add(row()).unwrap();
        assert!(std::ptr::eq(by_resource("test.dunlin.dev", "v1", "gadgets").unwrap(), added));
        assert_eq!(add(row()).unwrap_err(), AddError::Taken("gadgets.test.dunlin.dev".to_owned()));
        remove(added);
        assert!(by_kind("test.dunlin.dev/v1", "Gadget").is_none());
        remove(by_kind("v1", "Pod").unwrap());
        assert!(by_kind("v1", "Pod").is_some());
    }
}

//! The paths of a document: what discovery answers, and where objects of each kind are read and written.

use crate::kind::{Kind, Subresource};

/// One path of a document.
#[derive(Debug)]
pub(super) struct Path {
    /// With its varying segments in braces.
    pub(super) path: String,
    pub(super) place: Place,
}

/// What is found at a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Something about the server.
    Information(Information),
    /// Objects of a kind.
    Objects(&'static Kind, Spot),
}

/// What the server tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Information {
    /// Which build it is.
    Version,
    /// Versions of the core group.
    CoreVersions,
    /// All other groups.
    Groups,
    /// One group.
    Group,
    /// Resources of a group's version.
    Resources,
    /// Who signs tokens of service accounts.
    Issuer,
    /// The keys that sign them.
    Keys,
}

/// Which objects of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot {
    /// All of them, or those of one namespace.
    Collection,
    /// Those of all namespaces.
    AllNamespaces,
    /// One.
    Item,
    /// A part of one.
    Subresource(&'static Subresource),
    /// A path behind a part of one.
    Behind(&'static Subresource),
    /// A watch of a collection, in the old form.
    WatchCollection,
    /// A watch of all namespaces, in the old form.
    WatchAllNamespaces,
    /// A watch of one object, in the old form.
    WatchItem,
}

impl Path {
    pub(super) fn information(path: impl Into<String>, information: Information) -> Self {
        Self { path: path.into(), place: Place::Information(information) }
    }
}

/// Adds the paths of a kind.
pub(super) fn of_kind(kind: &'static Kind, paths: &mut Vec<Path>) {
    let has = |verbs: &[&str]| kind.verbs.iter().any(|verb| verbs.contains(verb));
    let base = base(kind.group, kind.version);
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{scope}/{}", kind.plural);
    let mut add = |path: String, spot| paths.push(Path { path, place: Place::Objects(kind, spot) });
    if has(&["list", "create", "deletecollection"]) {
        add(format!("{base}{collection}"), Spot::Collection);
    }
    if kind.namespaced && has(&["list"]) {
        add(format!("{base}/{}", kind.plural), Spot::AllNamespaces);
    }
    if has(&["get", "update", "patch", "delete"]) {
        add(format!("{base}{collection}/{{name}}"), Spot::Item);
    }
    for subresource in kind.subresources {
        let path = format!("{base}{collection}/{{name}}/{}", subresource.name);
        if subresource.is_proxy() {
            add(format!("{path}/{{path}}"), Spot::Behind(subresource));
        }
        add(path, Spot::Subresource(subresource));
    }
    if has(&["watch"]) {
        add(format!("{base}/watch{collection}"), Spot::WatchCollection);
        add(format!("{base}/watch{collection}/{{name}}"), Spot::WatchItem);
        if kind.namespaced {
            add(format!("{base}/watch/{}", kind.plural), Spot::WatchAllNamespaces);
        }
    }
}

/// Where the resources of a group's version are.
pub(super) fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

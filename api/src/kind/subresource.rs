//! Subresources: parts of an object, and actions on it, that have a path and verbs of their own.

use super::Kind;

/// One subresource of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// For instance `status`.
    pub name: &'static str,
    /// What its requests and answers hold.
    pub content: Content,
    /// Verbs, as discovery lists them.
    pub verbs: &'static [&'static str],
}

/// What requests and answers of a subresource hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The object itself.
    Owner,
    /// Something else.
    Other {
        /// API group, empty for core.
        group: &'static str,
        /// For instance `v1`.
        version: &'static str,
        /// For instance `Scale`.
        kind: &'static str,
    },
}

impl Subresource {
    /// The status, which whoever runs the object reports.
    pub const STATUS: Self = Self::part("status");

    /// How many replicas there should be.
    pub const SCALE: Self = Self { content: Content::of("autoscaling", "Scale"), ..Self::part("scale") };

    /// A part of the object that is read and written.
    pub const fn part(name: &'static str) -> Self {
        Self { name, content: Content::Owner, verbs: &["get", "patch", "update"] }
    }

    /// Something that is created under the name of an object of this group.
    pub const fn created(name: &'static str, group: &'static str, kind: &'static str) -> Self {
        Self { name, content: Content::of(group, kind), verbs: &["create"] }
    }

    /// A connection into what the object stands for, with `kind` as the form of its parameters.
    pub const fn stream(name: &'static str, kind: &'static str) -> Self {
        Self { name, content: Content::of("", kind), verbs: &["create", "get"] }
    }

    /// Requests that are handed on to what the object stands for, with `kind` as the form of their parameters.
    pub const fn proxy(kind: &'static str) -> Self {
        let verbs = &["create", "delete", "get", "patch", "update"];
        Self { name: "proxy", content: Content::of("", kind), verbs }
    }

    /// Whether it is a connection, its content being the form of the parameters that open it.
    pub fn connects(&self) -> bool {
        matches!(self.content, Content::Other { kind, .. } if kind.ends_with("Options"))
    }

    /// Whether requests are handed on, those to paths behind it too.
    pub fn is_proxy(&self) -> bool {
        self.connects() && self.verbs.contains(&"delete")
    }

    /// Group, version and kind of its content.
    pub fn group_version_kind(&self, owner: &Kind) -> (&'static str, &'static str, &'static str) {
        match self.content {
            Content::Owner => (owner.group, owner.version, owner.kind),
            Content::Other { group, version, kind } => (group, version, kind),
        }
    }
}

impl Content {
    const fn of(group: &'static str, kind: &'static str) -> Self {
        Self::Other { group, version: "v1", kind }
    }
}

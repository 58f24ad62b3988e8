//! Which kind an object is of, where only that is remembered.

use dunlin_api::{Kind, kind};

/// A kind of stored objects, by its group and plural: whatever its versions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group, empty for core.
    pub group: &'static str,
    /// For instance `pods`.
    pub plural: &'static str,
}

impl Resource {
    /// That of a kind.
    pub const fn of(kind: &Kind) -> Self {
        Self { group: kind.group, plural: kind.plural }
    }

    /// One of the core group.
    pub const fn core(plural: &'static str) -> Self {
        Self { group: "", plural }
    }

    /// The kind as which its objects are stored; `None` when it is served no more.
    pub fn kind(self) -> Option<&'static Kind> {
        kind::all().find(|kind| Self::of(kind) == self).map(Kind::stored_as)
    }

    /// Whether objects of the kind own or are owned. Events own nothing and are too many to remember.
    pub fn takes_part(self) -> bool {
        self.plural != "events" || !["", "events.k8s.io"].contains(&self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_every_group_are_found_again() {
        for kind in kind::all().filter(|kind| kind.group != "test.dunlin.dev") {
            let found = Resource::of(kind).kind().unwrap();
            assert_eq!(Resource::of(found.stored_as()), Resource::of(kind.stored_as()), "{}", kind.kind);
        }
        assert!(Resource { group: "none.example", plural: "pods" }.kind().is_none());
    }

    #[test]
    fn events_do_not_take_part() {
        assert!(!Resource::core("events").takes_part());
        assert!(!Resource { group: "events.k8s.io", plural: "events" }.takes_part());
        assert!(Resource { group: "sports.example", plural: "events" }.takes_part());
    }
}

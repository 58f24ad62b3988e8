//! What a definition says about itself beyond its fields: the kinds it is the form of, and its unions.

use serde_json::Value;

use super::{Definition, TABLE, attribute, definition};

/// A group, version and kind that a definition is the form of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupVersionKind {
    /// API group, empty for core.
    pub group: &'static str,
    /// For instance `v1`.
    pub version: &'static str,
    /// For instance `Pod`.
    pub kind: &'static str,
}

/// The definition that is the form of this kind.
pub fn by_group_version_kind(group: &str, version: &str, kind: &str) -> Option<&'static Definition> {
    let wanted = GroupVersionKind::tag(group, version, kind);
    let named = |entry: &&super::Entry| {
        entry.text.lines().next().is_some_and(|header| header.split(' ').any(|part| part == wanted))
    };
    TABLE.entries.iter().find(named).and_then(|entry| definition(entry.name))
}

impl Definition {
    /// The kinds that it is the form of, `x-kubernetes-group-version-kind`.
    pub fn group_version_kinds(&self) -> impl Iterator<Item = GroupVersionKind> + use<> {
        self.header.split(' ').filter_map(|part| GroupVersionKind::parse(part.strip_prefix("g=")?))
    }

    /// `x-kubernetes-unions`, if it has any.
    pub fn unions(&self) -> Option<Value> {
        attribute(self.header, "u=")
            .map(|text| serde_json::from_str(text).expect("the table holds JSON; a test parses all unions"))
    }

    /// The definition of a list of these.
    pub fn list(&self) -> Option<&'static Self> {
        definition(&format!("{}List", self.name))
    }
}

impl GroupVersionKind {
    fn parse(text: &'static str) -> Option<Self> {
        let (group, rest) = text.split_once('/')?;
        let (version, kind) = rest.split_once('/')?;
        Some(Self { group, version, kind })
    }

    fn tag(group: &str, version: &str, kind: &str) -> String {
        format!("g={group}/{version}/{kind}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_lead_to_their_definitions_and_back() {
        let pod = by_group_version_kind("", "v1", "Pod").unwrap();
        assert_eq!(pod.name, "io.k8s.api.core.v1.Pod");
        let own = GroupVersionKind { group: "", version: "v1", kind: "Pod" };
        assert_eq!(pod.group_version_kinds().collect::<Vec<_>>(), [own]);
        assert_eq!(pod.list().unwrap().name, "io.k8s.api.core.v1.PodList");
        assert!(by_group_version_kind("", "v1", "Po").is_none());
    }

    #[test]
    fn unions_parse() {
        let with = TABLE.entries.iter().filter_map(|entry| definition(entry.name)?.unions()).count();
        assert!(with >= 6, "{with}");
    }
}

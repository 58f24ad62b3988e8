//! Kinds that another program serves, as its discovery tells of them: enough to address their objects, nothing of their fields.

use super::Kind;

/// What discovery tells of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// API group, empty for core.
    pub group: String,
    /// Version, for instance `v1`.
    pub version: String,
    /// For instance `Pod`.
    pub kind: String,
    /// For instance `pods`.
    pub plural: String,
    /// For instance `pod`.
    pub singular: String,
    /// For instance `po`.
    pub short_names: Vec<String>,
    /// For instance `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs of the resource itself.
    pub verbs: Vec<String>,
}

impl From<Described> for Kind {
    /// A row for a client. It has no schema, so that no object of it can be decoded; its names stay in memory.
    fn from(described: Described) -> Self {
        Self {
            group: described.group.leak(),
            version: described.version.leak(),
            kind: described.kind.leak(),
            plural: described.plural.leak(),
            singular: described.singular.leak(),
            short_names: leaked(described.short_names),
            categories: leaked(described.categories),
            namespaced: described.namespaced,
            verbs: leaked(described.verbs),
            columns: &[],
            row: |_, _| Vec::new(),
            ..Self::BASE
        }
    }
}

fn leaked(names: Vec<String>) -> &'static [&'static str] {
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    names.leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_kind_has_its_names() {
        let kind = Kind::from(Described {
            group: "example.com".to_owned(),
            version: "v1".to_owned(),
            plural: "foos".to_owned(),
            short_names: vec!["f".to_owned()],
            namespaced: true,
            ..Described::default()
        });
        assert_eq!((kind.api_version().as_str(), kind.short_names), ("example.com/v1", ["f"].as_slice()));
        assert_eq!(kind.group_resource(), "foos.example.com");
    }
}

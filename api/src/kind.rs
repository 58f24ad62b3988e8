//! The registry of resource kinds: one row each. Adding a kind is adding a row here and a file in `kind/`.

/// One resource kind.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version, for instance `v1`.
    pub version: &'static str,
    /// For instance `Pod`.
    pub kind: &'static str,
    /// For instance `pods`.
    pub plural: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

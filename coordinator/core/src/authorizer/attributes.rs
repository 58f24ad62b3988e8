//! What authorizers look at.

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// For instance `system:serviceaccount:default:builder`.
    pub name: &'a str,
    /// For instance `system:authenticated`.
    pub groups: &'a [String],
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// For instance `list`, or for a path the method in lower case.
    pub verb: &'a str,
    /// Of what.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Objects.
    Resource {
        /// API group; empty for core.
        group: &'a str,
        /// Plural name.
        resource: &'a str,
        /// Empty for the object itself.
        subresource: &'a str,
        /// Empty for cluster-scoped resources, and for all namespaces.
        namespace: &'a str,
        /// Empty for collections.
        name: &'a str,
    },
    /// A path that is no object's, for instance `/version`.
    Path(&'a str),
}

impl<'a> Target<'a> {
    /// The namespace whose bindings count; empty when only the cluster's do.
    pub(super) const fn namespace(&self) -> &'a str {
        match self {
            Self::Resource { namespace, .. } => namespace,
            Self::Path(_) => "",
        }
    }
}

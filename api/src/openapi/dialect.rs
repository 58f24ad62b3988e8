//! The two versions of OpenAPI.

use crate::schema::Definition;

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// 2.0, one document for everything, without defaults.
    V2,
    /// 3.0, a document for each group's version.
    V3,
}

impl Dialect {
    /// How a schema refers to a definition.
    pub(super) fn reference(self, definition: &Definition) -> String {
        let place = match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        };
        format!("{place}{}", definition.name)
    }
}

//! ServiceAccount.

use crate::kind::{Kind, Removed, Subresource};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    schema: "io.k8s.api.core.v1.ServiceAccount",
    subresources: &[Subresource::created("token", "authentication.k8s.io", "TokenRequest")],
    removed: Removed::LastState,
    ..Kind::BASE
};

//! ServiceAccount.

use crate::kind::{Kind, Removed};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    schema: "io.k8s.api.core.v1.ServiceAccount",
    removed: Removed::LastState,
    ..Kind::BASE
};

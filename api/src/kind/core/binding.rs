//! Binding: that a pod is to run on a node. It is carried out and not kept.

use crate::kind::{Kind, Storage};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    schema: "io.k8s.api.core.v1.Binding",
    storage: Storage::None,
    verbs: &["create"],
    ..Kind::BASE
};

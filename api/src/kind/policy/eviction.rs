//! Eviction: the wish that a pod leaves its node, as far as its budgets allow. It is no resource by itself.

use crate::{
    kind::{Kind, Storage},
    names::NameRule,
};

/// The kind of bodies of `pods/eviction`.
pub static EVICTION: Kind = Kind {
    group: "policy",
    kind: "Eviction",
    plural: "evictions",
    singular: "eviction",
    schema: "io.k8s.api.policy.v1.Eviction",
    storage: Storage::None,
    verbs: &[],
    name_rule: NameRule::PathSegment,
    ..Kind::BASE
};

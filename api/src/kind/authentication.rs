//! Kinds of the group `authentication.k8s.io`: questions that are answered and forgotten.

use super::{Kind, Storage};

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&SELF_SUBJECT_REVIEW, &TOKEN_REVIEW];

/// What the reviews share.
const REVIEW: Kind = Kind {
    group: "authentication.k8s.io",
    namespaced: false,
    verbs: &["create"],
    storage: Storage::None,
    ..Kind::BASE
};

static SELF_SUBJECT_REVIEW: Kind = Kind {
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    schema: "io.k8s.api.authentication.v1.SelfSubjectReview",
    ..REVIEW
};

static TOKEN_REVIEW: Kind = Kind {
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    schema: "io.k8s.api.authentication.v1.TokenReview",
    ..REVIEW
};

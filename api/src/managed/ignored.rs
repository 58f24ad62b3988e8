//! Fields that nobody owns: what the system sets on every object, and what a request cannot write.

use std::{borrow::Cow, sync::LazyLock};

use super::{element::Element, set::FieldSet};
use crate::kind::Kind;

/// Takes what nobody ever owns out of a set.
pub(super) fn strip(set: &FieldSet) -> FieldSet {
    set.without(&SYSTEM).difference(&METADATA)
}

/// Fields, with all below them, that a request to `subresource` does not write. Who sends them neither owns them nor takes them from
/// anyone.
pub(super) fn ignored(kind: &'static Kind, subresource: &str) -> Cow<'static, FieldSet> {
    match subresource {
        // It also says in the status that the pod is bound.
        "binding" => Cow::Borrowed(&SYSTEM),
        "status" => Cow::Owned(with_all_but_status(kind)),
        _ if kind.has_subresource("status") => Cow::Borrowed(&SYSTEM_AND_STATUS),
        _ => Cow::Borrowed(&SYSTEM),
    }
}

fn with_all_but_status(kind: &'static Kind) -> FieldSet {
    let mut set = SYSTEM.clone();
    for field in
        kind.definition().fields().iter().filter(|field| !["metadata", "status"].contains(&field.name))
    {
        set.insert(&path(&[field.name]));
    }
    for field in ["ownerReferences", "deletionTimestamp"] {
        set.insert(&path(&["metadata", field]));
    }
    set
}

fn path(fields: &[&str]) -> Vec<Element> {
    fields.iter().map(|field| Element::Field((*field).to_owned())).collect()
}

fn set(paths: &[&[&str]]) -> FieldSet {
    let mut set = FieldSet::default();
    for fields in paths {
        set.insert(&path(fields));
    }
    set
}

/// The struct itself; some of its fields have owners.
static METADATA: LazyLock<FieldSet> = LazyLock::new(|| set(&[&["metadata"]]));

static SYSTEM: LazyLock<FieldSet> = LazyLock::new(|| {
    set(&[
        &["apiVersion"],
        &["kind"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

static SYSTEM_AND_STATUS: LazyLock<FieldSet> = LazyLock::new(|| SYSTEM.union(&set(&[&["status"]])));

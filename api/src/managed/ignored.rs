//! Fields that nobody owns: what the system sets on every object, and what a request cannot write.

use std::{borrow::Cow, sync::LazyLock};

use super::{element::Element, set::FieldSet};
use crate::{kind::Kind, schema::Definition};

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
        "status" => but_status(kind),
        // Who approves does not sign.
        "approval" => Cow::Borrowed(&BUT_CONDITIONS),
        "ephemeralcontainers" => Cow::Owned(but_ephemeral(kind)),
        _ if kind.has_subresource("status") => Cow::Borrowed(&SYSTEM_AND_STATUS),
        _ => Cow::Borrowed(&SYSTEM),
    }
}

/// All but the status and what of metadata a status request may write. Nodes report often, and nearly every kind has a spec only.
fn but_status(kind: &'static Kind) -> Cow<'static, FieldSet> {
    let is_other = |name: &&str| !["apiVersion", "kind", "metadata", "spec", "status"].contains(name);
    let others: Vec<&str> =
        kind.definition().fields().iter().map(|field| field.name).filter(is_other).collect();
    if others.is_empty() {
        return Cow::Borrowed(&BUT_STATUS);
    }
    let mut set = BUT_STATUS.clone();
    others.into_iter().for_each(|name| set.insert(&path(&[name])));
    Cow::Owned(set)
}

/// All but what is added to a pod.
fn but_ephemeral(kind: &'static Kind) -> FieldSet {
    let mut set = set(&[&["apiVersion"], &["kind"], &["metadata"], &["status"]]);
    let spec = kind.definition().field("spec").and_then(|spec| spec.ty.definition());
    let fields = spec.map(Definition::fields).unwrap_or_default();
    let others = fields.iter().filter(|field| field.name != "ephemeralContainers");
    others.for_each(|field| set.insert(&path(&["spec", field.name])));
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

static BUT_STATUS: LazyLock<FieldSet> = LazyLock::new(|| {
    SYSTEM.union(&set(&[&["spec"], &["metadata", "ownerReferences"], &["metadata", "deletionTimestamp"]]))
});

static BUT_CONDITIONS: LazyLock<FieldSet> =
    LazyLock::new(|| BUT_STATUS.union(&set(&[&["status", "certificate"]])));

static SYSTEM_AND_STATUS: LazyLock<FieldSet> = LazyLock::new(|| SYSTEM.union(&set(&[&["status"]])));

//! What a change does in other versions of its kind: sets of fields name them as one version has them.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use super::{compare::Comparison, ignored::ignored, node_type::NodeType, set::FieldSet};
use crate::kind::{self, Kind};

/// The comparison of two states of an object, in each version that is asked for.
#[derive(Debug)]
pub(super) struct Versions<'v> {
    kind: &'static Kind,
    subresource: &'v str,
    old: &'v Value,
    new: &'v Value,
    compared: BTreeMap<String, Option<Compared>>,
}

/// What differs between two objects of this type.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) ty: NodeType,
    /// Fields that the new one says differently.
    pub(super) changed: FieldSet,
    /// Fields that it does not say any more.
    pub(super) removed: FieldSet,
}

impl<'v> Versions<'v> {
    /// Compares two states that are in the version of `kind`.
    pub(super) fn new(kind: &'static Kind, subresource: &'v str, old: &'v Value, new: &'v Value) -> Self {
        let compared = Some(compare(kind, subresource, old, new));
        Self { kind, subresource, old, new, compared: BTreeMap::from([(kind.api_version(), compared)]) }
    }

    /// Whether both states say the same.
    pub(super) fn are_same(&self) -> bool {
        self.compared
            .values()
            .flatten()
            .all(|compared| compared.changed.is_empty() && compared.removed.is_empty())
    }

    /// The comparison in a version; `None` when the kind does not have it.
    pub(super) fn at(&mut self, api_version: &str) -> Option<&Compared> {
        if !self.compared.contains_key(api_version) {
            let compared = version_of(self.kind, api_version).map(|kind| {
                let old = converted(self.old, self.kind, kind);
                compare(kind, self.subresource, &old, &converted(self.new, self.kind, kind))
            });
            self.compared.insert(api_version.to_owned(), compared);
        }
        self.compared.get(api_version)?.as_ref()
    }
}

fn compare(kind: &'static Kind, subresource: &str, old: &Value, new: &Value) -> Compared {
    let ty = NodeType::of_definition(kind.definition());
    let comparison = Comparison::of(ty, old, new, &ignored(kind, subresource));
    Compared { ty, changed: comparison.changed(), removed: comparison.removed }
}

/// The kind as this version has it; `None` when it does not.
pub(super) fn version_of(kind: &'static Kind, api_version: &str) -> Option<&'static Kind> {
    if kind.api_version() == api_version {
        return Some(kind);
    }
    let other = kind::by_kind(api_version, kind.kind)?;
    std::ptr::eq(other.stored_as(), kind.stored_as()).then_some(other)
}

/// An object of one version as another has it. What cannot be converted stays as it is: it is refused when it is to be stored.
pub(super) fn converted<'v>(object: &'v Value, from: &Kind, to: &Kind) -> Cow<'v, Value> {
    if std::ptr::eq(from, to) {
        return Cow::Borrowed(object);
    }
    let mut converted = object.clone();
    match from.to_stored(&mut converted) {
        Ok(()) => to.from_stored(&mut converted),
        Err(_) => return Cow::Borrowed(object),
    }
    Cow::Owned(converted)
}

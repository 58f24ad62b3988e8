//! Resource kinds: one row each, and the registry of them.
//!
//! Adding a kind: a file under its group in `kind/` with a `KIND` row over [`Kind::BASE`] (names as in discovery, the schema's full
//! name, columns as Kubernetes prints them, functions for what the schema does not say), its line in the group's `KINDS`, and the
//! golden cases about it in `tests/golden/`.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::FieldError,
    names::NameRule,
    pipeline::Creation,
    schema::{self, Definition},
    value::text,
};

mod column;
mod conditions;
mod described;
mod field_labels;
mod int_or_percent;
mod label_selector;
mod registry;
mod rules;
mod scale;
mod stored;
mod subresource;
mod workload;

mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod metrics;
mod networking;
mod node;
mod policy;
mod rbac;
mod scheduling;
mod storage;

pub(crate) use self::field_labels::{FieldLabel, FieldLabels};
pub use self::{
    certificates::CLIENT_SIGNER,
    column::Column,
    core::{pod, service},
    described::Described,
    policy::EVICTION,
    registry::{AddError, add, all, by_any_name, by_kind, by_resource, remove},
    scale::{SCALE, Scale},
    scheduling::SYSTEM_PRIORITY_CLASSES,
    stored::{Conversion, ConversionError, Storage},
    subresource::{Content, Subresource},
};

/// One resource kind: what it is called and how its objects behave.
#[derive(Debug)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version, for instance `v1`.
    pub version: &'static str,
    /// For instance `Pod`.
    pub kind: &'static str,
    /// For instance `pods`.
    pub plural: &'static str,
    /// For instance `pod`.
    pub singular: &'static str,
    /// For instance `po`.
    pub short_names: &'static [&'static str],
    /// For instance `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Full name of the definition in the schema table.
    pub schema: &'static str,
    /// Its subresources, in the order of their names.
    pub subresources: &'static [Subresource],
    /// Verbs of the resource itself.
    pub verbs: &'static [&'static str],
    /// Columns of its table.
    pub columns: &'static [Column],
    /// Whether and as what its objects are stored.
    pub storage: Storage,
    /// Where its subresource `scale` reads and writes, if it has one.
    pub scale: Option<Scale>,
    /// What the answer to its removal holds.
    pub removed: Removed,
    /// Why objects do not do yet what they say, for a warning to whoever creates one: `no controller acts on it yet`, or another that
    /// ends so. `None` when they do.
    pub inert: Option<&'static str>,
    /// What every request about it is warned of, when the kind is on its way out.
    pub deprecation: Option<&'static str>,

    /// How `metadata.name` must look.
    pub(crate) name_rule: NameRule,
    /// Whether `metadata.generation` counts changes of the spec.
    pub(crate) generation: Generation,
    /// Fields that field selectors may name.
    pub(crate) fields: FieldLabels,
    /// Fills in defaults that the schema does not hold.
    pub(crate) default: fn(&mut Value),
    /// Resets and sets what the system owns in a new object.
    pub(crate) prepare_create: fn(&mut Value, &Creation<'_>),
    /// Restores what an update of the object (old second) may not touch.
    pub(crate) prepare_update: fn(&mut Value, &Value),
    /// Completes an update of the status (old second).
    pub(crate) prepare_status: fn(&mut Value, &Value),
    /// Sets times of an update of the status (old second).
    pub(crate) stamp_status: fn(&mut Value, &Value, Timestamp),
    /// Gives an object what Kubernetes takes from the cluster's pool of addresses and ports; the old object when it is updated.
    pub(crate) allocate: fn(&mut Value, Option<&Value>, &mut dyn service::Pool) -> Result<(), crate::Status>,
    /// What an admission step of Kubernetes refuses, before validation.
    pub(crate) admit: fn(&Self, &mut Value, &Creation<'_>) -> Result<(), crate::Status>,
    /// Rules for any object.
    pub(crate) validate: fn(&Value, &mut Vec<FieldError>),
    /// Rules for a new object, on top of `validate`.
    pub(crate) validate_create: fn(&Value, &mut Vec<FieldError>),
    /// Rules for a change (old second), on top of `validate`.
    pub(crate) validate_update: fn(&Value, &Value, &mut Vec<FieldError>),
    /// Rules for a change of status (old second); `validate` does not run.
    pub(crate) validate_status: fn(&Value, &Value, &mut Vec<FieldError>),
    /// Rules for a change of its subresource `ephemeralcontainers` (old second), if it has one, on top of `validate`.
    pub(crate) validate_ephemeral: fn(&Value, &Value, &mut Vec<FieldError>),
    /// The same as for a status for its subresource `approval`, if it has one.
    pub(crate) validate_approval: fn(&Value, &Value, &mut Vec<FieldError>),
    /// Warnings about an object, in Kubernetes' words or naming fields that are not acted on.
    pub(crate) warnings: fn(&Value) -> Vec<String>,
    /// Which updates the warnings are given for.
    pub(crate) warns: Warns,
    /// Cells of the object's row.
    pub(crate) row: fn(&Value, Timestamp) -> Vec<Value>,
}

/// What the answer to the removal of an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A Status that names it.
    Status,
    /// The object as it was.
    LastState,
}

/// Whether `metadata.generation` counts changes of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    Absent,
    CountsSpecChanges,
    /// Changes of anything but metadata, and of labels.
    CountsChanges,
    /// A PodTemplate's wanted state is its template.
    CountsTemplateChanges,
    /// A change of annotations counts as well: a Deployment's are copied to what it keeps.
    CountsSpecAndAnnotationChanges,
}

/// How warnings end that are about what is stored and not acted on.
pub(crate) const NO_EFFECT: &str = "has no effect yet";

/// How warnings end that are about what somebody waits for until it is acted on.
pub(crate) const ACTS_NOT: &str = "acts on it yet";

/// Which updates of an object are answered with warnings about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warns {
    OnEveryUpdate,
    /// Those that count as a new generation.
    OnNewGenerations,
}

impl Kind {
    /// What most kinds share; rows name the rest.
    pub(crate) const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: true,
        schema: "",
        subresources: &[],
        verbs: &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        columns: &[Column::NAME, Column::AGE],
        storage: Storage::Own,
        scale: None,
        removed: Removed::Status,
        inert: None,
        deprecation: None,
        name_rule: NameRule::Subdomain,
        generation: Generation::Absent,
        fields: FieldLabels::MetadataOnly,
        default: |_| {},
        prepare_create: |_, _| {},
        prepare_update: |_, _| {},
        prepare_status: |_, _| {},
        stamp_status: |_, _, _| {},
        allocate: |_, _, _| Ok(()),
        admit: |_, _, _| Ok(()),
        validate: |_, _| {},
        validate_create: |_, _| {},
        validate_update: |_, _, _| {},
        validate_status: |_, _, _| {},
        validate_ephemeral: |_, _, _| {},
        validate_approval: |_, _, _| {},
        warnings: |_| Vec::new(),
        warns: Warns::OnEveryUpdate,
        row: |object, now| vec![text(&object["metadata"], "name").into(), age_cell(object, now)],
    };

    /// For instance `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// For instance `pods` or `deployments.apps`.
    pub fn group_resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Its definition in the schema table.
    pub fn definition(&self) -> &'static Definition {
        schema::definition(self.schema).expect("a test checks that every kind's schema is in the table")
    }

    /// Whether it has the subresource, for instance `status`.
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresource(name).is_some()
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    fn is_called(&self, name: &str) -> bool {
        self.plural == name
            || self.singular == name
            || self.short_names.contains(&name)
            || self.kind.eq_ignore_ascii_case(name)
    }
}

/// The age of `object`, for a cell.
pub(crate) fn age_cell(object: &Value, now: Timestamp) -> Value {
    crate::time::age(&object["metadata"]["creationTimestamp"], now).into()
}

/// A map of labels, for a cell.
pub(crate) fn labels_cell(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    let labels: Vec<_> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if labels.is_empty() { "<none>".into() } else { labels.join(",").into() }
}

/// The first few of a list, for a cell, and how many there are more.
pub(crate) fn some_of(shown: &[impl AsRef<str>]) -> String {
    let some: Vec<&str> = shown.iter().take(SHOWN_MAX).map(AsRef::as_ref).collect();
    match shown.len().saturating_sub(SHOWN_MAX) {
        0 => some.join(","),
        more => format!("{} + {more} more...", some.join(",")),
    }
}

/// How many of a list a cell shows.
const SHOWN_MAX: usize = 3;

/// Adds an error for each problem of a name or key.
pub(crate) fn report(
    problems: Vec<std::borrow::Cow<'static, str>>,
    field: &crate::field::Path,
    value: &str,
    errors: &mut Vec<FieldError>,
) {
    errors.extend(problems.into_iter().map(|problem| FieldError::invalid(field, value, &problem)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_complete() {
        // Another test adds and removes a kind meanwhile.
        for kind in all().filter(|kind| !kind.group.starts_with("test.")) {
            assert_eq!(kind.definition().short_name(), kind.kind);
            assert_eq!(by_kind(&kind.api_version(), kind.kind).unwrap().plural, kind.plural);
            assert_eq!(by_resource(kind.group, kind.version, kind.plural).unwrap().kind, kind.kind);
            let names: Vec<_> = kind.subresources.iter().map(|subresource| subresource.name).collect();
            assert!(names.is_sorted(), "{}: {names:?}", kind.kind);
            assert_eq!(kind.scale.is_some(), kind.has_subresource("scale"), "{}", kind.kind);
            let cells = (kind.row)(&serde_json::json!({"metadata": {"name": "x"}}), Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), kind.columns.len(), "{}", kind.kind);
        }
    }
}

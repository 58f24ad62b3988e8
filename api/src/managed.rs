//! Field ownership: who wants which fields of an object, kept in `metadata.managedFields`, and server-side apply, which follows it.
//!
//! Sets of fields ([`FieldSet`]) are trees of steps into an object ([`Element`]), written as `FieldsV1`. The schema table says what is
//! owned as one value and what part by part. [`updated`] tracks ordinary writes, [`applied`] carries out an apply; both are functions of
//! objects and a [`Scope`]. `docs/design/apply.md` has the rules.

mod apply;
mod cap;
mod check;
mod compare;
mod conflict;
mod element;
mod fields_v1;
mod ignored;
mod last_applied;
mod managers;
mod members;
mod merge;
mod node_type;
mod remove;
mod set;
mod update;
mod validate;
mod versions;
mod zero;

use jiff::Timestamp;
use serde_json::{Map, Value};

use self::{
    apply::ApplyError,
    managers::{Manager, Managers, Operation},
    node_type::NodeType,
};
use crate::{
    Status,
    kind::Kind,
    time::format_time,
    value::{put, remove, set, text},
};

pub use self::{
    element::{Element, Literal, MalformedElement},
    fields_v1::MalformedSet,
    set::FieldSet,
    validate::check_manager,
};
pub(crate) use self::{update::updated, validate::validate};

/// Who writes what, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// In the version that is written.
    pub(crate) kind: &'static Kind,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// As the writer calls itself; empty when it does not say.
    pub(crate) manager: &'a str,
    /// Time of the write.
    pub(crate) now: Timestamp,
}

/// Whether an apply takes fields from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Force {
    /// It is refused instead.
    #[default]
    No,
    /// It does.
    Yes,
}

impl Scope<'_> {
    fn manager_name(&self) -> &str {
        if self.manager.is_empty() { "unknown" } else { self.manager }
    }

    /// Kubernetes keeps no time of those who write how many replicas there should be.
    fn time(&self) -> String {
        if self.subresource == "scale" { String::new() } else { format_time(self.now) }
    }
}

/// The object that applying `config` makes of `live`, or a new one, with its managers. It is not checked against the kind's rules.
pub(crate) fn applied(
    scope: &Scope<'_>,
    live: Option<&Value>,
    config: &Value,
    force: Force,
) -> Result<Value, Status> {
    check_config(scope.kind, config)?;
    apply::applied(scope, live, config, force).map_err(|error| match error {
        ApplyError::Conflicts(conflicts) => conflicts.into_status(),
        ApplyError::Managers(error) => {
            Status::failure(500, "", format!("failed to decode managed fields: {error}"))
        }
    })
}

/// Refuses what is no configuration of this kind.
pub(crate) fn check_config(kind: &'static Kind, config: &Value) -> Result<(), Status> {
    let (api_version, name) = (text(config, "apiVersion"), text(config, "kind"));
    if (api_version, name) != (&kind.api_version(), kind.kind) {
        let shown = group_version_kind(api_version, name);
        return Err(Status::bad_request(format!("invalid object type: {shown}")));
    }
    if config["metadata"]["managedFields"].is_array() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    check::check(kind.definition(), config).map_err(|errors| {
        let message = format!("failed to create typed patch object ({}): {errors}", identity(config));
        Status::failure(500, "", message)
    })
}

/// What messages about an applied configuration name it by: `golden/a; apps/v1, Kind=Deployment`.
pub(crate) fn identity(config: &Value) -> String {
    let metadata = &config["metadata"];
    let kind = group_version_kind(text(config, "apiVersion"), text(config, "kind"));
    format!("{}/{}; {kind}", text(metadata, "namespace"), text(metadata, "name"))
}

/// As Go prints it: the core group is empty, not absent.
pub(crate) fn group_version_kind(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// Makes an empty `managedFields`, which asks for nobody's fields to be tracked, survive that empty lists are left out: one empty entry
/// says the same.
pub(crate) fn mark_reset(object: &mut Value) {
    if let Some(entries) = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut)
        && entries.is_empty()
    {
        entries.push(Map::new().into());
    }
}

/// Gives an object back when its managers are as in `current`, if nothing but those times changed.
pub(crate) fn keep_times(object: &mut Value, current: &Value) {
    let (new, old) = (&object["metadata"]["managedFields"], &current["metadata"]["managedFields"]);
    if new != old && are_same_but_for_times(new, old) && are_same_but_for_managers(object, current) {
        set(&mut object["metadata"], "managedFields", old.clone());
    }
}

/// Whether two states of an object are the same but for who manages it, and which version it is.
fn are_same_but_for_managers(left: &Value, right: &Value) -> bool {
    let same = |left: &Value, right: &Value, left_out: &[&str]| {
        let counts = |(key, _): &(&String, &Value)| !left_out.contains(&key.as_str());
        let left = left.as_object().into_iter().flatten().filter(counts);
        left.eq(right.as_object().into_iter().flatten().filter(counts))
    };
    same(left, right, &["metadata"])
        && same(&left["metadata"], &right["metadata"], &["managedFields", "resourceVersion"])
}

fn are_same_but_for_times(left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_array(), right.as_array()) else { return false };
    let without_time = |entry: &Value| {
        let mut entry = entry.clone();
        remove(&mut entry, "time");
        entry
    };
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left == right || without_time(left) == without_time(right))
}

/// What a manager last applied to an object, as a configuration to go on from; `None` when it owns nothing by applying.
pub fn applied_by(kind: &'static Kind, object: &Value, manager: &str, subresource: &str) -> Option<Value> {
    let mut managers = Managers::read(&object["metadata"]["managedFields"]).ok()?;
    let mut entry = managers.take(&Manager::new(manager, Operation::Apply, "", subresource))?;
    let version = versions::version_of(kind, &entry.api_version)?;
    let ty = NodeType::of_definition(version.definition());
    entry.decode(ty).ok()?;
    let mut config = remove::extract(ty, &versions::converted(object, kind, version), entry.set());
    if !config["metadata"].is_object() {
        set(&mut config, "metadata", Map::new());
    }
    for key in ["name", "namespace"] {
        put(&mut config["metadata"], key, object["metadata"][key].clone());
    }
    set(&mut config, "apiVersion", version.api_version());
    set(&mut config, "kind", version.kind);
    Some(config)
}

/// The manager that a request without a name for one has: its `User-Agent` up to the first `/`.
pub fn manager_of_user_agent(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or_default();
    let mut manager = String::new();
    for character in name.chars().filter(|character| validate::is_printable(*character)) {
        if manager.len() + character.len_utf8() > validate::MANAGER_BYTES_MAX {
            break;
        }
        manager.push(character);
    }
    manager
}

#[cfg(test)]
mod tests;

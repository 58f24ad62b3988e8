//! A pod as checks look at it, and the words they have in common.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Version;
use crate::value::{list, text};

/// A pod, or what becomes one.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) annotations: &'a Value,
    pub(super) spec: &'a Value,
    /// Of the standard that it is held against.
    pub(super) version: Version,
}

/// What a pod breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: String,
    pub(super) detail: String,
}

/// What finds it.
pub(super) type Check = fn(&Subject<'_>) -> Option<Violation>;

impl<'a> Subject<'a> {
    pub(super) fn new(template: &'a Value, version: Version) -> Self {
        Self { annotations: &template["metadata"]["annotations"], spec: &template["spec"], version }
    }

    /// All containers, in the order in which they are checked.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |key| list(spec, key))
    }

    /// The names of containers that are `bad`.
    pub(super) fn bad_containers(&self, mut bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| bad(container))
            .map(|container| text(container, "name"))
            .collect()
    }

    /// Whose security context is `bad`: the pod itself, and containers.
    pub(super) fn bad_setters(&self, mut bad: impl FnMut(&'a Value) -> bool) -> Vec<String> {
        let pod = bad(&self.spec["securityContext"]).then(|| "pod".to_owned());
        let containers = self.bad_containers(|container| bad(&container["securityContext"]));
        pod.into_iter().chain((!containers.is_empty()).then(|| named(&containers))).collect()
    }

    /// Whether it says that it is for Windows, where some things do not exist.
    pub(super) fn is_for_windows(&self) -> bool {
        self.version.has(25) && self.spec["os"]["name"] == "windows"
    }

    /// Whether root of it is nobody of the machine.
    pub(super) fn has_own_users(&self) -> bool {
        self.version.has(35) && self.spec["hostUsers"] == false
    }
}

/// `None` unless somebody is to blame.
pub(super) fn violation<T>(
    to_blame: &[T],
    reason: impl Into<String>,
    detail: impl FnOnce() -> String,
) -> Option<Violation> {
    (!to_blame.is_empty()).then(|| Violation { reason: reason.into(), detail: detail() })
}

/// Containers by their names.
pub(super) fn named(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names))
}

pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let quoted = items.into_iter().map(|item| format!("\"{}\"", item.as_ref()));
    quoted.collect::<Vec<_>>().join(", ")
}

pub(super) fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// Takes the texts at `key` of a list that are not allowed; whether there are any.
pub(super) fn take_others<'a>(values: &'a [Value], allowed: &[&str], others: &mut BTreeSet<&'a str>) -> bool {
    let found: Vec<_> =
        values.iter().filter_map(Value::as_str).filter(|value| !allowed.contains(value)).collect();
    others.extend(&found);
    !found.is_empty()
}

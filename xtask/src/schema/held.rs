//! How Kubernetes' Go types hold their fields, where OpenAPI does not say: by value or by pointer, left out when empty or not.
//!
//! `held.txt` has a line per type: its name, then fields with a mark. `+` is left out when zero, `-` is kept when zero (both only
//! where the rule of [`Held::drops_zero`] would say otherwise), `0` is encoded also when it is not set, `n` is a pointer that is null
//! then, `*` a pointer with a default. The marks follow from the struct tags of the packages `k8s.io/api`, `apimachinery` and `apiextensions-apiserver`, version 0.36, read by reflection.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Presence;

/// Marks by type and field.
pub(super) struct Held(BTreeMap<(&'static str, &'static str), Mark>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    DropsZero,
    KeepsZero,
    ZeroWhenUnset,
    NullWhenUnset,
    Pointer,
}

impl Held {
    /// The committed facts.
    pub(super) fn read() -> Self {
        let fields = |line: &'static str| {
            let (name, fields) = line.split_once(' ').unwrap_or((line, ""));
            fields.split(' ').filter_map(move |field| Some(((name, field.get(1..)?), mark(field)?)))
        };
        Self(include_str!("held.txt").lines().flat_map(fields).collect())
    }

    /// Whether Kubernetes leaves the field out when it is zero: as a rule a string or bytes, neither required nor with a
    /// default.
    pub(super) fn drops_zero(
        &self,
        definition: &str,
        field: &str,
        property: &Value,
        presence: Presence,
    ) -> bool {
        match self.0.get(&(definition, field)) {
            Some(Mark::DropsZero) => true,
            Some(Mark::KeepsZero | Mark::NullWhenUnset | Mark::Pointer) => false,
            Some(Mark::ZeroWhenUnset) | None => {
                property["type"] == "string"
                    && presence == Presence::Optional
                    && property.get("default").is_none()
            }
        }
    }

    /// What Kubernetes encodes, as JSON, when the field is not set, apart from its default.
    pub(super) fn unset(&self, definition: &str, field: &str, property: &Value) -> Option<&'static str> {
        match self.0.get(&(definition, field))? {
            Mark::NullWhenUnset => Some("null"),
            _ if property.get("default").is_some() => None,
            Mark::ZeroWhenUnset => match property["ref"].as_str().and_then(|name| name.rsplit('.').next()) {
                Some("Quantity") => Some("\"0\""),
                Some("IntOrString") => Some("0"),
                _ => Some("null"),
            },
            Mark::DropsZero | Mark::KeepsZero | Mark::Pointer => None,
        }
    }

    /// Whether the field tells zero from not set although it may have a default.
    pub(super) fn is_pointer(&self, definition: &str, field: &str) -> bool {
        matches!(self.0.get(&(definition, field)), Some(Mark::Pointer | Mark::NullWhenUnset))
    }

    /// Refuses marks of fields that `definitions` do not have.
    pub(super) fn check(&self, definitions: &serde_json::Map<String, Value>) -> Result<()> {
        for (definition, field) in self.0.keys() {
            if definitions.get(*definition).is_none_or(|found| found["properties"].get(*field).is_none()) {
                bail!("held.txt names {definition}.{field}, which does not exist");
            }
        }
        Ok(())
    }
}

fn mark(field: &str) -> Option<Mark> {
    match field.as_bytes().first()? {
        b'+' => Some(Mark::DropsZero),
        b'-' => Some(Mark::KeepsZero),
        b'0' => Some(Mark::ZeroWhenUnset),
        b'n' => Some(Mark::NullWhenUnset),
        b'*' => Some(Mark::Pointer),
        _ => None,
    }
}

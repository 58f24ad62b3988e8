//! What an apply is refused with that would take fields from others.

use std::fmt;

use serde_json::{Value, json};

use super::{
    element::Element,
    managers::{Manager, Operation},
    set::FieldSet,
};
use crate::Status;

/// Fields that an apply would change, with the other managers that own them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conflicts(Vec<(Manager, FieldSet)>);

impl Conflicts {
    /// Adds what a manager owns of what would change.
    pub(super) fn add(&mut self, manager: &Manager, fields: FieldSet) {
        if !fields.is_empty() {
            self.0.push((manager.clone(), fields));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those about fields that are not in `allowed`.
    pub(super) fn without(self, allowed: &FieldSet) -> Self {
        let mut left = Self::default();
        for (manager, fields) in self.0 {
            left.add(&manager, fields.difference(allowed));
        }
        left
    }

    /// 409 with a cause for each field.
    pub(super) fn into_status(mut self) -> Status {
        self.0.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut causes: Vec<Value> = Vec::new();
        let mut managers = Vec::new();
        for (manager, fields) in &self.0 {
            let paths: Vec<String> = fields.paths().iter().map(|path| shown(path)).collect();
            causes.extend(paths.iter().map(|path| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {manager}"),
                    "field": path,
                })
            }));
            managers.push((manager, paths));
        }
        let message = match managers.as_slice() {
            [(manager, paths)] if paths.len() == 1 => {
                format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths[0])
            }
            managers => {
                let lines = managers.iter().flat_map(|(manager, paths)| {
                    let paths = paths.iter().map(|path| format!("- {path}"));
                    std::iter::once(format!("conflicts with {manager}:")).chain(paths)
                });
                let lines: Vec<String> = lines.collect();
                format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
            }
        };
        let mut status = Status::failure(409, "Conflict", message);
        status.0["details"] = json!({ "causes": causes });
        status
    }
}

/// As in messages: `"kubectl" with subresource "scale" using apps/v1`.
impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.api_version),
        }
    }
}

fn shown(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}

//! Namespaces being deleted: everything in them goes first, then they do.

use std::sync::Arc;

use super::{Action, Plan};
use crate::view::View;

/// What to do for the namespace `name`.
pub fn reconcile(view: &View, name: &Arc<str>) -> Plan {
    let Some(namespace) = view.namespace(name).filter(|namespace| namespace.deleting && namespace.finalizer)
    else {
        return Plan::nothing();
    };
    let mut plan = Plan::nothing();
    let resources: Vec<_> = view.contents(name).map(|(resource, _)| resource).collect();
    for resource in &resources {
        plan.actions.push(Action::DeleteAll { namespace: Arc::clone(name), resource: *resource });
    }
    if !resources.is_empty() {
        let uid = namespace.uid.clone();
        plan.actions.push(Action::TellRemains { name: Arc::clone(name), uid, resources });
    } else {
        plan.actions.push(Action::FinalizeNamespace { name: Arc::clone(name), uid: namespace.uid.clone() });
    }
    plan
}

#[cfg(test)]
mod tests;

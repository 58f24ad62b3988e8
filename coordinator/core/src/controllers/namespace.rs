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
    for (resource, _) in view.contents(name) {
        plan.actions.push(Action::DeleteAll { namespace: Arc::clone(name), resource });
    }
    if plan.actions.is_empty() {
        plan.actions.push(Action::FinalizeNamespace { name: Arc::clone(name), uid: namespace.uid.clone() });
    }
    plan
}

#[cfg(test)]
mod tests;

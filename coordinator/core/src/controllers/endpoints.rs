//! What is written of the pods behind Services: EndpointSlices, and Endpoints in their older form.
//!
//! Three controllers of Kubernetes look at the same here: `endpointslice` and `endpoint` write of the pods that a Service selects, and
//! `endpointslicemirroring` makes slices of Endpoints that somebody wrote for a Service without selector. All three see the view after
//! their own last writes, so that none of them tracks what it has asked for.

mod desired;
mod legacy;
mod metadata;
mod mirror;
mod packing;
mod slices;

use std::sync::Arc;

use super::{
    Action, Plan, WorkloadAction,
    tell::{Component, Severity},
};
use crate::{
    reconciler::Failure,
    view::{ObjectId, ObjectKey, View, services::SERVICES},
};

/// What to do about the Service of this name, and about the Endpoints of the same name.
pub fn reconcile(view: &View, key: &ObjectKey, failure: Option<&Failure>) -> Plan {
    let mut plan = Plan::nothing();
    let service = view.services().get(key);
    match service {
        None => legacy::clean_up(view, key, &mut plan),
        Some(service) if service.selector.is_some() && !service.is_external => {
            if let Some(failure) = failure {
                let told = WorkloadAction::Tell {
                    about: ObjectId { resource: SERVICES, key: key.clone() },
                    uid: Arc::clone(&service.meta.uid),
                    severity: Severity::Warning,
                    reason: "FailedToUpdateEndpointSlices",
                    message: format!("Error updating Endpoint Slices for Service {key}: {}", failure.message),
                };
                plan.actions.push(Action::Workload(Component::EndpointSlice, told));
            }
            let trigger = slices::reconcile(view, key, service, &mut plan);
            legacy::reconcile(view, key, service, trigger, &mut plan);
        }
        // Whoever made it writes its endpoints, too.
        Some(_) => {}
    }
    mirror::reconcile(view, key, service, &mut plan);
    if view.namespace(&key.namespace).is_some_and(|namespace| namespace.deleting) {
        // Nothing may be made there any more.
        let makes =
            |action: &Action| matches!(action, Action::Workload(_, WorkloadAction::CreateObject { .. }));
        plan.actions.retain(|action| !makes(action));
    }
    plan
}

#[cfg(test)]
mod tests;

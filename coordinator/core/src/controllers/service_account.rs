//! Every namespace that is not being deleted has a ServiceAccount `default`.

use std::sync::Arc;

use super::{Action, Plan};
use crate::view::View;

/// What to do for the namespace `name`.
pub fn reconcile(view: &View, name: &Arc<str>) -> Plan {
    let wanted = view.namespace(name).is_some_and(|namespace| !namespace.deleting);
    if !wanted || view.has_default_account(name) {
        return Plan::nothing();
    }
    Plan { actions: vec![Action::CreateDefaultAccount { namespace: Arc::clone(name) }], again_at: None }
}

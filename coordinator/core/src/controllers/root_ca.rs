//! Every namespace that is not being deleted has a ConfigMap `kube-root-ca.crt`, by which its pods know the API.

use std::sync::Arc;

use super::{Action, Plan};
use crate::view::View;

/// What to do for the namespace `name`.
pub fn reconcile(view: &View, name: &Arc<str>) -> Plan {
    let wanted = view.namespace(name).is_some_and(|namespace| !namespace.deleting);
    if !wanted || view.has_root_ca(name) {
        return Plan::nothing();
    }
    Plan { actions: vec![Action::PublishRootCa { namespace: Arc::clone(name) }], again_at: None }
}

/// The name of the ConfigMap.
pub const NAME: &str = "kube-root-ca.crt";

/// Where it holds the certificate.
pub const KEY: &str = "ca.crt";

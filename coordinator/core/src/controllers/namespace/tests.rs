//! A namespace's end.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::{super::service_account, Action, reconcile};
use crate::view::{ObjectKey, Resource, View};

fn apply(view: &mut View, object: &serde_json::Value) {
    view.apply_namespace("ns", object.to_string().as_bytes()).unwrap();
}

#[test]
fn contents_go_first_then_the_finalizer() {
    let name: Arc<str> = "ns".into();
    let mut view = View::new(Timestamp::UNIX_EPOCH, Duration::from_secs(20));
    let live = json!({ "metadata": { "uid": "u" }, "spec": { "finalizers": ["kubernetes"] } });
    apply(&mut view, &live);
    assert_eq!(
        service_account::reconcile(&view, &name).actions,
        [Action::CreateDefaultAccount { namespace: Arc::clone(&name) }]
    );
    let account = ObjectKey::new("ns", "default");
    view.object_created(Resource::core("serviceaccounts"), &account);
    assert_eq!(service_account::reconcile(&view, &name).actions, []);
    assert_eq!(reconcile(&view, &name).actions, []);

    let mut deleting = live;
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    apply(&mut view, &deleting);
    let service = Resource { group: "networking.k8s.io", plural: "ingresses" };
    view.object_created(service, &ObjectKey::new("ns", "i"));
    let delete_all = |resource| Action::DeleteAll { namespace: Arc::clone(&name), resource };
    let accounts = Resource::core("serviceaccounts");
    let tell =
        Action::TellRemains { name: Arc::clone(&name), uid: "u".into(), resources: vec![accounts, service] };
    assert_eq!(reconcile(&view, &name).actions, [delete_all(accounts), delete_all(service), tell]);
    view.object_deleted(service, &ObjectKey::new("ns", "i"));
    view.object_deleted(Resource::core("serviceaccounts"), &account);
    assert_eq!(service_account::reconcile(&view, &name).actions, [], "not while the namespace ends");
    let finalize = Action::FinalizeNamespace { name: Arc::clone(&name), uid: "u".into() };
    assert_eq!(reconcile(&view, &name).actions, [finalize]);
}

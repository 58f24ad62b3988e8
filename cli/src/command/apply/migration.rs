//! Which fields an apply may remove: those that earlier writes of the same manifest set. Who writes an object as a whole, by creating it
//! or by applying it on the client, hands over to who applies it on the server.

use dunlin_api::managed::{Element, FieldSet};
use serde_json::{Value, json};

use crate::document::{items, text};

/// The JSON patch that makes `manager` the only one of what it applies among those who wrote the object as a whole; `None` when it is
/// that already.
pub(super) fn patch(live: &Value, manager: &str) -> Option<Value> {
    let before = items(live, &["metadata", "managedFields"]);
    let mut entries = before.to_vec();
    take_client_side(&mut entries, manager)?;
    give_up_shared(&mut entries, manager)?;
    let version = &live["metadata"]["resourceVersion"];
    (entries != before).then(|| {
        json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        ])
    })
}

/// What the client declared, and still owns, becomes what `manager` applied. `None` when a set is malformed.
fn take_client_side(entries: &mut Vec<Value>, manager: &str) -> Option<()> {
    let Some(at) = entries.iter().position(|entry| is(entry, CLIENT_SIDE, "Update")) else { return Some(()) };
    let mut client = entries.remove(at);
    let all = fields(&client)?;
    let declared = all.difference(&annotation());
    if declared != all {
        keep_annotation(entries, text(&client, &["apiVersion"]));
    }
    let same_version = |entry: &&mut Value| {
        is(entry, manager, "Apply") && text(entry, &["apiVersion"]) == text(&client, &["apiVersion"])
    };
    match entries.iter_mut().find(same_version) {
        Some(entry) => entry["fieldsV1"] = fields(entry)?.union(&declared).to_fields_v1(),
        None => {
            client["manager"] = manager.into();
            client["operation"] = "Apply".into();
            client["fieldsV1"] = declared.to_fields_v1();
            entries.insert(0, client);
        }
    }
    Some(())
}

/// The annotation gets a manager of its own, as kubectl gives it one, or the first apply would remove it. The server then makes it say
/// what is applied, so that a later client-side apply knows what to remove.
fn keep_annotation(entries: &mut Vec<Value>, version: &str) {
    if entries.iter().any(|entry| is(entry, LAST_APPLIED_MANAGER, "Apply")) {
        return;
    }
    entries.insert(
        0,
        json!({
            "manager": LAST_APPLIED_MANAGER,
            "operation": "Apply",
            "apiVersion": version,
            "fieldsType": "FieldsV1",
            "fieldsV1": annotation().to_fields_v1(),
        }),
    );
}

/// What `manager` applied is no longer of those who made the object, or taking it out of the manifest would leave it. `None` when a
/// set is malformed.
fn give_up_shared(entries: &mut Vec<Value>, manager: &str) -> Option<()> {
    let applied: Vec<(String, FieldSet)> = entries
        .iter()
        .filter(|entry| is(entry, manager, "Apply"))
        .map(|entry| Some((text(entry, &["apiVersion"]).to_owned(), fields(entry)?)))
        .collect::<Option<_>>()?;
    let made = |entry: &&mut Value| MAKERS.iter().any(|name| is(entry, name, "Update"));
    for entry in entries.iter_mut().filter(made) {
        let own = fields(entry)?;
        let version = text(entry, &["apiVersion"]);
        let shared = applied.iter().filter(|(of, _)| of == version);
        let left = shared.fold(own.clone(), |left, (_, applied)| left.difference(applied));
        if left != own {
            entry["fieldsV1"] = left.to_fields_v1();
        }
    }
    entries.retain(|entry| entry["fieldsV1"] != json!({}) || is(entry, manager, "Apply"));
    Some(())
}

fn fields(entry: &Value) -> Option<FieldSet> {
    FieldSet::from_fields_v1(&entry["fieldsV1"]).ok()
}

/// Whether an entry is of this manager, writing the object itself.
fn is(entry: &Value, manager: &str, operation: &str) -> bool {
    text(entry, &["manager"]) == manager
        && text(entry, &["operation"]) == operation
        && text(entry, &["subresource"]).is_empty()
}

/// What the client remembered in is not part of any manifest.
fn annotation() -> FieldSet {
    let path = ["metadata", "annotations", LAST_APPLIED].map(|name| Element::Field(name.to_owned()));
    FieldSet::of([path.as_slice()])
}

/// Managers of commands that write an object as a whole. Whoever applies a manifest afterwards wants to go on from there, and
/// nobody else will ever insist on what they wrote.
pub(super) const MAKERS: &[&str] = &["kubectl-create", "kubectl-replace", "kubectl-run", "kubectl-expose"];

/// The manager of client-side applies.
pub(super) const CLIENT_SIDE: &str = "kubectl-client-side-apply";

/// The manager that keeps the annotation of client-side apply.
const LAST_APPLIED_MANAGER: &str = "kubectl-last-applied";

/// Where client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CLIENT_SIDE, LAST_APPLIED, patch};

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    }

    fn live(entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}})
    }

    #[test]
    fn what_the_client_declared_is_taken_over() {
        let annotations = format!("f:{LAST_APPLIED}");
        let fields =
            json!({"f:data": {"f:a": {}}, "f:metadata": {"f:annotations": {".": {}, annotations: {}}}});
        let client = entry(CLIENT_SIDE, "Update", &fields);
        let other = entry("kubectl-label", "Update", &json!({"f:metadata": {"f:labels": {"f:x": {}}}}));
        let kept = json!({"f:data": {"f:a": {}}, "f:metadata": {"f:annotations": {}}});

        let annotation = json!({"f:metadata": {"f:annotations": {format!("f:{LAST_APPLIED}"): {}}}});
        let mut keeper = entry("kubectl-last-applied", "Apply", &annotation);
        keeper["fieldsType"] = "FieldsV1".into();

        let alone = patch(&live(&[other.clone(), client.clone()]), "kubectl").unwrap();
        assert_eq!(alone[0]["value"], json!([entry("kubectl", "Apply", &kept), keeper, other]));
        assert_eq!(alone[1]["value"], "7");

        let own = entry("kubectl", "Apply", &json!({"f:data": {"f:b": {}}}));
        let both = patch(&live(&[own, client]), "kubectl").unwrap();
        let union = json!({"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:annotations": {}}});
        assert_eq!(both[0]["value"], json!([keeper, entry("kubectl", "Apply", &union)]));
    }

    #[test]
    fn who_made_the_object_gives_up_what_is_applied() {
        let made = entry("kubectl-create", "Update", &json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}));
        let own = entry("kubectl", "Apply", &json!({"f:data": {"f:a": {}, "f:c": {}}}));
        let patched = patch(&live(&[own.clone(), made.clone()]), "kubectl").unwrap();
        let left = entry("kubectl-create", "Update", &json!({"f:data": {".": {}, "f:b": {}}}));
        assert_eq!(patched[0]["value"], json!([own, left]));
        assert_eq!(patch(&live(&[own.clone(), left]), "kubectl"), None);
        assert_eq!(patch(&live(&[made]), "kubectl"), None, "nothing is applied yet");
        let all = entry("kubectl-create", "Update", &json!({"f:data": {"f:a": {}}}));
        let patched = patch(&live(&[own.clone(), all]), "kubectl").unwrap();
        assert_eq!(patched[0]["value"], json!([own]));
    }

    #[test]
    fn nothing_is_done_twice() {
        assert_eq!(patch(&live(&[entry("kubectl", "Apply", &json!({}))]), "kubectl"), None);
        assert_eq!(patch(&json!({}), "kubectl"), None);
    }
}

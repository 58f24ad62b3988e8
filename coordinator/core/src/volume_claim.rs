//! A volume becomes a claim's, or is let go: what is written into it, and that nobody's is taken from him.

use serde_json::{Value, json};

use crate::{ObjectKey, view::claim::BOUND_BY_CONTROLLER};

/// Gives a volume to a claim, unless another has it. Says whether anything changed.
pub fn claim(volume: &mut Value, claim: &ObjectKey, uid: &str) -> bool {
    let known = &volume["spec"]["claimRef"];
    let is_kept = known.is_object();
    let is_for_it = known["name"] == *claim.name && known["namespace"] == *claim.namespace;
    let known_uid = known["uid"].as_str().unwrap_or_default();
    if is_kept && (!is_for_it || !known_uid.is_empty()) {
        return false;
    }
    volume["spec"]["claimRef"] = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "namespace": &*claim.namespace, "name": &*claim.name, "uid": uid,
    });
    if !is_kept {
        volume["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes".into();
    }
    true
}

/// Lets a volume go that a claim of this uid has: it is free again, or kept for the claim's name where whoever wrote the volume said so.
/// Says whether anything changed.
pub fn unclaim(volume: &mut Value, uid: &str) -> bool {
    if volume["spec"]["claimRef"]["uid"] != *uid {
        return false;
    }
    let annotations = volume["metadata"]["annotations"].as_object_mut();
    let was_chosen = annotations.is_some_and(|annotations| annotations.remove(BOUND_BY_CONTROLLER).is_some());
    let (holder, fields): (&mut Value, &[&str]) = if was_chosen {
        (&mut volume["spec"], &["claimRef"])
    } else {
        (&mut volume["spec"]["claimRef"], &["uid", "resourceVersion"])
    };
    if let Some(holder) = holder.as_object_mut() {
        fields.iter().for_each(|field| drop(holder.remove(*field)));
    }
    true
}

/// Adds a finalizer that is not there. Says whether it was not.
pub fn guard(object: &mut Value, finalizer: &str) -> bool {
    let finalizers = &mut object["metadata"]["finalizers"];
    let all = finalizers.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.iter().any(|known| known == finalizer) {
        return false;
    }
    let all: Vec<Value> = all.iter().cloned().chain([finalizer.into()]).collect();
    *finalizers = all.into();
    true
}

/// Takes a finalizer away. Says whether it was there.
pub fn unguard(object: &mut Value, finalizer: &str) -> bool {
    let Some(metadata) = object["metadata"].as_object_mut() else { return false };
    let Some(all) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) else { return false };
    let before = all.len();
    all.retain(|known| known != finalizer);
    let is_changed = all.len() < before;
    if all.is_empty() {
        metadata.remove("finalizers");
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_a_volume_from_another() {
        let key = ObjectKey::new("default", "a");
        let mut free = json!({ "metadata": { "name": "v" }, "spec": {} });
        assert!(claim(&mut free, &key, "u1"));
        assert_eq!(free["spec"]["claimRef"]["uid"], "u1");
        assert_eq!(free["metadata"]["annotations"][BOUND_BY_CONTROLLER], "yes");
        for other in [ObjectKey::new("default", "b"), key.clone()] {
            assert!(!claim(&mut free, &other, "u2"), "{other}");
        }
        assert!(!unclaim(&mut free, "u2"));
        assert!(unclaim(&mut free, "u1"));
        assert_eq!(free["spec"], json!({}));
        let kept = json!({ "name": "a", "namespace": "default" });
        let mut prepared = json!({ "metadata": { "name": "v" }, "spec": { "claimRef": kept } });
        assert!(claim(&mut prepared, &key, "u1"));
        assert_eq!(prepared["metadata"].get("annotations"), None);
        assert!(unclaim(&mut prepared, "u1"));
        assert_eq!(prepared["spec"]["claimRef"]["name"], "a");
        assert_eq!(prepared["spec"]["claimRef"].get("uid"), None);
    }

    #[test]
    fn finalizers_come_and_go_once() {
        let mut object = json!({ "metadata": {} });
        assert!(guard(&mut object, "f") && !guard(&mut object, "f"));
        assert!(unguard(&mut object, "f") && !unguard(&mut object, "f"));
        assert_eq!(object, json!({ "metadata": {} }));
    }
}

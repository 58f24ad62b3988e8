//! Rules for changes of pods: next to nothing of a pod's spec may change.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::pod::{MIRROR, mirror_of},
    value::{has, list, list_mut, put, text},
};

/// Rules for a change of a pod.
pub(in crate::kind::core::pod) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    check_mirror(new, old, errors);
    let spec = Path::new("spec");
    for key in ["containers", "initContainers"] {
        if list(&new["spec"], key).len() != list(&old["spec"], key).len() {
            // Nothing else can be compared position by position.
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(spec.child(key), detail));
            return;
        }
    }
    check_deadline(new, old, &spec, errors);
    let gates = list(&old["spec"], "schedulingGates");
    let added = list(&new["spec"], "schedulingGates").iter().any(|gate| !gates.contains(gate));
    if added {
        let detail = "only deletion is allowed, but found new scheduling gate";
        errors.push(FieldError::forbidden(spec.child("schedulingGates"), detail));
    }
    let kept = |toleration: &Value| {
        list(&new["spec"], "tolerations").iter().any(|other| {
            let mut other = other.clone();
            put(&mut other, "tolerationSeconds", toleration["tolerationSeconds"].clone());
            other == *toleration
        })
    };
    if !list(&old["spec"], "tolerations").iter().all(kept) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(spec.child("tolerations"), detail));
    }
    if with_changeable_of(new, old) != old["spec"] {
        errors.push(FieldError::forbidden(&spec, FIXED));
    }
}

/// A pod that runs never becomes one that only shows another, nor the other way round.
fn check_mirror(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let detail = match (mirror_of(old), mirror_of(new)) {
        (None, Some(_)) => "may not add mirror pod annotation",
        (before, after) if before != after => "may not remove or update mirror pod annotation",
        _ => return,
    };
    errors.push(FieldError::forbidden(Path::new("metadata.annotations").key(MIRROR), detail));
}

fn check_deadline(new: &Value, old: &Value, spec: &Path, errors: &mut Vec<FieldError>) {
    let field = spec.child("activeDeadlineSeconds");
    let [before, after] = [old, new].map(|pod| pod["spec"]["activeDeadlineSeconds"].as_i64());
    match (before, after) {
        (Some(before), Some(after)) if after > before => {
            let detail = format!("must be less than or equal to previous value: {before}");
            errors.push(FieldError::invalid(field, after, &detail));
        }
        (Some(_), None) => {
            errors.push(FieldError::invalid(
                field,
                Value::Null,
                "must not update from a positive integer to nil value",
            ));
        }
        _ => {}
    }
}

/// The new spec with everything that may change put back to what it was.
fn with_changeable_of(new: &Value, old: &Value) -> Value {
    let mut spec = new["spec"].clone();
    let before = &old["spec"];
    for key in ["containers", "initContainers"] {
        for (container, before) in list_mut(&mut spec, key).iter_mut().zip(list(before, key)) {
            put(container, "image", before["image"].clone());
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        put(&mut spec, key, before[key].clone());
    }
    // A gated pod may still be told where it must not go.
    if !list(before, "schedulingGates").is_empty() {
        for key in ["nodeSelector", "affinity"] {
            put(&mut spec, key, before[key].clone());
        }
    }
    spec
}

/// Rules for a change of a pod's status.
pub(in crate::kind::core::pod) fn status(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    // Annotations are written along with a status.
    check_mirror(new, old, errors);
    let field = Path::new("status");
    let before = text(&old["status"], "nominatedNodeName");
    let nominated = text(&new["status"], "nominatedNodeName");
    if nominated != before && !nominated.is_empty() {
        let problems = crate::names::dns_subdomain(nominated);
        crate::kind::report(problems, &field.child("nominatedNodeName"), nominated, errors);
    }
    let class = &new["status"]["qosClass"];
    if has(&old["status"], "qosClass") && *class != old["status"]["qosClass"] {
        errors.push(FieldError::invalid(field.child("qosClass"), class.clone(), "field is immutable"));
    }
}

const FIXED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
                     `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
                     `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let old = json!({"spec": {
            "containers": [{"name": "c", "image": "a"}], "nodeName": "n1", "activeDeadlineSeconds": 10,
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        }});
        let mut new = old.clone();
        change(&mut new["spec"]);
        let mut errors = Vec::new();
        update(&new, &old, &mut errors);
        let found: Vec<&str> = errors.iter().map(FieldError::field).collect();
        assert_eq!(found, expected, "{new}");
    }

    #[test]
    fn a_mirror_stays_what_it_is() {
        let check = |old: Option<&str>, new: Option<&str>, expected: &str| {
            let pod = |of: Option<&str>| match of {
                Some(of) => json!({"metadata": {"annotations": {MIRROR: of}}, "spec": {}, "status": {}}),
                None => json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}, "status": {}}),
            };
            for rules in [update, status] {
                let mut errors = Vec::new();
                rules(&pod(new), &pod(old), &mut errors);
                let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
                let field = "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not ";
                let expected = if expected.is_empty() { vec![] } else { vec![format!("{field}{expected}")] };
                assert_eq!(found, expected);
            }
        };
        check(None, None, "");
        check(Some("x"), Some("x"), "");
        check(None, Some("x"), "add mirror pod annotation");
        check(Some("x"), Some("y"), "remove or update mirror pod annotation");
        check(Some("x"), None, "remove or update mirror pod annotation");
    }

    #[test]
    fn little_of_a_spec_may_change() {
        check(|_| {}, &[]);
        check(|spec| spec["containers"][0]["image"] = "b".into(), &[]);
        check(|spec| spec["activeDeadlineSeconds"] = 5.into(), &[]);
        check(|spec| spec["activeDeadlineSeconds"] = 11.into(), &["spec.activeDeadlineSeconds"]);
        check(|spec| spec["tolerations"][0]["tolerationSeconds"] = 9.into(), &[]);
        check(|spec| spec["tolerations"] = json!([]), &["spec.tolerations"]);
        check(|spec| spec["nodeName"] = "n2".into(), &["spec"]);
        check(|spec| spec["containers"][0]["args"] = json!(["x"]), &["spec"]);
        check(|spec| spec["containers"] = json!([]), &["spec.containers"]);
        check(|spec| spec["schedulingGates"] = json!([{"name": "g"}]), &["spec.schedulingGates"]);
    }
}

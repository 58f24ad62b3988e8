//! Rules for containers that are added to a pod that is there.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    kind::pod::mirror_of,
    value::{entries, has, list, text},
};

/// What such a container is not, on top of what no container may be. `others` are the names of all that the pod was made with.
pub(super) fn check(container: &Value, field: &Path, others: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let target = text(container, "targetContainerName");
    if !target.is_empty() && !others.contains(target) {
        errors.push(FieldError::not_found(field.child("targetContainerName"), target));
    }
    for key in FORBIDDEN {
        let is_said = match *key {
            "resources" => entries(container, key).any(|(_, what)| !is_empty(what)),
            key => has(container, key) && !is_empty(&container[key]),
        };
        if is_said {
            errors.push(FieldError::forbidden(field.child(key), NOT_HERE));
        }
    }
    for (position, mount) in list(container, "volumeMounts").iter().enumerate() {
        for key in ["subPath", "subPathExpr"].into_iter().filter(|key| !text(mount, key).is_empty()) {
            let field = field.child("volumeMounts").index(position).child(key);
            errors.push(FieldError::forbidden(field, NOT_HERE));
        }
    }
}

/// A pod is made without any.
pub(in crate::kind::core::pod) fn create(pod: &Value, errors: &mut Vec<FieldError>) {
    if !list(&pod["spec"], "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
}

/// Rules for a change of them: some are added, and those that are there stay as they are.
pub(in crate::kind::core::pod) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if mirror_of(old).is_some() {
        errors.clear();
        errors.push(FieldError::forbidden("", "static pods do not support ephemeral containers"));
        return;
    }
    let added = list(&new["spec"], "ephemeralContainers");
    for known in list(&old["spec"], "ephemeralContainers") {
        let name = text(known, "name");
        let what = match added.iter().find(|added| text(added, "name") == name) {
            None => "removed\n",
            Some(same) if same != known => "changed",
            Some(_) => continue,
        };
        let detail = format!("existing ephemeral containers \"{name}\" may not be {what}");
        errors.push(FieldError::forbidden("spec.ephemeralContainers", &detail));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.is_null(),
    }
}

const NOT_HERE: &str = "cannot be set for an Ephemeral Container";

/// What is for the work of a pod, in the order of Kubernetes' struct.
const FORBIDDEN: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::core::pod::validate::{MIRROR, template};

    #[test]
    fn one_that_is_added_is_there_to_look_and_for_nothing_else() {
        let check = |container: Value, expected: &[&str]| {
            let mut added = json!({
                "name": "e", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
                "resources": {},
            });
            let fields = container.as_object().unwrap().clone();
            added.as_object_mut().unwrap().extend(fields);
            let spec = json!({
                "containers": [{"name": "c", "image": "i"}], "initContainers": [{"name": "i", "image": "i"}],
                "volumes": [{"name": "v", "emptyDir": {}}],
                "ephemeralContainers": [added],
            });
            let mut errors = Vec::new();
            template(&spec, &Path::new("spec"), &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let found: Vec<&str> =
                found.iter().filter_map(|error| error.strip_prefix("spec.ephemeralContainers[0].")).collect();
            assert_eq!(found, expected, "{container}");
        };
        let not = |field: &str| format!("{field}: Forbidden: {NOT_HERE}");
        check(json!({"targetContainerName": "c", "stdin": true, "tty": true}), &[]);
        check(json!({"targetContainerName": "i"}), &[]);
        check(json!({"targetContainerName": "e"}), &["targetContainerName: Not found: \"e\""]);
        check(json!({"name": "c"}), &["name: Duplicate value: \"c\""]);
        check(json!({"name": "i"}), &["name: Duplicate value: \"i\""]);
        for (field, value) in [
            ("ports", json!([{"containerPort": 80, "protocol": "TCP"}])),
            ("resources", json!({"limits": {"cpu": "1"}})),
            ("livenessProbe", json!({"exec": {"command": ["x"]}})),
            ("lifecycle", json!({"preStop": {"exec": {"command": ["x"]}}})),
        ] {
            check(json!({field: value}), &[&not(field)]);
        }
        check(
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}]}),
            &[&not("volumeMounts[0].subPath")],
        );
    }

    #[test]
    fn what_was_added_stays_as_it_is() {
        let check = |containers: Value, expected: &[&str]| {
            let pod = |containers: &Value| json!({"spec": {"ephemeralContainers": containers}});
            let old = pod(&json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]));
            let mut errors = Vec::new();
            update(&pod(&containers), &old, &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{containers}");
        };
        let [a, b] = ["a", "b"].map(|name| json!({"name": name, "image": "i"}));
        check(json!([b, a, {"name": "c", "image": "i"}]), &[]);
        check(
            json!([a]),
            &[
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"b\" may not be removed\n",
            ],
        );
        check(
            json!([a, {"name": "b", "image": "other"}]),
            &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"b\" may not be changed"],
        );
        let mirror = json!({"metadata": {"annotations": {MIRROR: "x"}}, "spec": {}});
        let mut errors = Vec::new();
        update(&mirror, &mirror, &mut errors);
        assert_eq!(errors[0].to_string(), ": Forbidden: static pods do not support ephemeral containers");
    }
}

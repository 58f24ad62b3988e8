//! RuntimeClass: what a pod's class says of where it may run and what it costs beside its containers.

use serde_json::{Value, json};

use crate::value::{entries, has, list, set, text};

/// Sets what follows from the class that the pod names. `found` is that class.
///
/// # Errors
/// Why the pod is refused, in Kubernetes' words.
pub(super) fn admit(spec: &mut Value, found: Option<&Value>) -> Result<(), String> {
    let name = text(spec, "runtimeClassName");
    let class = match found {
        Some(class) if !name.is_empty() => class,
        _ if !name.is_empty() => return Err(format!("pod rejected: RuntimeClass \"{name}\" not found")),
        _ if has(spec, "overhead") => return Err(OVERHEAD_ALONE.to_owned()),
        _ => return Ok(()),
    };
    let overhead = &class["overhead"]["podFixed"];
    if overhead.is_object() {
        if has(spec, "overhead") && spec["overhead"] != *overhead {
            return Err(
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned()
            );
        }
        set(spec, "overhead", overhead.clone());
    } else if has(spec, "overhead") {
        return Err(OVERHEAD_ALONE.to_owned());
    }
    schedule(spec, &class["scheduling"])
}

fn schedule(spec: &mut Value, scheduling: &Value) -> Result<(), String> {
    for (key, value) in entries(scheduling, "nodeSelector") {
        let given = &spec["nodeSelector"][key.as_str()];
        if given.is_string() && given != value {
            let (value, given) = (value.as_str().unwrap_or_default(), given.as_str().unwrap_or_default());
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {given}"
            ));
        }
    }
    let mut selector = spec["nodeSelector"].as_object().cloned().unwrap_or_default();
    selector.extend(entries(scheduling, "nodeSelector").map(|(key, value)| (key.clone(), value.clone())));
    if !selector.is_empty() {
        set(spec, "nodeSelector", Value::Object(selector));
    }
    let mut tolerations = list(spec, "tolerations").to_vec();
    let new = list(scheduling, "tolerations").iter().filter(|toleration| !tolerations.contains(toleration));
    let new: Vec<_> = new.cloned().collect();
    if !new.is_empty() {
        tolerations.extend(new);
        set(spec, "tolerations", json!(tolerations));
    }
    Ok(())
}

const OVERHEAD_ALONE: &str =
    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_there_and_gives_what_it_has() {
        let class = json!({
            "handler": "h", "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "t"}]},
        });
        let admit = |mut spec: Value, found| admit(&mut spec, found).map(|()| spec);
        assert_eq!(admit(json!({}), None), Ok(json!({})));
        let named = || json!({"runtimeClassName": "r"});
        assert_eq!(admit(named(), None), Err("pod rejected: RuntimeClass \"r\" not found".to_owned()));
        let given = json!({
            "runtimeClassName": "r", "overhead": {"cpu": "250m"}, "nodeSelector": {"a": "b"}, "tolerations": [{"key": "t"}],
        });
        assert_eq!(admit(named(), Some(&class)), Ok(given.clone()));
        assert_eq!(admit(given.clone(), Some(&class)), Ok(given));
        let wrong = |field: &str, value: Value, expected: &str| {
            let mut spec = named();
            spec[field] = value;
            assert_eq!(admit(spec, Some(&class)).unwrap_err(), expected);
        };
        let differs = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
        wrong("overhead", json!({"cpu": "1"}), differs);
        let conflict = "conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c";
        wrong("nodeSelector", json!({"a": "c"}), conflict);
        assert_eq!(admit(json!({"overhead": {"cpu": "1"}}), None), Err(OVERHEAD_ALONE.to_owned()));
    }
}

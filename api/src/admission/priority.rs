//! Priority: what a pod's class, or the default one, says about its priority.

use serde_json::Value;

use crate::{
    kind::SYSTEM_PRIORITY_CLASSES,
    value::{set, text},
};

/// A PriorityClass, as far as pods are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityClass {
    /// `metadata.name`.
    pub name: String,
    /// The priority of its pods.
    pub value: i64,
    /// `PreemptLowerPriority` or `Never`.
    pub preemption_policy: String,
}

impl PriorityClass {
    /// A class of the system, which is there whatever is stored.
    fn of_system(name: &str) -> Option<Self> {
        let (_, value) = SYSTEM_PRIORITY_CLASSES.iter().find(|(known, _)| *known == name)?;
        Some(Self { name: name.to_owned(), value: *value, preemption_policy: PREEMPTS.to_owned() })
    }
}

/// Sets what follows from the class. `found` is the class that was looked up.
///
/// # Errors
/// Why the pod is refused, in Kubernetes' words.
pub(super) fn admit(spec: &mut Value, found: Option<&PriorityClass>) -> Result<(), String> {
    let named = text(spec, "priorityClassName").to_owned();
    let class = match (named.as_str(), found) {
        ("", None) => None,
        ("", Some(default)) => Some(default.clone()),
        (name, Some(class)) if class.name == name => Some(class.clone()),
        (name, _) => {
            let system = PriorityClass::of_system(name);
            Some(system.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?)
        }
    };
    let value = class.as_ref().map_or(0, |class| class.value);
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
        return Err(differs("the integer value of priority", &given.to_string(), &value.to_string()));
    }
    let policy = class.as_ref().map_or(PREEMPTS, |class| &class.preemption_policy).to_owned();
    let given = text(spec, "preemptionPolicy");
    if !given.is_empty() && given != policy {
        return Err(differs("the string value of PreemptionPolicy", given, &policy));
    }
    if let Some(class) = class {
        set(spec, "priorityClassName", class.name);
    }
    set(spec, "priority", value);
    set(spec, "preemptionPolicy", policy);
    Ok(())
}

fn differs(what: &str, given: &str, computed: &str) -> String {
    format!(
        "{what} ({given}) must not be provided in pod spec; priority admission controller computed {computed} from the given \
         PriorityClass name"
    )
}

const PREEMPTS: &str = "PreemptLowerPriority";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut spec: Value, found: Option<(&str, i64, &str)>, expected: Result<Value, &str>) {
        let found = found.map(|(name, value, policy)| PriorityClass {
            name: name.to_owned(),
            value,
            preemption_policy: policy.to_owned(),
        });
        let admitted = admit(&mut spec, found.as_ref()).map(|()| spec);
        assert_eq!(admitted.as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why));
    }

    #[test]
    fn classes_say_the_priority() {
        check(json!({}), None, Ok(json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})));
        let of_default = json!({"priorityClassName": "d", "priority": 7, "preemptionPolicy": "Never"});
        check(json!({}), Some(("d", 7, "Never")), Ok(of_default.clone()));
        check(json!({"priorityClassName": "d"}), Some(("d", 7, "Never")), Ok(of_default.clone()));
        check(of_default.clone(), Some(("d", 7, "Never")), Ok(of_default));
        let system = json!({"priorityClassName": "system-node-critical", "priority": 2_000_001_000, "preemptionPolicy": "PreemptLowerPriority"});
        check(json!({"priorityClassName": "system-node-critical"}), None, Ok(system));
        check(json!({"priorityClassName": "x"}), None, Err("no PriorityClass with name x was found"));
        check(
            json!({"priority": 3}),
            None,
            Err(
                "the integer value of priority (3) must not be provided in pod spec; priority admission controller computed 0 from \
                 the given PriorityClass name",
            ),
        );
        check(
            json!({"priorityClassName": "d", "preemptionPolicy": "PreemptLowerPriority"}),
            Some(("d", 7, "Never")),
            Err(
                "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission \
                 controller computed Never from the given PriorityClass name",
            ),
        );
    }
}

//! Quotas, disruption budgets and priority classes.

use serde_json::{Map, Value, json};

use super::{comma_separated, selector};
use crate::failure::UsageError;

/// A ResourceQuota of `RESOURCE=AMOUNT,..` and scopes.
///
/// # Errors
/// [`UsageError`] for an amount of another form.
pub(crate) fn quota(name: &str, hard: &str, scopes: &str) -> Result<Value, UsageError> {
    let mut spec = json!({});
    let amount = |word: &str| match word.split_once('=') {
        Some((resource, amount)) if !resource.is_empty() => Ok((resource.to_owned(), Value::from(amount))),
        _ => Err(UsageError(format!("Invalid argument syntax {word}, expected <resource>=<value>"))),
    };
    let hard = comma_separated(hard).map(amount).collect::<Result<Map<String, Value>, UsageError>>()?;
    if !hard.is_empty() {
        spec["hard"] = hard.into();
    }
    let scopes: Vec<&str> = comma_separated(scopes).collect();
    if !scopes.is_empty() {
        spec["scopes"] = scopes.into();
    }
    Ok(json!({"metadata": {"name": name}, "spec": spec}))
}

/// What a disruption budget bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound<'a> {
    /// So many pods, or such a share, stay.
    MinAvailable(&'a str),
    /// So many, or such a share, may be missing.
    MaxUnavailable(&'a str),
}

/// A PodDisruptionBudget of the pods that a selector selects.
///
/// # Errors
/// [`UsageError`] when the selector or the bound is malformed.
pub(crate) fn disruption_budget(name: &str, selector: &str, bound: Bound<'_>) -> Result<Value, UsageError> {
    if selector.is_empty() {
        return Err(UsageError("a selector must be specified".to_owned()));
    }
    let (field, text) = match bound {
        Bound::MinAvailable(text) => ("minAvailable", text),
        Bound::MaxUnavailable(text) => ("maxUnavailable", text),
    };
    let value = match text.parse::<u32>() {
        Ok(count) => json!(count),
        Err(_) => json!(text),
    };
    Ok(json!({"metadata": {"name": name}, "spec": {"selector": selector::object(selector)?, field: value}}))
}

/// What a priority class is made of.
#[derive(Clone, Debug)]
pub(crate) struct PriorityClass<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The priority of its pods.
    pub(crate) value: i32,
    /// For what it is.
    pub(crate) description: &'a str,
    /// Whose pods have it.
    pub(crate) reach: Reach,
    /// `Never`, or `PreemptLowerPriority`.
    pub(crate) preemption_policy: &'a str,
}

/// Whose pods have a priority class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those that name it.
    Named,
    /// All that name none, too.
    Global,
}

impl PriorityClass<'_> {
    /// The object.
    pub(crate) fn object(&self) -> Value {
        let mut object = json!({
            "metadata": {"name": self.name}, "value": self.value, "preemptionPolicy": self.preemption_policy,
        });
        if self.reach == Reach::Global {
            object["globalDefault"] = true.into();
        }
        if !self.description.is_empty() {
            object["description"] = self.description.into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Bound, PriorityClass, Reach, disruption_budget, quota};

    // What kubectl 1.36 makes of the same options, without the empty status.
    #[test]
    fn quotas() {
        let made = quota("q", "cpu=1,pods=2", "BestEffort,NotTerminating").unwrap();
        let spec = json!({"hard": {"cpu": "1", "pods": "2"}, "scopes": ["BestEffort", "NotTerminating"]});
        assert_eq!(made, json!({"metadata": {"name": "q"}, "spec": spec}));
        assert_eq!(quota("q", "", "").unwrap(), json!({"metadata": {"name": "q"}, "spec": {}}));
        let error = quota("q", "cpu", "").unwrap_err().to_string();
        assert_eq!(error, "Invalid argument syntax cpu, expected <resource>=<value>");
    }

    #[test]
    fn budgets() {
        let made = disruption_budget("p", "app=web", Bound::MinAvailable("50%")).unwrap();
        let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "minAvailable": "50%"});
        assert_eq!(made, json!({"metadata": {"name": "p"}, "spec": spec}));
        let made = disruption_budget("p", "app=web", Bound::MaxUnavailable("1")).unwrap();
        assert_eq!(made["spec"]["maxUnavailable"], json!(1));
        let error = disruption_budget("p", "", Bound::MaxUnavailable("1")).unwrap_err().to_string();
        assert_eq!(error, "a selector must be specified");
    }

    #[test]
    fn priority_classes() {
        let class = PriorityClass {
            name: "p",
            value: 1000,
            description: "d",
            reach: Reach::Global,
            preemption_policy: "Never",
        };
        let expected = json!({"metadata": {"name": "p"}, "value": 1000, "globalDefault": true, "description": "d",
            "preemptionPolicy": "Never"});
        assert_eq!(class.object(), expected);
        let plain = PriorityClass { description: "", reach: Reach::Named, ..class };
        assert_eq!(
            plain.object(),
            json!({"metadata": {"name": "p"}, "value": 1000, "preemptionPolicy": "Never"})
        );
    }
}

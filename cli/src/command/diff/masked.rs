//! Secrets compared without being shown: which entries differ, but not in what.

use serde_json::Value;

/// Replaces the entries of two versions of a Secret by stars, so that those that differ still do.
pub(super) fn mask(before: &mut Value, after: &mut Value) {
    for field in ["data", "stringData"] {
        let keys: Vec<String> = [&*before, &*after]
            .iter()
            .filter_map(|object| object[field].as_object())
            .flat_map(|entries| entries.keys().cloned())
            .collect();
        for key in keys {
            let differ = before[field].get(&key) != after[field].get(&key);
            let both = before[field].get(&key).is_some() && after[field].get(&key).is_some();
            let stars = |object: &mut Value, when: &str| {
                if let Some(value) = object.get_mut(field).and_then(|entries| entries.get_mut(&key)) {
                    *value =
                        if differ && both { format!("{STARS} ({when})") } else { STARS.to_owned() }.into();
                }
            };
            stars(before, "before");
            stars(after, "after");
        }
    }
    for object in [before, after] {
        // It repeats the Secret's data.
        if let Some(applied) =
            object.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(LAST_APPLIED))
        {
            *applied = STARS.into();
        }
    }
}

const STARS: &str = "***";

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::mask;

    #[test]
    fn what_differs_is_seen_but_not_shown() {
        let mut before = json!({"data": {"same": "a", "other": "b", "gone": "c"}});
        let mut after = json!({"data": {"same": "a", "other": "B", "new": "d"}});
        mask(&mut before, &mut after);
        assert_eq!(before, json!({"data": {"same": "***", "other": "*** (before)", "gone": "***"}}));
        assert_eq!(after, json!({"data": {"same": "***", "other": "*** (after)", "new": "***"}}));
    }

    #[test]
    fn there_may_be_nothing_to_mask() {
        let (mut before, mut after) = (Value::Null, json!({"metadata": {"name": "s"}}));
        mask(&mut before, &mut after);
        assert_eq!((before, after), (Value::Null, json!({"metadata": {"name": "s"}})));
    }
}

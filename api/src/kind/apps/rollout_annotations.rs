//! Annotations of Dunlin's own that say how a rollout goes: what is rolled back by itself, and what nodes that are offline mean.

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    value::{has, text},
};

/// Whether and for what an object goes back to its last stable revision by itself.
const AUTO_ROLLBACK: &str = "dunlin.dev/auto-rollback";

/// What pods on nodes that are offline mean to a rollout.
const OFFLINE_POLICY: &str = "dunlin.dev/offline-policy";

/// What each may say.
const CHOICES: [(&str, &[&str]); 2] =
    [(AUTO_ROLLBACK, &["deadline", "false", "true"]), (OFFLINE_POLICY, &["defer", "strict"])];

/// A word that nobody knows is refused: it would be taken for the default where the opposite may be meant.
pub(super) fn check(object: &Value, errors: &mut Vec<FieldError>) {
    let annotations = &object["metadata"]["annotations"];
    for (key, choices) in CHOICES {
        let value = text(annotations, key);
        if has(annotations, key) && !choices.contains(&value) {
            errors.push(FieldError::not_supported(field(key), value, choices));
        }
    }
}

/// A warning about a rollback that would never come.
pub(super) fn warnings(object: &Value) -> Option<String> {
    let is_asked = ["deadline", "true"].contains(&text(&object["metadata"]["annotations"], AUTO_ROLLBACK));
    let is_endless = object["spec"]["progressDeadlineSeconds"].as_i64() == Some(i64::from(i32::MAX));
    let field = field(AUTO_ROLLBACK);
    (is_asked && is_endless).then(|| {
        format!("{field}: nothing is rolled back, because spec.progressDeadlineSeconds sets no deadline")
    })
}

fn field(key: &str) -> Path {
    Path::new("metadata").child("annotations").key(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn only_known_words_are_taken() {
        let check = |annotations: Value, expected: &[&str]| {
            let object = json!({"metadata": {"annotations": annotations}});
            assert_eq!(messages(|errors| check(&object, errors)), expected);
        };
        check(json!(null), &[]);
        check(json!({AUTO_ROLLBACK: "true", OFFLINE_POLICY: "defer"}), &[]);
        check(
            json!({AUTO_ROLLBACK: "yes", OFFLINE_POLICY: ""}),
            &[
                "metadata.annotations[dunlin.dev/auto-rollback]: Unsupported value: \"yes\": supported values: \"deadline\", \
                 \"false\", \"true\"",
                "metadata.annotations[dunlin.dev/offline-policy]: Unsupported value: \"\": supported values: \"defer\", \
                 \"strict\"",
            ],
        );
    }

    #[test]
    fn a_rollback_without_a_deadline_is_warned_of() {
        let object = |policy: &str, seconds: i32| {
            json!({
                "metadata": {"annotations": {AUTO_ROLLBACK: policy}}, "spec": {"progressDeadlineSeconds": seconds},
            })
        };
        assert!(warnings(&object("true", i32::MAX)).is_some_and(|warning| warning.contains(AUTO_ROLLBACK)));
        assert_eq!(warnings(&object("false", i32::MAX)), None);
        assert_eq!(warnings(&object("true", 600)), None);
    }
}

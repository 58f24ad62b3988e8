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

/// How many seconds a rollout may get on no further, on kinds whose spec has no field for it.
const DEADLINE: &str = "dunlin.dev/progress-deadline-seconds";

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
    let seconds = text(annotations, DEADLINE);
    if has(annotations, DEADLINE) && !seconds.parse::<i32>().is_ok_and(|seconds| seconds > 0) {
        let detail = "must be a number of seconds from 1 to 2147483647";
        errors.push(FieldError::invalid(field(DEADLINE), seconds, detail));
    }
}

/// Warnings about what would never come, for a Deployment.
pub(super) fn deployment_warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if is_asked(object) && object["spec"]["progressDeadlineSeconds"].as_i64() == Some(i64::from(i32::MAX)) {
        let field = field(AUTO_ROLLBACK);
        warnings.push(format!(
            "{field}: nothing is rolled back, because spec.progressDeadlineSeconds sets no deadline"
        ));
    }
    if has(&object["metadata"]["annotations"], DEADLINE) {
        let field = field(DEADLINE);
        warnings
            .push(format!("{field}: has no effect on a Deployment, which has spec.progressDeadlineSeconds"));
    }
    warnings
}

/// The same for a StatefulSet or DaemonSet.
pub(super) fn warnings(object: &Value) -> Vec<String> {
    let is_manual = text(&object["spec"]["updateStrategy"], "type") == "OnDelete";
    let warning =
        format!("{}: nothing is rolled back with the update strategy OnDelete", field(AUTO_ROLLBACK));
    (is_asked(object) && is_manual).then_some(warning).into_iter().collect()
}

fn is_asked(object: &Value) -> bool {
    ["deadline", "true"].contains(&text(&object["metadata"]["annotations"], AUTO_ROLLBACK))
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
        check(json!({DEADLINE: "30"}), &[]);
        check(
            json!({DEADLINE: "0"}),
            &[
                "metadata.annotations[dunlin.dev/progress-deadline-seconds]: Invalid value: \"0\": must be a number of \
               seconds from 1 to 2147483647",
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
        let [warning] = &deployment_warnings(&object("true", i32::MAX))[..] else { panic!("one is given") };
        assert!(warning.contains(AUTO_ROLLBACK));
        assert!(deployment_warnings(&object("false", i32::MAX)).is_empty());
        assert!(deployment_warnings(&object("true", 600)).is_empty());
        let mut set = object("true", 600);
        assert!(warnings(&set).is_empty());
        set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        assert_eq!(warnings(&set).len(), 1);
    }
}

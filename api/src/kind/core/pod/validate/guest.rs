//! Annotations of Dunlin's own that say how WebAssembly guests are run. Nodes read them; a value that a node would refuse is refused
//! here, by the same grammar, so that whoever wrote it hears of it.

use dunlin_link::guest::{ANNOTATIONS, ENTRIES, GuestSettings, SettingProblem};
use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    value::{has, text},
};

/// Rules for the annotations of a pod or a template at `field`.
pub(super) fn check(annotations: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for name in ANNOTATIONS.into_iter().filter(|name| has(annotations, name)) {
        let value = text(annotations, name);
        let bad = GuestSettings::of([(name, value)]).err().unwrap_or_default();
        errors.extend(bad.into_iter().map(|bad| match bad.problem {
            SettingProblem::Entry => FieldError::not_supported(field.key(name), value, &ENTRIES),
            SettingProblem::Egress(_) => FieldError::invalid(field.key(name), value, TARGETS),
            problem => FieldError::invalid(field.key(name), value, &problem.to_string()),
        }));
    }
}

const TARGETS: &str = "must be at most 64 targets, separated by commas: a name, `*.` and a name, an IPv4 address or range, an IPv6 one \
                       in brackets; and `:PORT` after it if wanted";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn values_that_say_nothing_are_refused() {
        let check = |annotations: Value| {
            messages(|errors| check(&annotations, &Path::new("metadata").child("annotations"), errors))
        };
        assert!(check(json!(null)).is_empty());
        let good = json!({
            "dunlin.dev/entry": "http", "dunlin.dev/egress": "", "dunlin.dev/max-reuse": "4", "dunlin.dev/idle-timeout": "0s",
        });
        assert!(check(good).is_empty());
        assert_eq!(
            check(
                json!({"dunlin.dev/concurrency": "0", "dunlin.dev/entry": "Run", "dunlin.dev/request-timeout": "1h"})
            ),
            [
                "metadata.annotations[dunlin.dev/concurrency]: Invalid value: \"0\": must be a number from 1 to 1024",
                "metadata.annotations[dunlin.dev/entry]: Unsupported value: \"Run\": supported values: \"http\", \"run\"",
                "metadata.annotations[dunlin.dev/request-timeout]: Invalid value: \"1h\": must be a time such as `250ms`, `5s` or `2m`, \
                 from 1ms to 3600s",
            ]
        );
        let [refused] = &check(json!({"dunlin.dev/egress": "a, b:0"}))[..] else { panic!("one is refused") };
        assert!(
            refused.starts_with("metadata.annotations[dunlin.dev/egress]: Invalid value: \"a, b:0\""),
            "{refused}"
        );
    }
}

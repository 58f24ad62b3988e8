//! What a namespace that is being deleted says of what still holds it, in Kubernetes' words.

use std::collections::BTreeMap;

use dunlin_api::time::format_time;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What is left of a namespace's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Objects by their kind's plural, a dot and its group.
    pub objects: BTreeMap<String, usize>,
    /// Objects by the finalizers that hold them.
    pub finalizers: BTreeMap<String, usize>,
}

impl Remains {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Counts an object.
    pub fn add(&mut self, kind: String, object: &Value) {
        *self.objects.entry(kind).or_default() += 1;
        let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        for finalizer in finalizers.filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
}

/// Sets the conditions of a namespace that is being deleted; false when it says all that already.
pub fn tell_remains(namespace: &mut Value, remains: &Remains, now: Timestamp) -> bool {
    let mut conditions = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut is_changed = false;
    for (kind, reason, message) in WELL {
        is_changed |= set(&mut conditions, (kind, "False", reason, message), now);
    }
    let objects = listed(&remains.objects, |kind, count| format!("{kind} has {count} resource instances"));
    is_changed |= match objects {
        Some(objects) => {
            let message = format!("Some resources are remaining: {objects}");
            set(&mut conditions, (CONTENT, "True", "SomeResourcesRemain", &message), now)
        }
        None => set(
            &mut conditions,
            (CONTENT, "False", "ContentRemoved", "All content successfully removed"),
            now,
        ),
    };
    let finalizers =
        listed(&remains.finalizers, |finalizer, count| format!("{finalizer} in {count} resource instances"));
    is_changed |= match finalizers {
        Some(finalizers) => {
            let message = format!("Some content in the namespace has finalizers remaining: {finalizers}");
            set(&mut conditions, (FINALIZERS, "True", "SomeFinalizersRemain", &message), now)
        }
        None => {
            let message = "All content-preserving finalizers finished";
            set(&mut conditions, (FINALIZERS, "False", "ContentHasNoFinalizers", message), now)
        }
    };
    namespace["status"]["conditions"] = conditions.into();
    is_changed
}

fn listed(counts: &BTreeMap<String, usize>, text: impl Fn(&str, usize) -> String) -> Option<String> {
    let texts: Vec<String> = counts.iter().map(|(name, count)| text(name, *count)).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn set(
    conditions: &mut Vec<Value>,
    (kind, status, reason, message): (&str, &str, &str, &str),
    now: Timestamp,
) -> bool {
    let known = conditions.iter().position(|condition| condition["type"] == kind);
    let old = known.map_or(Value::Null, |known| conditions[known].clone());
    if old["status"] == status && old["reason"] == reason && old["message"] == message {
        return false;
    }
    let since =
        if old["status"] == status { old["lastTransitionTime"].clone() } else { format_time(now).into() };
    let condition = json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message});
    match known {
        Some(known) => conditions[known] = condition,
        None => conditions.push(condition),
    }
    true
}

/// What cannot go wrong here: kinds are known and versions are no text that has to be read. Content that cannot be deleted is tried
/// again, and told as remaining.
const WELL: [(&str, &str, &str); 3] = [
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
];

const CONTENT: &str = "NamespaceContentRemaining";
const FINALIZERS: &str = "NamespaceFinalizersRemaining";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn messages(namespace: &Value) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let conditions = namespace["status"]["conditions"].as_array().unwrap().iter();
        conditions
            .map(|it| (text(&it["status"]), text(&it["message"]), text(&it["lastTransitionTime"])))
            .collect()
    }

    #[test]
    fn what_holds_a_namespace_is_told_until_it_does_not() {
        let mut remains = Remains::default();
        let held = json!({"metadata": {"finalizers": ["x.example/a", "x.example/b"]}});
        remains.add("pods.".to_owned(), &held);
        remains.add("pods.".to_owned(), &json!({"metadata": {"finalizers": ["x.example/a"]}}));
        remains.add("ingresses.networking.k8s.io".to_owned(), &json!({"metadata": {}}));
        let mut namespace = json!({"status": {"phase": "Terminating"}});
        assert!(tell_remains(&mut namespace, &remains, at(1)));
        assert!(!tell_remains(&mut namespace, &remains, at(2)));
        let told = messages(&namespace);
        assert_eq!(told[0].1, "All resources successfully discovered");
        let content = "Some resources are remaining: ingresses.networking.k8s.io has 1 resource instances, pods. has 2 resource instances";
        assert_eq!((told[3].0.as_str(), told[3].1.as_str()), ("True", content));
        let finalizers = "Some content in the namespace has finalizers remaining: x.example/a in 2 resource instances, \
                          x.example/b in 1 resource instances";
        assert_eq!((told[4].0.as_str(), told[4].1.as_str()), ("True", finalizers));

        assert!(tell_remains(&mut namespace, &Remains::default(), at(3)));
        let told = messages(&namespace);
        assert_eq!(
            (told[2].2.as_str(), told[3].2.as_str()),
            ("1970-01-01T00:00:01Z", "1970-01-01T00:00:03Z")
        );
        assert_eq!((told[3].1.as_str(), told[4].0.as_str()), ("All content successfully removed", "False"));
    }
}

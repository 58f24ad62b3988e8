//! A change of an object's status as a controller decided on it: fields that are its own, and of the conditions those that it changed.
//!
//! Conditions belong to whoever sets their type. Whoever writes the whole list writes back what it saw of the others', and what
//! somebody else said meanwhile is lost; so a change names the types that it is about, and leaves the rest as it finds it.

use dunlin_api::patch;
use serde_json::{Map, Value, json};

use crate::view::workload::Condition;

/// A change of an object's `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusChange {
    /// Merged into the status; `null` takes a field away.
    fields: Map<String, Value>,
    /// Conditions as they are to be; each takes the place of that of its type.
    set: Vec<Value>,
    /// Types of conditions to take away.
    gone: Vec<String>,
}

impl StatusChange {
    /// A change of fields alone.
    pub(super) fn of_fields(fields: Value) -> Self {
        match fields {
            Value::Object(fields) => Self { fields, ..Self::default() },
            _ => Self::default(),
        }
    }

    /// The same, and of the conditions from what they were to what they are to be, each written by `written`.
    pub(super) fn with_conditions(
        mut self,
        before: &[Condition],
        after: &[Condition],
        written: impl Fn(&Condition) -> Value,
    ) -> Self {
        let changed = after.iter().filter(|condition| !before.contains(condition));
        self.set.extend(changed.map(written));
        let gone = before.iter().filter(|known| !after.iter().any(|condition| condition.kind == known.kind));
        self.gone.extend(gone.map(|known| known.kind.clone()));
        self
    }

    /// Carries it out on an object as it is stored now.
    pub fn carry_out(&self, object: &mut Value) {
        patch::merge(object, json!({ "status": self.fields }));
        if self.set.is_empty() && self.gone.is_empty() {
            return;
        }
        let Some(status) = object["status"].as_object_mut() else { return };
        let mut all = match status.remove("conditions") {
            Some(Value::Array(all)) => all,
            _ => Vec::new(),
        };
        all.retain(|condition| !self.gone.iter().any(|gone| condition["type"] == gone.as_str()));
        for wanted in &self.set {
            match all.iter_mut().find(|condition| condition["type"] == wanted["type"]) {
                Some(known) => known.clone_from(wanted),
                None => all.push(wanted.clone()),
            }
        }
        if !all.is_empty() {
            status.insert("conditions".to_owned(), all.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::{
        conditions,
        world::{World, id},
    };

    fn condition(kind: &str, status: &str) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: String::new(),
            message: String::new(),
            last_transition_time: None,
            last_update_time: None,
        }
    }

    #[test]
    fn conditions_of_others_stay_as_they_are_found() {
        let before = [condition("Own", "False"), condition("Old", "True"), condition("Seen", "True")];
        let after = [condition("Own", "True"), condition("Seen", "True"), condition("New", "True")];
        let change = StatusChange::of_fields(json!({ "replicas": 2, "readyReplicas": null }));
        let change = change.with_conditions(&before, &after, conditions::written);
        let foreign = json!({ "type": "Foreign", "status": "True", "observedGeneration": 3 });
        let mut object = json!({ "spec": {}, "status": {
            "replicas": 1, "readyReplicas": 1,
            "conditions": [
                { "type": "Old", "status": "True" }, foreign, { "type": "Own", "status": "False", "reason": "Gone" },
                { "type": "Seen", "status": "False" },
            ],
        } });
        change.carry_out(&mut object);
        assert_eq!(object["status"]["replicas"], 2);
        assert_eq!(object["status"].get("readyReplicas"), None);
        let own = |kind: &str| conditions::written(&condition(kind, "True"));
        let expected = json!([foreign, own("Own"), { "type": "Seen", "status": "False" }, own("New")]);
        assert_eq!(object["status"]["conditions"], expected);
        let once = object.clone();
        change.carry_out(&mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn what_somebody_else_says_in_the_same_instant_is_kept() {
        let template = json!({
            "metadata": { "labels": { "app": "a" } },
            "spec": { "containers": [{ "name": "c", "image": "i" }], "restartPolicy": "Never" },
        });
        let selector = json!({ "matchLabels": { "app": "a" } });
        let kinds = [
            ("apps/v1", "Deployment"),
            ("apps/v1", "ReplicaSet"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
        ];
        for (api_version, kind) in kinds.into_iter().chain([("batch/v1", "Job")]) {
            let mut world = World::new();
            world.node("n1", "True");
            world.meanwhile = Some(|object| {
                object["status"]["conditions"] =
                    json!([{ "type": "example.com/Approved", "status": "True" }]);
            });
            world.apply(json!({
                "apiVersion": api_version, "kind": kind, "metadata": { "name": "a", "namespace": "default" },
                "spec": { "replicas": 1, "completions": 1, "progressDeadlineSeconds": 60, "selector": selector, "template": template },
            }));
            assert!(world.meanwhile.is_none(), "{kind} writes its status");
            world.run_all("a");
            let object = &world.objects[&id(api_version, kind, "a")];
            let conditions = object["status"]["conditions"].as_array().unwrap();
            let is_kept = conditions.iter().any(|condition| condition["type"] == "example.com/Approved");
            assert!(is_kept, "{kind}: {conditions:?}");
        }
    }

    #[test]
    fn no_empty_list_is_left() {
        let change =
            StatusChange::default().with_conditions(&[condition("A", "True")], &[], conditions::written);
        let mut object = json!({ "status": { "conditions": [{ "type": "A", "status": "True" }] } });
        change.carry_out(&mut object);
        assert_eq!(object, json!({ "status": {} }));
    }
}

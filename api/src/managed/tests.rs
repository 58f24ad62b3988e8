//! Rules of ownership that no recorded case shows, on objects of real kinds.

use serde_json::{Value, json};

use super::*;
use crate::{
    admission::{Surroundings, pod_security::Around},
    kind::{self, service::NoPool},
    pipeline::{self, Applying, Change, Creation, FieldValidation, Ownership, Requester, Target},
};

fn kind_of(name: &str) -> &'static Kind {
    let version = if name == "Deployment" { "apps/v1" } else { "v1" };
    kind::by_kind(version, name).unwrap()
}

/// A time of day, for readable tests.
fn at(minute: u8) -> Timestamp {
    format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap()
}

fn created(kind: &'static Kind, object: Value, manager: &str) -> Value {
    let ownership = Ownership::Tracked(manager);
    let creation = Creation {
        namespace: "n",
        now: at(0),
        uid: "u",
        suffix: "abcde",
        requester: &Requester::default(),
        ownership,
        surroundings: &Surroundings::default(),
    };
    pipeline::create(kind, object, &creation, &mut NoPool).unwrap().object
}

fn changed(kind: &'static Kind, current: &Value, manager: &str, minute: u8, patch: &Value) -> Value {
    changed_at(kind, Target::Object, current, manager, minute, patch)
}

fn changed_at(
    kind: &'static Kind,
    target: Target,
    current: &Value,
    manager: &str,
    minute: u8,
    patch: &Value,
) -> Value {
    let body = patch.to_string();
    let merge = crate::patch::PatchKind::Merge;
    let patched = pipeline::patch(kind, current, merge, body.as_bytes(), FieldValidation::Strict).unwrap();
    let change =
        Change { target, now: at(minute), ownership: Ownership::Tracked(manager), around: &Around::Nothing };
    pipeline::update(kind, current, patched.object, &change, &mut NoPool).unwrap().object
}

fn applied_to(current: &Value, manager: &str, minute: u8, config: &Value) -> Result<Value, Status> {
    let kind = kind::by_kind(text(config, "apiVersion"), text(config, "kind")).unwrap();
    let applying = Applying {
        target: Target::Object,
        name: text(&current["metadata"], "name"),
        manager,
        force: Force::No,
        validation: FieldValidation::Strict,
        now: at(minute),
    };
    let object = pipeline::apply(kind, Some(current), config.to_string().as_bytes(), &applying)?.object;
    let change = Change {
        target: Target::Object,
        now: at(minute),
        ownership: Ownership::AsGiven,
        around: &Around::Nothing,
    };
    pipeline::update(kind, current, object, &change, &mut NoPool).map(|updated| updated.object)
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

/// The managers of an object, one line each: name, operation, subresource, minute, fields.
fn managers(object: &Value) -> Vec<String> {
    let line = |entry: &Value| {
        let minute = text(entry, "time").get(14..16).unwrap_or("-");
        let subresource = text(entry, "subresource");
        format!(
            "{} {}{}{subresource} {minute} {}",
            text(entry, "manager"),
            text(entry, "operation"),
            if subresource.is_empty() { "" } else { "/" },
            entry["fieldsV1"]
        )
    };
    object["metadata"]["managedFields"].as_array().into_iter().flatten().map(line).collect()
}

#[test]
fn a_time_changes_with_the_set_only() {
    let kind = kind_of("ConfigMap");
    let object = created(kind, config_map(json!({"a": "1"})), "m");
    let one = managers(&object);
    assert_eq!(one, [r#"m Update 00 {"f:data":{".":{},"f:a":{}}}"#]);
    let object = changed(kind, &object, "m", 1, &json!({"data": {"a": "2"}}));
    assert_eq!(managers(&object), one);
    let object = changed(kind, &object, "m", 2, &json!({"data": {"b": "2"}}));
    assert_eq!(managers(&object), [r#"m Update 02 {"f:data":{".":{},"f:a":{},"f:b":{}}}"#]);
    let object = changed(kind, &object, "other", 3, &json!({"data": {"a": null}}));
    assert_eq!(managers(&object), [r#"m Update 02 {"f:data":{".":{},"f:b":{}}}"#]);
}

#[test]
fn who_adds_to_a_pod_owns_that_and_writes_nothing_else() {
    let kind = kind_of("Pod");
    let pod = json!({
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let pod = created(kind, pod, "m");
    let patch = json!({
        "metadata": {"labels": {"a": "other"}, "annotations": {"x": "y"}},
        "spec": {
            "containers": [{"name": "other", "image": "other"}],
            "ephemeralContainers": [{"name": "e", "image": "i:1", "targetContainerName": "c"}],
        },
        "status": {"phase": "Running"},
    });
    let grown = changed_at(kind, Target::Ephemeral, &pod, "debugger", 1, &patch);
    assert_eq!(grown["metadata"]["generation"], 2);
    assert_eq!(grown["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "IfNotPresent");
    let mut shrunk = grown.clone();
    shrunk["spec"].as_object_mut().unwrap().remove("ephemeralContainers");
    shrunk["metadata"]["generation"] = 1.into();
    shrunk["metadata"]["managedFields"] = pod["metadata"]["managedFields"].clone();
    assert_eq!(shrunk, pod);
    let [_, debugger] = &*managers(&grown) else { panic!("there are two: {:?}", managers(&grown)) };
    let expected = r#"debugger Update/ephemeralcontainers 01 {"f:spec":{"f:ephemeralContainers":"#;
    assert!(debugger.starts_with(expected) && !debugger.contains("f:containers"), "{debugger}");
}

#[test]
fn the_status_has_its_own_managers() {
    let kind = kind_of("Pod");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = created(kind, pod, "m");
    let report = json!({"spec": {"nodeName": "n"}, "metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}});
    let reported = changed_at(kind, Target::Status, &pod, "node", 1, &report);
    let expected =
        r#"node Update/status 01 {"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:status":{"f:phase":{}}}"#;
    assert_eq!(managers(&reported)[1], expected);
    // What a request cannot write belongs to nobody new, and is taken from nobody.
    let tried = changed(
        kind,
        &reported,
        "m2",
        2,
        &json!({"status": {"phase": "Failed"}, "metadata": {"labels": {"c": "d"}}}),
    );
    assert_eq!(managers(&tried)[1], expected);
    assert_eq!(managers(&tried)[2], r#"m2 Update 02 {"f:metadata":{"f:labels":{"f:c":{}}}}"#);
}

#[test]
fn the_oldest_of_many_writers_become_one() {
    let kind = kind_of("ConfigMap");
    let mut object = created(kind, config_map(json!({})), "m00");
    object["metadata"]["managedFields"] = json!([{
        "manager": "m0", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}},
        "time": "2026-01-01T00:00:00Z"
    }]);
    for minute in 1..=12 {
        let mut patch = json!({"data": {}});
        patch["data"][format!("k{minute:02}")] = "v".into();
        object = changed(kind, &object, &format!("m{minute}"), minute, &patch);
    }
    let managers = managers(&object);
    assert_eq!(managers.len(), 10);
    let ancient = r#"ancient-changes Update 03 {"f:data":{".":{},"f:k01":{},"f:k02":{},"f:k03":{}}}"#;
    assert_eq!(managers[0], ancient);
    assert!(managers[9].starts_with("m12 Update 12"), "{managers:?}");
}

#[test]
fn what_clients_say_about_managers_counts_when_it_makes_sense() {
    let kind = kind_of("ConfigMap");
    let object = created(kind, config_map(json!({"a": "1"})), "m");
    let entry = |api_version: &str, fields: Value| {
        json!({"metadata": {"managedFields": [{
            "manager": "x", "operation": "Apply", "apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": fields,
        }]}})
    };
    let sent = changed(kind, &object, "m", 1, &entry("v1", json!({"f:data": {"f:a": {}, "z:new": {}}})));
    assert_eq!(managers(&sent), [r#"x Apply - {"f:data":{"f:a":{}}}"#]);
    for ignored in [
        entry("v1", json!({})),
        entry("v1", json!({"data": {}})),
        entry("", json!({"f:data": {}})),
        json!({"metadata": {"managedFields": [{"manager": "x"}]}}),
        json!({"metadata": {"managedFields": null}}),
    ] {
        assert_eq!(changed(kind, &object, "m", 1, &ignored), object, "{ignored}");
    }
    for reset in [json!([]), json!([{}])] {
        let reset = changed(kind, &object, "m", 1, &json!({"metadata": {"managedFields": reset}}));
        assert_eq!(reset["metadata"]["managedFields"], Value::Null);
        // From then on nobody is tracked, until somebody applies.
        let changed = changed(kind, &reset, "m", 2, &json!({"data": {"a": "2"}}));
        assert_eq!(changed["metadata"]["managedFields"], Value::Null);
        let applied = applied_to(&changed, "m", 3, &config_map(json!({"a": "2", "b": "1"}))).unwrap();
        let expected = [
            r#"m Apply 03 {"f:data":{"f:a":{},"f:b":{}}}"#,
            r#"before-first-apply Update 03 {"f:data":{".":{},"f:a":{}}}"#,
        ];
        assert_eq!(managers(&applied), expected);
    }
    // Fields of a version that is not served any more are nobody's.
    let old = changed(kind, &object, "m", 1, &entry("v0", json!({"f:data": {"f:a": {}}})));
    assert_eq!(managers(&old), Vec::<String>::new());
    // What is owned as a whole has no parts.
    let deployments = kind_of("Deployment");
    let mut deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    deployment["metadata"]["labels"] = json!({"x": "1"});
    let deployment = created(deployments, deployment, "m");
    let fields = json!({"f:spec": {"f:selector": {"f:matchLabels": {"f:a": {}}}, "f:replicas": {}}});
    let sent = changed(deployments, &deployment, "m", 1, &entry("apps/v1", fields));
    assert_eq!(managers(&sent), [r#"x Apply - {"f:spec":{"f:replicas":{},"f:selector":{}}}"#]);
}

#[test]
fn configurations_are_of_the_object_and_of_its_version() {
    let kind = kind_of("ConfigMap");
    let object = created(kind, config_map(json!({"a": "1"})), "m");
    let refuse = |config: &str, code: u16, message: &str| {
        let applying = Applying {
            target: Target::Object,
            name: "c",
            manager: "m",
            force: Force::No,
            validation: FieldValidation::Strict,
            now: at(1),
        };
        let status = pipeline::apply(kind, Some(&object), config.as_bytes(), &applying).unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{config}");
    };
    let head = "apiVersion: v1\nkind: ConfigMap\n";
    refuse("", 400, "invalid object type: /, Kind=");
    refuse("apiVersion: apps/v1\nkind: ConfigMap", 400, "invalid object type: apps/v1, Kind=ConfigMap");
    refuse(
        "[]",
        400,
        "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of \
         type map[string]interface {}",
    );
    refuse(
        &format!("{head}metadata: {{name: c, managedFields: []}}"),
        400,
        "metadata.managedFields must be nil",
    );
    refuse(
        &format!("{head}metadata: {{name: x}}"),
        400,
        "the name of the object (x) does not match the name on the URL (c)",
    );
    refuse(
        &format!("{head}data: {{a: \"1\", a: \"1\"}}"),
        400,
        "error strict decoding YAML: duplicate field \"data.a\"",
    );
    refuse(
        &format!("{head}metadata: {{generation: 1.5}}"),
        500,
        "failed to convert new typed object (/; /v1, Kind=ConfigMap) to object: unable to convert unstructured object to \
         /v1, Kind=ConfigMap: cannot convert float64 to int64",
    );
}

#[test]
fn what_an_update_wrote_as_well_stays_when_it_is_applied_no_longer() {
    let kind = kind::by_kind("v1", "ConfigMap").unwrap();
    let made = created(kind, config_map(json!({"both": "1", "kept": "1"})), "maker");
    let shared = applied_to(&made, "m", 1, &config_map(json!({"both": "1", "own": "1"}))).unwrap();
    let left = applied_to(&shared, "m", 2, &config_map(json!({"new": "2"}))).unwrap();
    assert_eq!(left["data"], json!({"both": "1", "kept": "1", "new": "2"}));
    let expected = [
        r#"m Apply 02 {"f:data":{"f:new":{}}}"#,
        r#"maker Update 00 {"f:data":{".":{},"f:both":{},"f:kept":{}}}"#,
    ];
    assert_eq!(managers(&left), expected);
}

#[test]
fn lists_keep_the_order_of_who_applies_last() {
    let check = |live: &[&str], applied: &[&str], expected: &[&str]| {
        let ty = NodeType::of_definition(kind_of("Pod").definition());
        let pod = |names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"metadata": {"finalizers": names}, "spec": {"containers": containers}})
        };
        assert_eq!(merge::merge(ty, &pod(live), &pod(applied)), pod(expected), "{live:?} {applied:?}");
    };
    check(&[], &["b", "a"], &["b", "a"]);
    check(&["a", "b"], &[], &["a", "b"]);
    check(&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]);
    check(&["a", "b", "c"], &["c", "d", "a", "b"], &["c", "d", "a", "b"]);
    check(&["x", "a", "y", "b"], &["a", "n", "b"], &["x", "a", "y", "n", "b"]);
    check(&["a", "a", "b"], &["b", "a"], &["b", "a"]);
    check(&["a", "a", "b"], &["b"], &["a", "a", "b"]);
}

#[test]
fn agents_name_managers() {
    let check = |agent: &str, expected: &str| assert_eq!(manager_of_user_agent(agent), expected);
    check("kubectl/v1.36.2 (linux/amd64)", "kubectl");
    check("Mozilla", "Mozilla");
    check("/x", "");
    check("a\u{7}b\n/1", "ab");
    assert_eq!(manager_of_user_agent(&"x".repeat(500)).len(), 128);
    assert_eq!(manager_of_user_agent(&"\u{20ac}".repeat(50)).len(), 126);
}

#[test]
fn names_of_managers_are_checked() {
    let mut errors = Vec::new();
    check_manager("kubectl edit \"x\" \u{fc}", &"fieldManager".into(), &mut errors);
    assert_eq!(errors, []);
    check_manager(&format!("a\tb{}", "c".repeat(128)), &"fieldManager".into(), &mut errors);
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts[0], "fieldManager: Too long: may not be more than 128 bytes");
    assert!(texts[1].ends_with("invalid character U+0009 (at position 1)"), "{texts:?}");
}

/// Another version of ConfigMap, which calls one entry differently.
fn other_version() -> &'static Kind {
    fn rename(object: &mut Value, from: &str, to: &str) {
        if let Some(value) = remove(&mut object["data"], from) {
            set(&mut object["data"], to, value);
        }
    }
    let stored = kind_of("ConfigMap");
    let conversion = kind::Conversion {
        stored,
        to_stored: |object| {
            rename(object, "new", "old");
            Ok(())
        },
        from_stored: |object| rename(object, "old", "new"),
    };
    let names = Kind { kind: "ConfigMap", plural: "configmaps", singular: "configmap", ..Kind::BASE };
    let storage = kind::Storage::As(conversion);
    kind::add(Kind { group: "managed.dunlin.dev", schema: "io.k8s.api.core.v1.ConfigMap", storage, ..names })
        .unwrap()
}

#[test]
fn owners_are_found_in_their_own_version() {
    let (stored, other) = (kind_of("ConfigMap"), other_version());
    let object = created(stored, config_map(json!({})), "x");
    let object = changed(stored, &object, "x", 0, &json!({"metadata": {"labels": {"a": "b"}}}));
    let object = applied_to(&object, "m", 1, &config_map(json!({"old": "1", "same": "1"}))).unwrap();
    let object = changed(other, &object, "u", 2, &json!({"data": {"new": "2"}}));
    let entries = managers(&object);
    assert!(entries.contains(&r#"m Apply 01 {"f:data":{"f:same":{}}}"#.to_owned()), "{entries:?}");
    assert!(entries.contains(&r#"u Update 02 {"f:data":{"f:new":{}}}"#.to_owned()), "{entries:?}");
    let mut config = config_map(json!({"new": "3"}));
    config["apiVersion"] = "managed.dunlin.dev/v1".into();
    let refused = applied_to(&object, "m", 3, &config).unwrap_err();
    let message = "Apply failed with 1 conflict: conflict with \"u\" using managed.dunlin.dev/v1: .data.new";
    assert_eq!(refused.message(), message);
    // What was applied in one version is removed in another; what is stored is the first.
    config["data"] = json!({"new": "2"});
    let applied = applied_to(&object, "m", 4, &config).unwrap();
    assert_eq!(applied["data"], json!({"old": "2"}));
    kind::remove(other);
}

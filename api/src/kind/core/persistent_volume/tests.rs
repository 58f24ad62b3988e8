//! PersistentVolumes: defaults, rules and rows.

use serde_json::{Value, json};

use super::*;
use crate::value::entries;

fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
    let mut volume = json!({"spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    change(&mut volume["spec"]);
    (KIND.default)(&mut volume);
    let mut errors = Vec::new();
    validate::object(&volume, &mut errors);
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

fn source(name: &str, source: Value) -> impl FnOnce(&mut Value) {
    move |spec| {
        remove(spec, "hostPath");
        set(spec, name, source);
    }
}

#[test]
fn volumes_have_a_size_and_a_source() {
    check(|_| {}, &[]);
    check(
        |spec| *spec = json!({"hostPath": {"path": "/"}, "accessModes": ["X"], "capacity": {"storage": "0"}}),
        &[
            "spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
         \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
        ],
    );
    check(
        |spec| set(spec, "nfs", json!({})),
        &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
    );
    check(
        source("nfs", json!({"server": "s", "path": "x"})),
        &["spec.nfs.path: Invalid value: \"x\": must be an absolute path"],
    );
    check(
        source("local", json!({"path": "/x"})),
        &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
    );
    check(source("csi", json!({"driver": "d"})), &["spec.csi.volumeHandle: Required value"]);
    check(
        source("hostPath", json!({"path": "/../x"})),
        &["spec.hostPath.path: Invalid value: \"/../x\": must not contain '..'"],
    );
    check(
        |spec| {
            set(spec, "accessModes", json!(["ReadWriteOncePod", "ReadWriteOnce"]));
            set(spec, "volumeMode", "X");
        },
        &[
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.volumeMode: Unsupported value: \"X\": supported values: \"Block\", \"Filesystem\"",
        ],
    );
}

#[test]
fn the_source_stays() {
    let old = json!({"spec": {"csi": {"driver": "d"}, "volumeMode": "Block"}});
    let mut new = old.clone();
    new["spec"]["csi"]["controllerExpandSecretRef"] = json!({"name": "s"});
    let mut errors = Vec::new();
    validate::update(&new, &old, &mut errors);
    assert_eq!(errors, []);
    new["spec"]["csi"]["driver"] = "e".into();
    validate::update(&new, &old, &mut errors);
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn every_source_is_one_of_the_schema() {
    let spec = KIND.definition().field("spec").unwrap().ty.definition().unwrap();
    let object = json!({"all": sources::source(&json!({"csi": {}}))});
    assert_eq!(entries(&object, "all").count(), 1);
    assert!(spec.field("csi").is_some());
}

#[test]
fn rows_are_short() {
    let volume = json!({
        "metadata": {"name": "v", "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            "claimRef": {"namespace": "a", "name": "b"}, "persistentVolumeReclaimPolicy": "Retain"},
        "status": {"phase": "Bound"},
    });
    let cells = row(&volume, Timestamp::UNIX_EPOCH);
    assert_eq!(
        cells[1..8],
        ["1Gi", "RWO,RWX", "Retain", "Terminating", "a/b", "", "<unset>"].map(Value::from)
    );
}

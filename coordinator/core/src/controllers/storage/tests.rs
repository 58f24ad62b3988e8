//! Claims and volumes in a small cluster: who gets which, what waits for what, and what is kept until nobody uses it.

use serde_json::{Value, json};

use crate::{
    controllers::world::{World, id},
    view::ObjectId,
};

fn volume(name: &str, size: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        // Nodes and volumes have no namespace, which the test's world would else add.
        "metadata": { "name": name, "namespace": "", "finalizers": ["kubernetes.io/pv-protection"] },
        "spec": {
            "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
            "storageClassName": "manual",
        },
        "status": { "phase": "Pending" },
    });
    dunlin_api::patch::merge(&mut object["spec"], spec.clone());
    object
}

fn claim(name: &str, size: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "namespace": "default", "finalizers": ["kubernetes.io/pvc-protection"] },
        "spec": {
            "resources": { "requests": { "storage": size } }, "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem", "storageClassName": "manual",
        },
        "status": { "phase": "Pending" },
    });
    dunlin_api::patch::merge(&mut object["spec"], spec.clone());
    object
}

fn claim_id(name: &str) -> ObjectId {
    id("v1", "PersistentVolumeClaim", name)
}

fn volume_id(name: &str) -> ObjectId {
    let mut id = id("v1", "PersistentVolume", name);
    id.key.namespace = "".into();
    id
}

/// Phase and volume of a claim.
fn of_claim(world: &World, name: &str) -> (String, String) {
    let object = &world.objects[&claim_id(name)];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&object["status"]["phase"]), text(&object["spec"]["volumeName"]))
}

/// Phase and claim of a volume.
fn of_volume(world: &World, name: &str) -> (String, String) {
    let object = &world.objects[&volume_id(name)];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&object["status"]["phase"]), text(&object["spec"]["claimRef"]["name"]))
}

fn said(one: (String, String), phase: &str, other: &str) {
    assert_eq!((one.0.as_str(), one.1.as_str()), (phase, other));
}

/// Asks for the end of an object.
fn delete(world: &mut World, id: &ObjectId) {
    let at = dunlin_api::time::format_time(world.now);
    world.patch(id, &json!({ "metadata": { "deletionTimestamp": at } }));
    world.reap();
}

#[test]
fn a_claim_gets_the_smallest_volume_that_will_do_and_both_say_so() {
    let mut world = World::new();
    world.apply(volume("small", "1Gi", &json!({})));
    world.apply(volume("large", "100Gi", &json!({})));
    world.apply(volume("right", "10Gi", &json!({})));
    world.apply(volume("able", "9Gi", &json!({ "accessModes": ["ReadWriteOnce", "ReadWriteMany"] })));
    world.apply(volume("other", "8Gi", &json!({ "storageClassName": "fast" })));
    world.apply(volume("device", "8Gi", &json!({ "volumeMode": "Block" })));
    said(of_volume(&world, "small"), "Available", "");
    world.apply(claim("c", "8Gi", &json!({})));
    said(of_claim(&world, "c"), "Bound", "right");
    said(of_volume(&world, "right"), "Bound", "c");
    let bound = &world.objects[&claim_id("c")];
    let annotations = &bound["metadata"]["annotations"];
    assert_eq!(annotations["pv.kubernetes.io/bind-completed"], "yes");
    assert_eq!(annotations["pv.kubernetes.io/bound-by-controller"], "yes");
    assert_eq!(bound["status"]["capacity"], json!({ "storage": "10Gi" }));
    assert_eq!(bound["status"]["accessModes"], json!(["ReadWriteOnce"]));
    let reference = &world.objects[&volume_id("right")]["spec"]["claimRef"];
    assert_eq!(reference["uid"], bound["metadata"]["uid"]);
    let writes = world.writes;
    world.pass(std::time::Duration::from_secs(3600));
    assert_eq!(world.writes, writes, "nothing is written at rest");
}

#[test]
fn a_claim_waits_for_its_volume_and_two_do_not_get_one() {
    let mut world = World::new();
    world.apply(claim("a", "1Gi", &json!({ "storageClassName": "" })));
    world.apply(claim("b", "1Gi", &json!({ "storageClassName": "" })));
    said(of_claim(&world, "a"), "Pending", "");
    assert!(world.told_of("").contains(&"FailedBinding"));
    world.apply(volume("v", "1Gi", &json!({ "storageClassName": null })));
    said(of_claim(&world, "a"), "Bound", "v");
    said(of_claim(&world, "b"), "Pending", "");
    world.apply(volume("w", "1Gi", &json!({ "storageClassName": null })));
    said(of_claim(&world, "b"), "Bound", "w");
}

#[test]
fn names_and_labels_choose() {
    let mut world = World::new();
    let mut gold = volume("gold", "5Gi", &json!({}));
    gold["metadata"]["labels"] = json!({ "tier": "gold" });
    world.apply(gold);
    world.apply(volume("plain", "1Gi", &json!({})));
    world.apply(claim("picky", "1Gi", &json!({ "selector": { "matchLabels": { "tier": "gold" } } })));
    said(of_claim(&world, "picky"), "Bound", "gold");
    // A volume that is kept for a claim by its name is nobody else's, and comes before all others.
    let kept = json!({ "claimRef": { "namespace": "default", "name": "later" } });
    world.apply(volume("kept", "50Gi", &kept));
    said(of_volume(&world, "kept"), "Available", "later");
    world.apply(claim("later", "1Gi", &json!({})));
    said(of_claim(&world, "later"), "Bound", "kept");
    assert_eq!(world.objects[&volume_id("kept")]["metadata"].get("annotations"), None);
    // A claim that names a volume takes no other.
    world.apply(claim("wrong", "2Gi", &json!({ "volumeName": "plain" })));
    said(of_claim(&world, "wrong"), "Pending", "plain");
    let why =
        world.told.iter().find(|(reason, _)| reason == "VolumeMismatch").map(|(_, message)| message.as_str());
    assert_eq!(why, Some("Cannot bind to requested volume \"plain\": requested PV is too small"));
    world.apply(claim("late", "1Gi", &json!({ "volumeName": "kept" })));
    said(of_claim(&world, "late"), "Pending", "kept");
    world.apply(claim("right", "1Gi", &json!({ "volumeName": "plain" })));
    said(of_claim(&world, "right"), "Bound", "plain");
    let annotations = &world.objects[&claim_id("right")]["metadata"]["annotations"];
    assert_eq!(annotations.get("pv.kubernetes.io/bound-by-controller"), None, "its author chose it");
}

#[test]
fn a_class_may_have_a_claim_wait_for_a_pod_or_for_a_provisioner() {
    let mut world = World::new();
    let class = |name: &str, mode: &str, provisioner: &str| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": name },
            "volumeBindingMode": mode, "provisioner": provisioner,
        })
    };
    world.apply(class("manual", "WaitForFirstConsumer", "kubernetes.io/no-provisioner"));
    world.apply(volume("v", "1Gi", &json!({})));
    world.apply(claim("c", "1Gi", &json!({})));
    said(of_claim(&world, "c"), "Pending", "");
    assert_eq!(world.told_of(""), ["WaitForFirstConsumer"]);
    world.apply(class("outside", "Immediate", "example.com/disk"));
    world.apply(claim("d", "1Gi", &json!({ "storageClassName": "outside" })));
    assert!(world.told_of("").contains(&"ExternalProvisioning"));
    let annotations = &world.objects[&claim_id("d")]["metadata"]["annotations"];
    assert_eq!(annotations["volume.kubernetes.io/storage-provisioner"], "example.com/disk");
    // The provisioner makes one for it.
    let uid = &world.objects[&claim_id("d")]["metadata"]["uid"];
    let reference = json!({ "namespace": "default", "name": "d", "uid": uid });
    world.apply(volume("made", "1Gi", &json!({ "storageClassName": "outside", "claimRef": reference })));
    said(of_claim(&world, "d"), "Bound", "made");
    world.apply(claim("e", "1Gi", &json!({ "storageClassName": "nowhere" })));
    let last = world.told.last().map(|(reason, message)| (reason.as_str(), message.as_str()));
    assert_eq!(last, Some(("ProvisioningFailed", "storageclass.storage.k8s.io \"nowhere\" not found")));
}

#[test]
fn a_claim_that_a_pod_uses_is_kept_until_the_pod_is_gone() {
    let mut world = World::new();
    world.apply(volume("v", "1Gi", &json!({})));
    world.apply(claim("c", "1Gi", &json!({})));
    let pod = |name: &str, node: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default" },
            "spec": {
                "nodeName": node, "containers": [],
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "c" } }],
            },
            "status": { "phase": "Running" },
        })
    };
    world.apply(pod("runs", "n1"));
    world.apply(pod("waits", ""));
    delete(&mut world, &claim_id("c"));
    assert!(world.objects.contains_key(&claim_id("c")));
    // What it ended with may still be on the node.
    world.patch_pod("runs", &json!({ "status": { "phase": "Succeeded" } }));
    world.reap();
    assert!(world.objects.contains_key(&claim_id("c")));
    world.remove(&id("v1", "Pod", "runs"));
    world.reap();
    assert!(!world.objects.contains_key(&claim_id("c")), "a pod without a node does not use it");
    said(of_volume(&world, "v"), "Released", "c");
    // Another of the name does not get what was the first one's.
    world.apply(claim("c", "1Gi", &json!({})));
    said(of_claim(&world, "c"), "Pending", "");
}

#[test]
fn what_was_made_for_a_pod_goes_with_it() {
    let mut world = World::new();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "default", "finalizers": ["example.com/x"] },
        "spec": { "nodeName": "n1", "containers": [], "volumes": [{ "name": "data", "ephemeral": {} }] },
        "status": { "phase": "Running" },
    });
    world.apply(pod);
    let mut own = claim("p-data", "1Gi", &json!({}));
    let uid = &world.objects[&id("v1", "Pod", "p")]["metadata"]["uid"];
    let owner = json!({ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true });
    own["metadata"]["ownerReferences"] = json!([owner]);
    world.apply(own);
    delete(&mut world, &claim_id("p-data"));
    assert!(world.objects.contains_key(&claim_id("p-data")));
    let at = dunlin_api::time::format_time(world.now);
    let over = json!({ "metadata": { "deletionTimestamp": at, "deletionGracePeriodSeconds": 0 } });
    world.patch_pod("p", &over);
    world.reap();
    assert!(!world.objects.contains_key(&claim_id("p-data")));
    assert!(world.objects.contains_key(&id("v1", "Pod", "p")), "another's finalizer keeps the pod");
}

#[test]
fn a_volume_that_a_claim_has_is_kept_and_what_is_lost_stays_lost() {
    let mut world = World::new();
    world.apply(volume("v", "1Gi", &json!({})));
    world.apply(claim("c", "1Gi", &json!({})));
    delete(&mut world, &volume_id("v"));
    assert!(world.objects.contains_key(&volume_id("v")));
    delete(&mut world, &claim_id("c"));
    world.reap();
    assert!(!world.objects.contains_key(&volume_id("v")));
    world.apply(volume("w", "1Gi", &json!({})));
    world.apply(claim("d", "1Gi", &json!({})));
    world.remove(&volume_id("w"));
    said(of_claim(&world, "d"), "Lost", "w");
    assert_eq!(world.told_of("").iter().filter(|reason| **reason == "ClaimLost").count(), 1);
    assert_eq!(world.objects[&claim_id("d")]["status"].get("capacity"), None);
}

#[test]
fn a_finalizer_that_somebody_took_comes_back() {
    let mut world = World::new();
    let mut bare = claim("c", "1Gi", &json!({}));
    bare["metadata"].as_object_mut().unwrap().remove("finalizers");
    world.apply(bare);
    let finalizers = &world.objects[&claim_id("c")]["metadata"]["finalizers"];
    assert_eq!(*finalizers, json!(["kubernetes.io/pvc-protection"]));
}

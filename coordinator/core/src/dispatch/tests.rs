//! Desired sets without a store: changes in, sets out.

use dunlin_link::{
    Digest, NodeName, PodUid, Revision, assignment::Desired, pod::ConfigKind, sealed::ContentKey,
};
use serde_json::{Value, json};

use super::{Change, ConfigKey, DesiredSets, NAMES_PREFIX, Subject, TAGS_PREFIX};
use crate::{ObjectKey, mirror::Mirrors};

fn change(revision: u64, subject: Subject, json: Option<&Value>) -> Change {
    Change { revision: Revision(revision), subject, json: json.map(|json| json.to_string().into()) }
}

fn empty() -> DesiredSets {
    DesiredSets::new(ContentKey::from_bytes([1; 32]))
}

fn pod_change(revision: u64, pod: Option<&Value>) -> Change {
    change(revision, Subject::Pod(ObjectKey::new("ns", "p")), pod)
}

fn name_change(revision: u64, digest: Digest) -> Change {
    let entry = json!({ "digest": digest.to_string(), "bytes": 1, "kind": "component" });
    change(revision, Subject::Record(format!("{NAMES_PREFIX}dunlin.local/a:latest")), Some(&entry))
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "p", "namespace": "ns", "uid": "u" },
        "spec": { "nodeName": "n", "containers": [{ "name": "c", "image": "dunlin.local/a" }] },
    })
}

fn apply(sets: &mut DesiredSets, change: Change) -> Desired {
    apply_all(sets, &[change])
}

fn apply_all(sets: &mut DesiredSets, changes: &[Change]) -> Desired {
    for change in changes {
        sets.apply(change).unwrap();
    }
    sets.publish(changes.last().unwrap().revision);
    sets.desired(&NodeName::new("n"))
}

fn image(desired: &Desired) -> Option<Digest> {
    desired.pods[&PodUid::new("u")].assignment.spec.containers[0].image.digest
}

#[test]
fn a_pod_that_runs_keeps_its_digest_when_the_name_moves() {
    let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
    let mut sets = empty();
    apply(&mut sets, name_change(1, old));
    assert_eq!(image(&apply(&mut sets, pod_change(2, Some(&pod())))), Some(old));
    let mut running = pod();
    running["status"]["containerStatuses"] =
        json!([{ "image": "dunlin.local/a", "imageID": format!("dunlin.local/a@{old}") }]);
    let before = apply(&mut sets, pod_change(3, Some(&running)));
    assert_eq!(before.revision, Revision(2), "a status is no change");
    let after = apply(&mut sets, name_change(4, new));
    assert_eq!((image(&after), after.revision), (Some(old), Revision(2)));

    let mut restarted = empty();
    restarted.apply(&name_change(4, new)).unwrap();
    restarted.apply(&pod_change(3, Some(&running))).unwrap();
    restarted.loaded(Revision(5));
    assert_eq!(image(&restarted.desired(&NodeName::new("n"))), Some(old), "also after a restart");

    let mut waiting = empty();
    apply(&mut waiting, name_change(1, old));
    apply(&mut waiting, pod_change(2, Some(&pod())));
    let moved = apply(&mut waiting, name_change(3, new));
    assert_eq!(
        (image(&moved), moved.revision),
        (Some(new), Revision(3)),
        "one that waits takes the new meaning"
    );
}

#[test]
fn a_tag_leads_to_its_manifest_unless_that_is_of_a_module() {
    let tag = |revision, digest: Option<Digest>| Change {
        revision: Revision(revision),
        subject: Subject::Record(format!("{TAGS_PREFIX}a:latest")),
        json: digest.map(|digest| digest.to_string().into()),
    };
    let (manifest, module, other) = (Digest::of(b"manifest"), Digest::of(b"module"), Digest::of(b"other"));
    let mut sets = empty();
    assert_eq!(image(&apply(&mut sets, pod_change(1, Some(&pod())))), None);
    let desired = apply(&mut sets, tag(2, Some(manifest)));
    assert_eq!((image(&desired), desired.revision), (Some(manifest), Revision(2)));
    // A module under the same tag comes with a manifest of its own.
    let desired = apply_all(&mut sets, &[tag(3, Some(other)), name_change(3, module)]);
    assert_eq!(image(&desired), Some(module));
    let mut gone = name_change(4, module);
    gone.json = None;
    assert_eq!(image(&apply_all(&mut sets, &[tag(4, Some(manifest)), gone])), Some(manifest));
    let unknown = apply(&mut sets, tag(5, None));
    assert_eq!(image(&unknown), None);
    let pod = &unknown.pods[&PodUid::new("u")].assignment.spec;
    assert_eq!(pod.containers[0].image.unresolved, "nothing was pushed as `dunlin.local/a:latest`");

    let mut restarted = empty();
    restarted.apply(&pod_change(1, Some(&self::pod()))).unwrap();
    restarted.apply(&tag(4, Some(manifest))).unwrap();
    restarted.loaded(Revision(9));
    let desired = restarted.desired(&NodeName::new("n"));
    assert_eq!((image(&desired), desired.pods[&PodUid::new("u")].revision), (Some(manifest), Revision(4)));
}

#[test]
fn an_image_that_is_a_volume_follows_its_tag() {
    let tag = |revision, digest: Option<Digest>| Change {
        revision: Revision(revision),
        subject: Subject::Record(format!("{TAGS_PREFIX}m:1")),
        json: digest.map(|digest| digest.to_string().into()),
    };
    let mut object = pod();
    object["spec"]["volumes"] = json!([{ "name": "v", "image": { "reference": "dunlin.local/m:1" } }]);
    object["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
    let told = |desired: &Desired| {
        let pod = &desired.pods[&PodUid::new("u")];
        let image = pod.assignment.volume_images.of("v").unwrap().clone();
        (image.digest, image.unresolved, pod.revision.0)
    };
    let mut sets = empty();
    let desired = apply(&mut sets, pod_change(1, Some(&object)));
    assert_eq!(told(&desired), (None, "nothing was pushed as `dunlin.local/m:1`".to_owned(), 1));
    let [first, second] = [b"first".as_slice(), b"second"].map(Digest::of);
    assert_eq!(told(&apply(&mut sets, tag(2, Some(first)))), (Some(first), String::new(), 2));
    assert_eq!(told(&apply(&mut sets, tag(3, Some(second)))), (Some(second), String::new(), 3));

    let mut restarted = empty();
    restarted.apply(&pod_change(1, Some(&object))).unwrap();
    restarted.apply(&tag(3, Some(second))).unwrap();
    restarted.loaded(Revision(9));
    assert_eq!(told(&restarted.desired(&NodeName::new("n"))), (Some(second), String::new(), 3));
    let gone = apply(&mut sets, tag(4, None));
    assert_eq!(told(&gone).0, None);
}

#[test]
fn sets_have_no_revision_before_all_is_read() {
    let mut sets = empty();
    assert_eq!(sets.desired(&NodeName::new("n")).revision, Revision(0));
    sets.apply(&pod_change(3, Some(&pod()))).unwrap();
    sets.loaded(Revision(9));
    let desired = sets.desired(&NodeName::new("n"));
    assert_eq!((desired.revision, desired.pods.len()), (Revision(9), 1));
    assert_eq!(sets.desired(&NodeName::new("idle")).revision, Revision(9));
    assert_eq!(sets.publish(Revision(10)), [], "nothing changed since");
    sets.apply(&pod_change(11, None)).unwrap();
    assert_eq!(sets.publish(Revision(11)), [NodeName::new("n")]);
}

#[test]
fn content_is_read_only_when_a_pod_names_it_and_dropped_with_the_last() {
    let mut sets = empty();
    let key = ConfigKey { kind: ConfigKind::Secret, key: ObjectKey::new("ns", "s") };
    let secret = json!({ "metadata": {}, "data": { "k": "dg==" } });
    apply(&mut sets, change(1, Subject::Config(key.clone()), Some(&secret)));
    let mut object = pod();
    object["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": "s" } }]);
    let bound = pod_change(2, Some(&object));
    assert_eq!(sets.missing_config(std::slice::from_ref(&bound)), std::slice::from_ref(&key));
    let read = change(1, Subject::ConfigRead(key.clone()), Some(&secret));
    let desired = apply_all(&mut sets, &[read, bound.clone()]);
    let reference = &desired.pods[&PodUid::new("u")].assignment.config[0];
    assert_eq!(desired.objects[&reference.digest.unwrap()].data, [("k".to_owned(), b"v".to_vec())]);
    assert_eq!(sets.missing_config(std::slice::from_ref(&bound)), []);

    let gone = apply(&mut sets, pod_change(3, None));
    assert!(gone.pods.is_empty() && gone.objects.is_empty());
    assert_eq!(sets.missing_config(&[bound]), [key]);
}

#[test]
fn a_record_keeps_the_order_to_stop_when_the_pod_goes_with_it() {
    let record = json!({ "uid": "u", "namespace": "ns", "name": "p", "grace_seconds": 0, "requested_at": 5 });
    let subject = Subject::Record("/dunlin/tombstones/n/u".to_owned());
    for order in [[0, 1], [1, 0]] {
        let mut sets = empty();
        apply(&mut sets, pod_change(1, Some(&pod())));
        let changes = [pod_change(2, None), change(2, subject.clone(), Some(&record))];
        let desired = apply_all(&mut sets, &order.map(|index| changes[index].clone()));
        assert_eq!((desired.pods.len(), desired.tombstones.len()), (0, 1));
        assert!(apply(&mut sets, change(3, subject.clone(), None)).tombstones.is_empty());
    }
}

#[test]
fn a_mirror_is_in_no_set_and_leaves_no_order() {
    let node = NodeName::new("n");
    let mut mirror = pod();
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "static" });
    mirror["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": "s" } }]);
    let mut sets = empty();
    sets.apply(&pod_change(1, Some(&mirror))).unwrap();
    assert_eq!(sets.mirrors(&node), None, "not all is read");
    sets.loaded(Revision(2));
    assert_eq!(sets.take_changed_mirrors(), [node.clone()].into());
    let known = sets.mirrors(&node).unwrap();
    let found = &known[&ObjectKey::new("ns", "p")];
    assert_eq!((found.uid.as_str(), found.of.as_str(), found.deleting), ("u", "static", false));
    assert!(sets.missing_config(&[pod_change(3, Some(&mirror))]).is_empty());

    // A status is no news, the beginning of its end is.
    mirror["status"] = json!({ "phase": "Running" });
    let desired = apply(&mut sets, pod_change(3, Some(&mirror)));
    assert!(desired.pods.is_empty() && sets.take_changed_mirrors().is_empty());
    mirror["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let desired = apply(&mut sets, pod_change(4, Some(&mirror)));
    assert!(desired.tombstones.is_empty() && desired.revision == Revision(2), "{desired:?}");
    assert!(sets.mirrors(&node).unwrap()[&ObjectKey::new("ns", "p")].deleting);

    // A pod of the same name that is none is assigned, and a mirror after it leaves nothing of it.
    let desired = apply(&mut sets, pod_change(5, Some(&pod())));
    assert_eq!((desired.pods.len(), sets.mirrors(&node)), (1, Some(Mirrors::new())));
    let desired = apply_all(&mut sets, &[pod_change(6, None), pod_change(7, Some(&mirror))]);
    assert!(desired.pods.is_empty());
    sets.take_changed_mirrors();
    apply(&mut sets, pod_change(8, None));
    assert_eq!(sets.take_changed_mirrors(), [node.clone()].into());
    assert_eq!(sets.mirrors(&node), Some(Mirrors::new()));
}

#[test]
fn no_node_hears_of_a_pod_that_must_not_be_there() {
    let mut sets = empty();
    let mut misplaced = pod();
    misplaced["status"] = json!({ "phase": "Failed", "reason": "NodeAffinity" });
    assert!(apply(&mut sets, pod_change(1, Some(&misplaced))).pods.is_empty());
    // Another reason is the node's own.
    misplaced["status"]["reason"] = "OutOfcpu".into();
    assert_eq!(apply(&mut sets, pod_change(2, Some(&misplaced))).pods.len(), 1);
}

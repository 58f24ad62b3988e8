//! What becomes of dependents.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Action, reconcile};
use crate::{
    deletion::Propagation,
    view::{ObjectId, ObjectKey, Resource, View},
};

struct Cluster(View);

impl Cluster {
    fn new() -> Self {
        Self(View::new(Timestamp::UNIX_EPOCH, Duration::from_secs(20)))
    }

    /// Stores a ConfigMap, whose uid is its name; answers what is to be looked at again.
    fn put(&mut self, name: &str, metadata: Value) -> Vec<String> {
        let touched = self.0.ownership_mut().apply(&id(name), &object(name, metadata)).unwrap();
        touched.into_iter().map(|id| id.key.name.to_string()).collect()
    }

    fn delete(&mut self, name: &str) -> Vec<String> {
        let touched = self.0.ownership_mut().delete(&id(name), &object(name, json!({}))).unwrap();
        touched.into_iter().map(|id| id.key.name.to_string()).collect()
    }

    fn plan(&self, name: &str) -> Vec<Action> {
        reconcile(&self.0, &id(name)).actions
    }
}

fn id(name: &str) -> ObjectId {
    ObjectId { resource: Resource::core("configmaps"), key: ObjectKey::new("d", name) }
}

fn object(name: &str, mut metadata: Value) -> Vec<u8> {
    metadata["uid"] = json!(name);
    json!({ "metadata": metadata }).to_string().into_bytes()
}

fn owned_by(owners: &[&str]) -> Value {
    let owner = |name: &&str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name });
    json!({ "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>() })
}

fn blocking(owners: &[&str]) -> Value {
    let mut metadata = owned_by(owners);
    for owner in metadata["ownerReferences"].as_array_mut().unwrap() {
        owner["blockOwnerDeletion"] = json!(true);
    }
    metadata
}

fn deleting(finalizer: &str) -> Value {
    json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer] })
}

fn deletes(name: &str) -> Action {
    Action::DeleteDependent { id: id(name), uid: name.to_owned(), propagation: Propagation::Background }
}

fn disowns(name: &str, owner: &str) -> Action {
    Action::Disown { id: id(name), uid: name.to_owned(), owners: vec![owner.to_owned()] }
}

fn releases(name: &str, finalizer: &'static str) -> Action {
    Action::RemoveFinalizer { id: id(name), uid: name.to_owned(), finalizer }
}

#[test]
fn dependents_go_after_their_last_owner() {
    let mut cluster = Cluster::new();
    cluster.put("a", json!({}));
    cluster.put("b", json!({}));
    assert_eq!(cluster.put("one", owned_by(&["a"])), ["one"]);
    cluster.put("both", owned_by(&["a", "b"]));
    assert_eq!([cluster.plan("one"), cluster.plan("both")], [vec![], vec![]]);
    assert_eq!(cluster.delete("a"), ["both", "one"]);
    assert_eq!(cluster.plan("one"), [deletes("one")]);
    assert_eq!(cluster.plan("both"), [disowns("both", "a")]);
    let mut going = owned_by(&["a"]);
    going["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.put("one", going);
    assert_eq!(cluster.plan("one"), [], "it is being deleted already");
}

#[test]
fn owners_of_kinds_that_are_not_watched_count_as_living() {
    let mut cluster = Cluster::new();
    let metadata = |kind: &str| json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": kind, "name": "x", "uid": "x" }] });
    cluster.put("p", metadata("Unheard"));
    cluster.put("q", metadata("Event"));
    cluster.put("r", metadata("Secret"));
    assert_eq!(
        [cluster.plan("p"), cluster.plan("q"), cluster.plan("r")],
        [vec![], vec![], vec![deletes("r")]]
    );
}

#[test]
fn a_foreground_deletion_waits_for_dependents_that_block_it() {
    let mut cluster = Cluster::new();
    cluster.put("a", json!({}));
    cluster.put("other", json!({}));
    cluster.put("free", owned_by(&["a"]));
    cluster.put("held", blocking(&["a"]));
    cluster.put("shared", blocking(&["a", "other"]));
    assert_eq!(cluster.put("a", deleting("foregroundDeletion")), ["a"]);
    assert_eq!(cluster.plan("a"), [deletes("held"), disowns("shared", "a")]);
    assert_eq!(cluster.plan("free"), [], "it goes after its owner");
    assert_eq!(cluster.put("shared", blocking(&["other"])), ["a", "shared"]);
    assert_eq!(cluster.delete("held"), ["a"]);
    assert_eq!(cluster.plan("a"), [releases("a", "foregroundDeletion")]);
    assert_eq!(cluster.delete("a"), ["free"]);
    assert_eq!(cluster.plan("free"), [deletes("free")]);
}

#[test]
fn a_dependent_with_dependents_of_its_own_goes_after_them() {
    let mut cluster = Cluster::new();
    cluster.put("a", deleting("foregroundDeletion"));
    cluster.put("b", blocking(&["a"]));
    cluster.put("c", blocking(&["b"]));
    let first =
        Action::DeleteDependent { id: id("b"), uid: "b".to_owned(), propagation: Propagation::Foreground };
    assert_eq!(cluster.plan("a"), [first]);
}

#[test]
fn orphans_lose_their_owner_and_stay() {
    let mut cluster = Cluster::new();
    cluster.put("a", deleting("orphan"));
    assert_eq!(cluster.put("p", blocking(&["a"])), ["a", "p"]);
    assert_eq!(cluster.plan("p"), [], "its owner still lives");
    assert_eq!(cluster.plan("a"), [disowns("p", "a")]);
    assert_eq!(cluster.put("p", json!({})), ["a"]);
    assert_eq!(cluster.plan("a"), [releases("a", "orphan")]);
    cluster.delete("a");
    assert_eq!(cluster.plan("p"), []);
}

//! What budgets come to say, of what is there.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn view() -> View {
    View::new(at(0), Duration::from_secs(20))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("d", name)
}

fn set_budget(view: &mut View, spec: Value, status: Value) {
    let mut budget = json!({"metadata": {"uid": "b", "generation": 3}, "spec": spec, "status": status});
    budget["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
    view.apply_budget(&key("b"), budget.to_string().as_bytes()).unwrap();
}

/// A pod of the workload, if one is given as kind and name, whose uid is its name.
fn set_pod(view: &mut View, name: &str, ready: &str, owner: Option<(&str, &str, &str)>) {
    let mut pod = json!({
        "metadata": {"uid": name, "labels": {"app": "web"}},
        "spec": {"containers": [], "nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    });
    if let Some(owner) = owner {
        pod["metadata"]["ownerReferences"] = json!([owned_by(owner)]);
    }
    view.apply_pod(&key(name), pod.to_string().as_bytes(), at(0)).unwrap();
}

fn owned_by((version, kind, name): (&str, &str, &str)) -> Value {
    json!({"apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": true})
}

fn set_workload(view: &mut View, plural: &'static str, name: &str, replicas: i64, owner: Value) {
    let object = json!({"metadata": {"uid": name, "ownerReferences": owner}, "spec": {"replicas": replicas, "template": {}}});
    let id = ObjectId { resource: Resource { group: "apps", plural }, key: key(name) };
    view.workloads_mut().apply(&id, object.to_string().as_bytes()).unwrap();
}

fn update(view: &View, now: i64) -> (BudgetUpdate, Option<Timestamp>) {
    let mut plan = reconcile(view, &key("b"), at(now));
    let Some(Action::UpdateBudget(update)) = plan.actions.pop() else { panic!("{plan:?}") };
    (*update, plan.again_at)
}

/// Expected, desired, healthy and allowed.
fn numbers(view: &View) -> (i64, i64, i64, i64) {
    let status = update(view, 0).0.status;
    (status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed)
}

const REPLICA_SET_OF_WEB: Option<(&str, &str, &str)> = Some(("apps/v1", "ReplicaSet", "rs"));

#[test]
fn a_number_is_counted_over_the_pods_that_are_there() {
    let mut view = view();
    set_budget(&mut view, json!({"minAvailable": 1}), json!({}));
    assert_eq!(numbers(&view), (0, 1, 0, 0));
    assert_eq!(update(&view, 0).0.notices, [Notice::NoPods]);
    set_pod(&mut view, "p", "True", None);
    set_pod(&mut view, "q", "False", None);
    assert_eq!(numbers(&view), (2, 1, 1, 0));
    set_pod(&mut view, "q", "True", None);
    assert_eq!(numbers(&view), (2, 1, 2, 1));
    let found = update(&view, 0).0;
    assert_eq!((found.status.observed_generation, found.notices), (3, vec![]));
    let reason = found.status.allowed.map(|allowed| allowed.reason);
    assert_eq!(reason.as_deref(), Some("SufficientPods"));
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let mut view = view();
    set_budget(&mut view, json!({"minAvailable": 1}), json!({}));
    set_pod(&mut view, "p", "True", None);
    let mut budget = json!({"metadata": {"uid": "b", "generation": 3}, "status": {},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    update(&view, 0).0.status.write(&mut budget, at(1));
    view.apply_budget(&key("b"), budget.to_string().as_bytes()).unwrap();
    assert_eq!(reconcile(&view, &key("b"), at(2)), Plan::nothing());
    view.delete_budget(&key("b"));
    assert_eq!(reconcile(&view, &key("b"), at(2)), Plan::nothing());
}

#[test]
fn shares_are_of_what_the_controllers_want() {
    let check = |spec: Value, expected| {
        let mut view = view();
        set_budget(&mut view, spec.clone(), json!({}));
        set_workload(&mut view, "replicasets", "rs", 10, json!([]));
        set_workload(&mut view, "statefulsets", "ss", 5, json!([]));
        set_pod(&mut view, "p", "True", REPLICA_SET_OF_WEB);
        set_pod(&mut view, "q", "True", REPLICA_SET_OF_WEB);
        set_pod(&mut view, "r", "True", Some(("apps/v1", "StatefulSet", "ss")));
        // One that nobody manages counts as healthy and for nothing else.
        set_pod(&mut view, "s", "True", None);
        assert_eq!(numbers(&view), expected, "{spec}");
    };
    check(json!({"minAvailable": "10%"}), (15, 2, 4, 2));
    check(json!({"minAvailable": "100%"}), (15, 15, 4, 0));
    check(json!({"maxUnavailable": 13}), (15, 2, 4, 2));
    check(json!({"maxUnavailable": 99}), (15, 0, 4, 4));
    check(json!({"maxUnavailable": "90%"}), (15, 1, 4, 3));
    check(json!({}), (0, 0, 4, 0));
}

#[test]
fn replica_sets_of_a_deployment_count_as_that_one() {
    let mut view = view();
    set_budget(&mut view, json!({"maxUnavailable": 1}), json!({}));
    let owner = json!([owned_by(("apps/v1", "Deployment", "web"))]);
    set_workload(&mut view, "replicasets", "rs", 2, owner.clone());
    set_workload(&mut view, "replicasets", "old", 1, owner);
    set_pod(&mut view, "p", "True", REPLICA_SET_OF_WEB);
    set_pod(&mut view, "q", "True", Some(("apps/v1", "ReplicaSet", "old")));
    assert_eq!(numbers(&view), (3, 2, 2, 0), "their Deployment is not there");
    set_workload(&mut view, "deployments", "web", 2, json!([]));
    assert_eq!(numbers(&view), (2, 1, 2, 1));
}

#[test]
fn pods_of_unknown_controllers_allow_nothing() {
    let check = |owner, expected: &str| {
        let mut view = view();
        let known = json!({"observedGeneration": 2, "disruptionsAllowed": 1, "currentHealthy": 1});
        set_budget(&mut view, json!({"maxUnavailable": 1}), known);
        set_workload(&mut view, "replicasets", "other", 1, json!([]));
        set_pod(&mut view, "p", "True", Some(owner));
        let found = update(&view, 0).0;
        assert_eq!(found.notices, [Notice::NotExpected(expected.to_owned())]);
        let BudgetStatus { observed_generation, disruptions_allowed, current_healthy, allowed, .. } =
            found.status;
        assert_eq!((observed_generation, disruptions_allowed, current_healthy), (2, 0, 1));
        let allowed = allowed.unwrap();
        assert_eq!(
            (&*allowed.status, &*allowed.reason, &*allowed.message),
            ("False", "SyncFailed", expected)
        );
    };
    check(("apps/v1", "ReplicaSet", "gone"), "found no controllers for pod \"p\"");
    check(("batch/v1", "Job", "j"), "jobs.batch does not implement the scale subresource");
    check(("v1", "Node", "n"), "nodes does not implement the scale subresource");
    check(("x.example/v1", "Foo", "f"), "no matches for kind \"Foo\" in version \"x.example/v1\"");
}

#[test]
fn evictions_are_waited_for_two_minutes() {
    let mut view = view();
    let disrupted =
        json!({"p": "1970-01-01T00:00:10Z", "q": "1970-01-01T00:00:20Z", "gone": "1970-01-01T00:00:20Z"});
    set_budget(&mut view, json!({"minAvailable": 1}), json!({"disruptedPods": disrupted}));
    for name in ["p", "q", "r"] {
        set_pod(&mut view, name, "True", None);
    }
    let (found, again) = update(&view, 30);
    let awaited: Vec<_> = found.status.disrupted_pods.keys().map(String::as_str).collect();
    assert_eq!((awaited, again), (vec!["p", "q"], Some(at(130))));
    assert_eq!((found.status.current_healthy, found.status.disruptions_allowed), (1, 0));
    let (found, again) = update(&view, 130);
    assert_eq!((found.status.current_healthy, again), (2, Some(at(140))));
    assert_eq!(found.notices, [Notice::NotDeleted(key("p"), PodUid::new("p"))]);
    // One that is being deleted is neither healthy nor waited for.
    let leaving = json!({"metadata": {"uid": "q", "labels": {"app": "web"}, "deletionTimestamp": "1970-01-01T00:01:00Z"},
        "spec": {"containers": []}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    view.apply_pod(&key("q"), leaving.to_string().as_bytes(), at(0)).unwrap();
    let (found, again) = update(&view, 130);
    assert_eq!((found.status.current_healthy, found.status.disrupted_pods.len(), again), (2, 0, None));
}

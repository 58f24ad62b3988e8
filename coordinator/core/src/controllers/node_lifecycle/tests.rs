//! What silence leads to, step by step.

use std::time::Duration;

use dunlin_link::{NodeName, PodUid};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Action, reconcile};
use crate::{
    controllers::{Plan, TAINT_UNREACHABLE},
    view::{Effect, Liveness, ObjectKey, View},
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn set_node(view: &mut View, name: &str, ready: &str, taints: Value) {
    let node = json!({
        "metadata": { "uid": name },
        "spec": { "taints": taints },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    });
    view.apply_node(&NodeName::new(name), node.to_string().as_bytes()).unwrap();
}

fn set_pod(view: &mut View, name: &str, ready: (&str, &str), tolerations: Value) {
    let pod = json!({
        "metadata": { "uid": name },
        "spec": { "containers": [], "nodeName": "n0", "tolerations": tolerations },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": ready.0, "reason": ready.1 },
            { "type": "ContainersReady", "status": "True" },
        ] },
    });
    view.apply_pod(&ObjectKey::new("d", name), pod.to_string().as_bytes(), at(0)).unwrap();
}

fn run(view: &View, seconds: i64) -> Plan {
    reconcile(view, &NodeName::new("n0"), at(seconds))
}

/// A cluster of `size` nodes, all live.
fn cluster(size: usize) -> View {
    let mut view = View::new(at(0), Duration::from_secs(20));
    for index in 0..size {
        let name = format!("n{index}");
        set_node(&mut view, &name, "True", json!([]));
        view.set_liveness(&NodeName::new(name), Liveness::Live);
    }
    view
}

fn unreachable(added: i64) -> Value {
    let taint =
        |effect| json!({ "key": TAINT_UNREACHABLE, "effect": effect, "timeAdded": at(added).to_string() });
    json!([taint("NoSchedule"), taint("NoExecute")])
}

fn tolerate(seconds: i64) -> Value {
    json!([{ "key": TAINT_UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds }])
}

fn key(name: &str) -> (ObjectKey, PodUid) {
    (ObjectKey::new("d", name), PodUid::new(name))
}

#[test]
fn silence_becomes_unknown_then_eviction_and_return_takes_it_back() {
    let mut view = cluster(4);
    let node = NodeName::new("n0");
    set_pod(&mut view, "p", ("True", ""), tolerate(300));
    assert_eq!(run(&view, 5), Plan::default());

    view.set_liveness(&node, Liveness::Silent(at(10)));
    assert_eq!(run(&view, 15), Plan { actions: vec![], again_at: Some(at(30)) });
    let (pod, uid) = key("p");
    let effects = [Effect::NoSchedule, Effect::NoExecute];
    let taint = |add: bool| {
        let keys: Vec<_> = effects.iter().map(|effect| (TAINT_UNREACHABLE, *effect)).collect();
        let (add, remove) = if add { (keys, vec![]) } else { (vec![], keys) };
        Action::Taint { node: node.clone(), uid: "n0".into(), add, remove }
    };
    let lost = Action::MarkPodLost(pod.clone(), uid.clone());
    let unknown = Action::MarkNodeUnknown { node: node.clone(), uid: "n0".into() };
    assert_eq!(run(&view, 30).actions, [unknown, taint(true), lost]);

    set_node(&mut view, "n0", "Unknown", unreachable(30));
    set_pod(&mut view, "p", ("False", "NodeStatusUnknown"), tolerate(300));
    assert_eq!(run(&view, 31), Plan { actions: vec![], again_at: Some(at(330)) });
    assert_eq!(run(&view, 330).actions, [Action::Evict(pod.clone(), uid.clone())]);

    view.set_liveness(&node, Liveness::Live);
    set_node(&mut view, "n0", "True", unreachable(30));
    assert_eq!(run(&view, 100).actions, [taint(false), Action::MarkPodFound(pod, uid)]);
}

#[test]
fn who_tolerates_for_ever_stays_and_who_does_not_goes_at_once() {
    let mut view = cluster(2);
    view.set_liveness(&NodeName::new("n0"), Liveness::Silent(at(0)));
    set_node(&mut view, "n0", "Unknown", unreachable(30));
    set_pod(&mut view, "stays", ("False", ""), json!([{ "operator": "Exists" }]));
    set_pod(&mut view, "goes", ("False", ""), json!([]));
    let (pod, uid) = key("goes");
    assert_eq!(run(&view, 40).actions, [Action::Evict(pod, uid)]);
}

#[test]
fn when_most_of_a_pool_falls_silent_nothing_is_evicted() {
    let check = |size: usize, silent: usize, evicted: bool| {
        let mut view = cluster(size);
        set_node(&mut view, "n0", "Unknown", unreachable(30));
        set_pod(&mut view, "p", ("False", ""), json!([]));
        for index in 0..silent {
            view.set_liveness(&NodeName::new(format!("n{index}")), Liveness::Silent(at(0)));
        }
        let actions = run(&view, 1000).actions;
        let evicts = actions.iter().any(|action| matches!(action, Action::Evict(..)));
        assert_eq!(evicts, evicted, "{silent} of {size}");
    };
    check(2, 2, true);
    check(3, 1, true);
    check(3, 2, false);
    check(20, 10, true);
    check(20, 11, false);
}

#[test]
fn a_restart_of_the_coordinator_changes_nothing_until_its_grace_ends() {
    let mut view = View::new(at(0), Duration::from_secs(20));
    set_node(&mut view, "n0", "True", json!([]));
    set_pod(&mut view, "p", ("True", ""), json!([]));
    assert_eq!(run(&view, 80), Plan { actions: vec![], again_at: Some(at(90)) });
    assert_eq!(run(&view, 90).actions.len(), 3);

    let mut view = View::new(at(1000), Duration::from_secs(20));
    set_node(&mut view, "n0", "Unknown", unreachable(30));
    set_pod(&mut view, "p", ("False", ""), json!([]));
    assert_eq!(run(&view, 1000).actions, [], "nor does it evict on the word of the time before");
}

#[test]
fn a_mark_that_was_late_is_taken_back() {
    let mut view = cluster(4);
    // The session opened, found the node Ready as stored, and only then the mark was committed.
    set_node(&mut view, "n0", "Unknown", json!([]));
    let known = Action::MarkNodeKnown { node: NodeName::new("n0"), uid: "n0".into() };
    assert_eq!(run(&view, 5).actions.first(), Some(&known));
    set_node(&mut view, "n0", "True", unreachable(5));
    assert!(
        matches!(&run(&view, 6).actions[..], [Action::Taint { add, remove, .. }] if add.is_empty() && remove.len() == 2)
    );
}

#[test]
fn a_mirror_outlives_any_taint() {
    use dunlin_link::statics::StaticPodName;

    let name =
        |uid: &str| StaticPodName { uid: PodUid::new(uid), namespace: "d".to_owned(), name: uid.to_owned() };
    let mirror = crate::mirror::object(&name("fixed"), &NodeName::new("n0"), "n0", &json!({}));
    let mut view = cluster(1);
    let taint = json!({ "key": "example.com/away", "effect": "NoExecute", "timeAdded": at(0).to_string() });
    set_node(&mut view, "n0", "True", json!([taint]));
    set_pod(&mut view, "plain", ("True", ""), json!([]));
    set_pod(&mut view, "fixed", ("True", ""), mirror["spec"]["tolerations"].clone());
    let plan = run(&view, 1000);
    let evicted: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Evict(key, _) => Some(&*key.name),
            _ => None,
        })
        .collect();
    assert_eq!(evicted, ["plain"]);
}

#[test]
fn what_a_node_runs_short_of_keeps_pods_away() {
    let mut view = cluster(1);
    let set = |view: &mut View, short: &str, taints: Value| {
        let node = json!({
            "metadata": { "uid": "n0" },
            "spec": { "taints": taints },
            "status": { "conditions": [
                { "type": "Ready", "status": "True" },
                { "type": "MemoryPressure", "status": "False" },
                { "type": "DiskPressure", "status": short },
            ] },
        });
        view.apply_node(&NodeName::new("n0"), node.to_string().as_bytes()).unwrap();
    };
    let taint = ("node.kubernetes.io/disk-pressure", Effect::NoSchedule);
    let changed = |plan: Plan| match plan.actions.as_slice() {
        [Action::Taint { add, remove, .. }] => (add.clone(), remove.clone()),
        other => panic!("{other:?}"),
    };
    set(&mut view, "True", json!([]));
    assert_eq!(changed(run(&view, 0)), (vec![taint], vec![]));
    set(&mut view, "True", json!([{ "key": taint.0, "effect": "NoSchedule" }]));
    assert!(run(&view, 0).actions.is_empty());
    set(&mut view, "False", json!([{ "key": taint.0, "effect": "NoSchedule" }]));
    assert_eq!(changed(run(&view, 0)), (vec![], vec![taint]));
}

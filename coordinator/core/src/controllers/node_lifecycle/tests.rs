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
    set_pod(&mut view, "p", ("False", "NodeNotReady"), tolerate(300));
    for (seconds, again) in [(31, 41), (325, 330)] {
        assert_eq!(run(&view, seconds), Plan { actions: vec![], again_at: Some(at(again)) });
    }
    assert_eq!(run(&view, 330).actions, [Action::Evict(pod.clone(), uid.clone())]);

    view.set_liveness(&node, Liveness::Live);
    set_node(&mut view, "n0", "True", unreachable(30));
    let found = Action::MarkPodFound(pod.clone(), uid.clone());
    assert_eq!(run(&view, 100).actions, [taint(false), found, Action::CancelEviction(pod, uid)]);
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

/// Zone of a node, which is Ready or not heard of, with its taints.
fn set_zoned(view: &mut View, name: &str, zone: &str, ready: &str, taints: Value) {
    let node = json!({
        "metadata": { "uid": name, "labels": { "topology.kubernetes.io/zone": zone } },
        "spec": { "taints": taints },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    });
    view.apply_node(&NodeName::new(name), node.to_string().as_bytes()).unwrap();
}

/// Nodes of a zone, `a0` and so on, of which the first `silent` have been silent since the second of their number.
fn zone(view: &mut View, zone: &str, size: usize, silent: usize) {
    for index in 0..size {
        let name = format!("{zone}{index}");
        set_zoned(view, &name, zone, if index < silent { "Unknown" } else { "True" }, json!([]));
        let since = at(i64::try_from(index).unwrap());
        let liveness = if index < silent { Liveness::Silent(since) } else { Liveness::Live };
        view.set_liveness(&NodeName::new(name), liveness);
    }
}

/// Effects of the taints that a node gets and loses, and when it is looked at again.
fn taints(view: &View, name: &str, seconds: i64) -> (Vec<Effect>, Vec<Effect>, Option<i64>) {
    let plan = reconcile(view, &NodeName::new(name), at(seconds));
    let again = plan.again_at.map(Timestamp::as_second);
    let effects = |taints: &[(&str, Effect)]| taints.iter().map(|(_, effect)| *effect).collect();
    for action in &plan.actions {
        if let Action::Taint { add, remove, .. } = action {
            return (effects(add), effects(remove), again);
        }
    }
    (vec![], vec![], again)
}

const BOTH: [Effect; 2] = [Effect::NoSchedule, Effect::NoExecute];

#[test]
fn nodes_of_a_zone_are_given_up_one_after_the_other() {
    let mut view = View::new(at(0), Duration::from_secs(20));
    zone(&mut view, "a", 10, 3);
    assert_eq!(taints(&view, "a0", 50), (BOTH.to_vec(), vec![], None));
    assert_eq!(taints(&view, "a1", 50), (vec![Effect::NoSchedule], vec![], Some(60)), "not before the first");
    set_zoned(&mut view, "a0", "a", "Unknown", unreachable(50));
    assert_eq!(taints(&view, "a0", 51), (vec![], vec![], Some(61)), "the others may follow");
    assert_eq!(taints(&view, "a1", 51), (vec![Effect::NoSchedule], vec![], Some(60)));
    assert_eq!(taints(&view, "a1", 60), (BOTH.to_vec(), vec![], None));
    zone(&mut view, "b", 10, 1);
    assert_eq!(taints(&view, "b0", 51).0, BOTH, "each zone has its own pace");
}

#[test]
fn a_site_that_is_silent_as_a_whole_is_waited_for_and_what_began_is_taken_back() {
    let mut view = View::new(at(0), Duration::from_secs(20));
    zone(&mut view, "a", 4, 4);
    zone(&mut view, "b", 4, 0);
    set_zoned(&mut view, "a0", "a", "Unknown", unreachable(30));
    assert_eq!(taints(&view, "a0", 100), (vec![], vec![Effect::NoExecute], Some(110)));
    assert_eq!(taints(&view, "a1", 100), (vec![Effect::NoSchedule], vec![], Some(110)));
    // Those that are back leave the others with a grace of their own.
    for name in ["a1", "a2", "a3"] {
        view.set_liveness(&NodeName::new(name), Liveness::Live);
        set_zoned(&mut view, name, "a", "True", json!([]));
    }
    set_zoned(&mut view, "a0", "a", "Unknown", json!([]));
    assert_eq!(taints(&view, "a0", 200).0, BOTH);
}

#[test]
fn in_a_large_zone_those_that_are_left_take_over_slowly() {
    let check = |size: usize, silent: usize, expected: Option<i64>| {
        let mut view = View::new(at(0), Duration::from_secs(20));
        zone(&mut view, "a", size, silent);
        set_zoned(&mut view, "a0", "a", "Unknown", unreachable(200));
        assert_eq!(taints(&view, "a1", 201).2, expected, "{silent} of {size}");
    };
    check(51, 28, Some(210));
    check(51, 29, Some(300));
    check(50, 28, Some(211));
    check(51, 51, Some(211));
}

#[test]
fn conditions_and_cordons_are_taints_that_keep_pods_away() {
    let mut view = View::new(at(0), Duration::from_secs(20));
    view.set_liveness(&NodeName::new("n0"), Liveness::Live);
    let mut set = |conditions: Value, unschedulable: bool, taints: Value| {
        let mut all = vec![json!({ "type": "Ready", "status": "True" })];
        all.extend(conditions.as_array().unwrap().iter().cloned());
        let node = json!({
            "metadata": { "uid": "n0" },
            "spec": { "taints": taints, "unschedulable": unschedulable },
            "status": { "conditions": all },
        });
        view.apply_node(&NodeName::new("n0"), node.to_string().as_bytes()).unwrap();
        run(&view, 5).actions
    };
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status });
    let found =
        set(json!([condition("DiskPressure", "True"), condition("PIDPressure", "False")]), true, json!([]));
    let taint = |key| (key, Effect::NoSchedule);
    let (disk, cordon) =
        (taint("node.kubernetes.io/disk-pressure"), taint("node.kubernetes.io/unschedulable"));
    let change = |add: &[(&'static str, Effect)], remove: &[(&'static str, Effect)]| Action::Taint {
        node: NodeName::new("n0"),
        uid: "n0".into(),
        add: add.to_vec(),
        remove: remove.to_vec(),
    };
    assert_eq!(found, [change(&[cordon, disk], &[])]);
    let tainted = |(key, effect): (&str, Effect)| json!({ "key": key, "effect": effect.as_str() });
    let both = json!([tainted(disk), tainted(cordon)]);
    assert_eq!(
        set(json!([condition("DiskPressure", "Unknown")]), false, both.clone()),
        [change(&[], &[cordon])]
    );
    assert_eq!(set(json!([condition("DiskPressure", "False")]), true, both), [change(&[], &[disk])]);
}

//! Autoscalers, from what is measured to what is done.

use std::{collections::HashMap, sync::Arc, time::Duration};

use dunlin_api::time::format_time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ContainerUse, Measured, PodUse, Rescale, Scale};
use crate::{
    ObjectKey, View,
    controllers::{Action, Plan, StatusChange, WorkloadAction},
    reconciler::{Key, Reconciler},
};

/// An autoscaler `h` and its target, whose pods all use the same.
struct Scene {
    reconciler: Reconciler,
    now: Timestamp,
    object: Value,
    replicas: i64,
    selector: &'static str,
    /// Reasons of events.
    told: Vec<String>,
    messages: Vec<String>,
}

impl Scene {
    /// With so many pods that have run for long.
    fn new(spec: Value, replicas: i64) -> Self {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut spec = spec;
        spec["scaleTargetRef"] = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let object = json!({ "metadata": { "name": "h", "namespace": "default", "uid": "u" }, "spec": spec });
        let mut scene = Self {
            reconciler: Reconciler::new(View::new(now, Duration::from_secs(40))),
            now,
            object,
            replicas,
            selector: "app=web",
            told: Vec::new(),
            messages: Vec::new(),
        };
        scene.fold();
        (0..replicas).for_each(|number| scene.pod(number, "True", 3600));
        scene
    }

    fn fold(&mut self) {
        self.reconciler.fold_autoscaler(&key(), self.object.to_string().as_bytes()).unwrap();
    }

    /// A pod that requests half a processor and 100 MB, started so many seconds ago.
    fn pod(&mut self, number: i64, ready: &str, age: u64) {
        self.pod_since(number, ready, json!(format_time(self.now - Duration::from_secs(age))));
    }

    fn pod_since(&mut self, number: i64, ready: &str, started: Value) {
        let pod = json!({
            "metadata": { "name": format!("p{number}"), "uid": format!("u{number}"), "labels": { "app": "web" } },
            "spec": {
                "nodeName": "n",
                "containers": [{ "name": "c", "resources": { "requests": { "cpu": "500m", "memory": "100M" } } }],
            },
            "status": {
                "phase": "Running",
                "startTime": started,
                "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": started }],
            },
        });
        let key = ObjectKey::new("default", &format!("p{number}"));
        self.reconciler.fold_pod(&key, pod.to_string().as_bytes(), self.now).unwrap();
    }

    /// One look, at pods that use so much of a processor each; the new size, if there is one.
    fn look(&mut self, cpu_milli: i64) -> Option<i64> {
        let names: Vec<i64> = (0..self.replicas).collect();
        self.look_at(&names, cpu_milli)
    }

    fn look_at(&mut self, pods: &[i64], cpu_milli: i64) -> Option<i64> {
        let used = |number: &i64| {
            let name = "c".to_owned();
            let containers = vec![ContainerUse { name, cpu_milli, memory: 50_000_000 }];
            let window = Duration::from_secs(15);
            (Arc::from(format!("p{number}")), PodUse { at: self.now, window, containers })
        };
        let used: HashMap<Arc<str>, PodUse> = pods.iter().map(used).collect();
        let scale = Scale { replicas: self.replicas, selector: self.selector.to_owned() };
        self.measured(Measured { scale: Ok(scale), used: Ok(used) })
    }

    fn measured(&mut self, measured: Measured) -> Option<i64> {
        let asked = self.plan();
        assert!(matches!(asked.actions[..], [Action::Measure { .. }]), "{asked:?}");
        self.reconciler.measured(&key(), measured);
        let plan = self.plan();
        self.now += super::PERIOD;
        assert_eq!(plan.again_at, Some(self.now));
        let mut size = None;
        for action in plan.actions {
            match action {
                Action::Rescale(rescale) => {
                    size = Some(rescale.replicas);
                    self.rescale(&rescale, Ok(()));
                }
                Action::Workload(_, WorkloadAction::WriteStatus { change, .. }) => self.change(&change),
                Action::Workload(_, WorkloadAction::Tell { reason, message, .. }) => {
                    self.told.push(reason.to_owned());
                    self.messages.push(message);
                }
                other => panic!("{other:?}"),
            }
        }
        size
    }

    fn rescale(&mut self, rescale: &Rescale, result: Result<(), &str>) {
        let outcome = rescale.ended(result);
        self.told.push(outcome.reason.to_owned());
        self.messages.push(outcome.message);
        if result.is_ok() {
            (self.replicas..rescale.replicas).for_each(|number| self.pod(number, "True", 3600));
            for number in rescale.replicas..self.replicas {
                self.reconciler.forget_pod(&ObjectKey::new("default", &format!("p{number}")));
            }
            self.replicas = rescale.replicas;
        }
        self.change(&outcome.change);
    }

    fn change(&mut self, change: &StatusChange) {
        change.carry_out(&mut self.object);
        self.fold();
    }

    fn plan(&mut self) -> Plan {
        self.reconciler.plan(&Key::Autoscaler(key()), self.now)
    }

    /// Status and reason of a condition.
    fn condition(&self, kind: &str) -> (String, String) {
        let conditions = self.object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let text = |field: &str| found.map_or("", |found| found[field].as_str().unwrap()).to_owned();
        (text("status"), text("reason"))
    }

    fn check(&self, kind: &str, status: &str, reason: &str) {
        assert_eq!(self.condition(kind), (status.to_owned(), reason.to_owned()), "{kind}");
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "h")
}

/// Half of what is requested, which is 250m, between 1 and 10.
fn half() -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": 50 });
    let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
    json!({ "minReplicas": 1, "maxReplicas": 10, "metrics": [metric] })
}

fn with_behavior(up: Value, down: Value) -> Value {
    let mut spec = half();
    let rules = |given: Value| {
        let mut rules = json!({
            "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
            "policies": [{ "type": "Percent", "value": 900, "periodSeconds": 15 }],
        });
        dunlin_api::patch::merge(&mut rules, given);
        rules
    };
    spec["behavior"] = json!({ "scaleUp": rules(up), "scaleDown": rules(down) });
    spec
}

#[test]
fn a_target_grows_at_once_and_shrinks_when_it_was_idle_for_a_while() {
    let mut scene = Scene::new(half(), 2);
    // Within a tenth of what it should be.
    assert_eq!(scene.look(270), None);
    scene.check("AbleToScale", "True", "ReadyForNewScale");
    scene.check("ScalingActive", "True", "ValidMetricFound");
    scene.check("ScalingLimited", "False", "DesiredWithinRange");
    let current = json!([{ "type": "Resource", "resource": {
        "name": "cpu", "current": { "averageUtilization": 54, "averageValue": "270m" },
    } }]);
    assert_eq!(scene.object["status"]["currentMetrics"], current);
    assert_eq!(scene.look(375), Some(3));
    assert_eq!(
        scene.messages.last().unwrap(),
        "New size: 3; reason: cpu resource utilization (percentage of request) above target"
    );
    scene.check("AbleToScale", "True", "SucceededRescale");
    assert!(scene.object["status"]["lastScaleTime"].is_string());
    // Twenty are wanted; ten are the most, and six at a time.
    assert_eq!(scene.look(1667), Some(6));
    scene.check("ScalingLimited", "True", "ScaleUpLimit");
    assert_eq!(scene.look(1000), Some(10));
    scene.check("ScalingLimited", "True", "TooManyReplicas");
    let before = scene.told.len();
    for _ in 0..20 {
        assert_eq!(scene.look(0), None);
        scene.check("AbleToScale", "True", "ScaleDownStabilized");
    }
    assert_eq!(scene.look(0), Some(1));
    assert_eq!(scene.told[before..], ["SuccessfulRescale"]);
    assert_eq!(scene.messages.last().unwrap(), "New size: 1; reason: All metrics below target");
    scene.check("ScalingLimited", "True", "TooFewReplicas");
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let mut scene = Scene::new(half(), 2);
    scene.look(250);
    let before = scene.object.clone();
    scene.look(250);
    assert_eq!(scene.object, before);
    // Whatever touches the key in between asks for nothing.
    scene.now -= Duration::from_secs(1);
    assert!(scene.plan().actions.is_empty());
}

#[test]
fn rules_say_how_fast() {
    let pods = json!({ "policies": [{ "type": "Pods", "value": 2, "periodSeconds": 60 }] });
    let mut scene = Scene::new(with_behavior(pods.clone(), pods), 2);
    assert_eq!(scene.look(500), Some(4));
    // Two in a minute have been added.
    for _ in 0..3 {
        assert_eq!(scene.look(500), None);
        scene.check("ScalingLimited", "True", "ScaleUpLimit");
    }
    assert_eq!(scene.look(500), Some(6));
    assert_eq!(scene.look(0), Some(4));
    assert_eq!(scene.look(0), None);
    scene.check("ScalingLimited", "True", "ScaleDownLimit");

    let mut scene = Scene::new(with_behavior(json!({ "selectPolicy": "Disabled" }), json!({})), 2);
    assert_eq!(scene.look(500), None);
    let slow = json!({ "stabilizationWindowSeconds": 40 });
    let mut scene = Scene::new(with_behavior(slow.clone(), slow), 2);
    // The two that there were at the beginning count as a recommendation.
    assert_eq!(scene.look(500), None);
    scene.check("AbleToScale", "True", "ScaleUpStabilized");
    assert_eq!(scene.look(500), None);
    assert_eq!(scene.look(500), None);
    assert_eq!(scene.look(500), Some(4));
    assert_eq!(scene.look(0), None);
    scene.check("AbleToScale", "True", "ScaleDownStabilized");
}

#[test]
fn tolerances_can_be_set_for_each_direction() {
    let mut scene = Scene::new(with_behavior(json!({ "tolerance": "0.5" }), json!({ "tolerance": "0" })), 4);
    assert_eq!(scene.look(370), None);
    assert_eq!(scene.look(380), Some(7));
    assert_eq!(scene.look(245), None);
    assert_eq!(scene.look(210), Some(6));
}

#[test]
fn pods_that_begin_or_are_not_known_count_for_little() {
    let mut scene = Scene::new(half(), 4);
    // Two are new: what they compute is left out, and on the way up they count as idle.
    scene.pod(2, "False", 10);
    scene.pod(3, "True", 10);
    assert_eq!(scene.look(500), None);
    assert_eq!(scene.look(1000), Some(8));
    // On the way down, pods without a measurement count as if they used all that they request.
    let mut scene = Scene::new(with_behavior(json!({}), json!({})), 4);
    assert_eq!(scene.look_at(&[0, 1], 50), None);
    assert_eq!(scene.look_at(&[0, 1, 2], 10), Some(3));
    // Without any there is nothing to go by.
    let mut scene = Scene::new(half(), 1);
    scene.pod(0, "False", 10);
    assert_eq!(scene.look(500), None);
    scene.check("ScalingActive", "False", "FailedGetResourceMetric");
    assert_eq!(scene.told, ["FailedGetResourceMetric", "FailedComputeMetricsReplicas"]);
    let why =
        "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)";
    assert_eq!(scene.messages[0], why);
    assert_eq!(scene.messages[1], format!("invalid metrics (1 invalid out of 1), first error is: {why}"));
}

#[test]
fn nobody_waits_until_a_clock_that_was_put_back_comes_to_the_time_again() {
    let mut scene = Scene::new(half(), 2);
    assert_eq!(scene.look(500), Some(4));
    scene.now -= Duration::from_secs(86_400);
    // Its pods have been ready since tomorrow.
    assert_eq!(scene.look(500), Some(8));
    // What was recommended tomorrow does not count longer than what was recommended a moment ago.
    let sizes: Vec<i64> = (0..21).filter_map(|_| scene.look(62)).collect();
    assert_eq!(sizes, [2]);
}

#[test]
fn a_pod_whose_node_did_not_know_the_time_counts() {
    let mut scene = Scene::new(half(), 1);
    scene.pod_since(0, "True", Value::Null);
    assert_eq!(scene.look(500), Some(2));
}

#[test]
fn values_and_containers_are_measured_too() {
    let each = json!({ "type": "AverageValue", "averageValue": "25M" });
    let mut spec = half();
    spec["metrics"] = json!([
        { "type": "Resource", "resource": { "name": "memory", "target": each } },
        { "type": "ContainerResource", "containerResource": {
            "name": "cpu", "container": "c", "target": { "type": "Utilization", "averageUtilization": 50 } } },
    ]);
    let mut scene = Scene::new(spec.clone(), 2);
    assert_eq!(scene.look(250), Some(4));
    assert_eq!(scene.messages.last().unwrap(), "New size: 4; reason: memory resource above target");
    let metrics = &scene.object["status"]["currentMetrics"];
    assert_eq!(metrics[0]["resource"]["current"]["averageValue"], "50M");
    assert_eq!(metrics[1]["containerResource"]["current"]["averageUtilization"], 50);
    // A container that does not say what it requests has no share of it.
    spec["metrics"][1]["containerResource"]["container"] = "d".into();
    let mut scene = Scene::new(spec, 2);
    assert_eq!(scene.look(250), Some(4));
    assert_eq!(scene.told[0], "FailedGetContainerResourceMetric");
}

#[test]
fn what_nobody_serves_keeps_a_target_from_shrinking_only() {
    let mut spec = half();
    let target = json!({ "type": "AverageValue", "averageValue": "1" });
    let pods = json!({ "type": "Pods", "pods": { "metric": { "name": "hits" }, "target": target } });
    spec["metrics"].as_array_mut().unwrap().push(pods);
    let mut scene = Scene::new(spec, 2);
    assert_eq!(scene.look(100), None);
    scene.check("ScalingActive", "False", "FailedGetPodsMetric");
    assert_eq!(scene.look(500), Some(4));
    scene.check("ScalingActive", "True", "ValidMetricFound");
}

#[test]
fn targets_out_of_bounds_and_absent_ones() {
    let mut scene = Scene::new(half(), 12);
    assert_eq!(scene.look(250), Some(10));
    assert_eq!(scene.messages, ["New size: 10; reason: Current number of replicas above Spec.MaxReplicas"]);
    let mut scene = Scene::new(half(), 0);
    assert_eq!(scene.look(250), None);
    scene.check("ScalingActive", "False", "ScalingDisabled");
    let scale = Err("deployments.apps \"web\" not found".to_owned());
    scene.measured(Measured { scale, used: Ok(HashMap::new()) });
    scene.check("AbleToScale", "False", "FailedGetScale");
    assert_eq!(scene.told, ["FailedGetScale"]);
    let mut scene = Scene::new(half(), 2);
    scene.selector = "";
    assert_eq!(scene.look(250), None);
    scene.check("ScalingActive", "False", "InvalidSelector");
}

#[test]
fn a_change_that_is_refused_is_told() {
    let mut scene = Scene::new(half(), 2);
    scene.look(250);
    scene.plan();
    let scale = Scale { replicas: 2, selector: "app=web".to_owned() };
    let containers = vec![ContainerUse { name: "c".to_owned(), cpu_milli: 500, memory: 0 }];
    let used = PodUse { at: scene.now, window: Duration::from_secs(15), containers };
    let used = [("p0", used.clone()), ("p1", used)].map(|(name, used)| (name.into(), used)).into();
    scene.reconciler.measured(&key(), Measured { scale: Ok(scale), used: Ok(used) });
    let plan = scene.plan();
    let Some(Action::Rescale(rescale)) = plan.actions.last() else { panic!("{plan:?}") };
    scene.rescale(&rescale.clone(), Err("no"));
    scene.check("AbleToScale", "False", "FailedUpdateScale");
    assert_eq!(scene.object["status"]["desiredReplicas"], 2);
    let reason = "cpu resource utilization (percentage of request) above target";
    assert_eq!(*scene.messages.last().unwrap(), format!("New size: 4; reason: {reason}; error: no"));
}

//! Reports become Kubernetes' status, and repeat reports become nothing.

use dunlin_link::{
    ContainerId, Digest, PodUid, UnixMillis,
    status::{
        ContainerState, ContainerStatus, PodCondition, PodConditionKind, PodPhase, PodStatusReport,
        Terminated,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{containers::image_id, mark_node_found, mark_node_lost, merge, refuse, set_condition};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn report() -> PodStatusReport {
    let condition = |kind, status| PodCondition {
        kind,
        status,
        reason: String::new(),
        message: String::new(),
        last_transition: UnixMillis(5_000),
    };
    PodStatusReport {
        uid: PodUid::new("u"),
        namespace: "ns".into(),
        name: "p".into(),
        sequence: 1,
        observed_generation: 1,
        phase: PodPhase::Running,
        reason: String::new(),
        message: String::new(),
        conditions: vec![
            condition(PodConditionKind::ContainersReady, true),
            condition(PodConditionKind::Ready, true),
            condition(PodConditionKind::Initialized, true),
        ],
        host_ip: "192.0.2.1".into(),
        pod_ip: "10.42.0.2".into(),
        start_time: Some(UnixMillis(1_000)),
        init_containers: vec![],
        containers: vec![running("r1", 5_000)],
        stopped: false,
        local_endpoints: vec![],
    }
}

#[test]
fn what_was_added_to_a_pod_has_statuses_of_its_own() {
    let mut report = report();
    let added = ContainerStatus { name: "e".into(), ready: false, started: false, ..running("r2", 6_000) };
    report.containers.push(added);
    let mut pod = json!({
        "spec": {"containers": [{"name": "c"}], "ephemeralContainers": [{"name": "e"}]}, "status": {},
    });
    assert!(merge(&mut pod, &report, 0));
    let names = |list: &str| -> Vec<String> {
        let statuses = pod["status"][list].as_array().into_iter().flatten();
        statuses.map(|status| status["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("containerStatuses"), ["c"]);
    assert_eq!(names("ephemeralContainerStatuses"), ["e"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["started"], true);
    let status = &pod["status"]["ephemeralContainerStatuses"][0];
    assert_eq!((&status["started"], &status["ready"]), (&Value::Null, &json!(false)));
    assert!(!merge(&mut pod, &report, 0));
}

fn running(id: &str, started_at: i64) -> ContainerStatus {
    ContainerStatus {
        name: "c".into(),
        image: "dunlin.local/hello:v1".into(),
        image_digest: Some(Digest::from_bytes([1; 32])),
        container_id: Some(ContainerId::new(id)),
        ready: true,
        started: true,
        restart_count: 0,
        state: ContainerState::Running { started_at: UnixMillis(started_at) },
        last_state: None,
    }
}

fn ended(id: &str) -> Terminated {
    Terminated {
        container_id: Some(ContainerId::new(id)),
        exit_code: 3,
        reason: "Error".into(),
        message: String::new(),
        started_at: UnixMillis(5_000),
        finished_at: UnixMillis(9_000),
    }
}

fn scheduled() -> Value {
    json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "1970-01-01T00:00:00Z" })
}

fn pod() -> Value {
    json!({ "metadata": {}, "status": { "phase": "Pending", "qosClass": "BestEffort", "conditions": [scheduled()] } })
}

#[test]
fn a_running_pod_looks_as_kubelet_would_write_it() {
    let mut pod = pod();
    assert!(merge(&mut pod, &report(), 10_000));
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "lastProbeTime": null, "observedGeneration": 1,
            "lastTransitionTime": "1970-01-01T00:00:15Z",
        })
    };
    let digest = Digest::from_bytes([1; 32]);
    assert_eq!(
        pod["status"],
        json!({
            "observedGeneration": 1,
            "phase": "Running",
            "qosClass": "BestEffort",
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"), scheduled()],
            "hostIP": "192.0.2.1", "hostIPs": [{ "ip": "192.0.2.1" }],
            "podIP": "10.42.0.2", "podIPs": [{ "ip": "10.42.0.2" }],
            "startTime": "1970-01-01T00:00:11Z",
            "containerStatuses": [{
                "name": "c", "state": { "running": { "startedAt": "1970-01-01T00:00:15Z" } }, "lastState": {},
                "ready": true, "started": true, "restartCount": 0, "image": "dunlin.local/hello:v1",
                "imageID": format!("dunlin.local/hello@{digest}"), "containerID": "dunlin://r1",
            }],
        })
    );
    assert!(!merge(&mut pod, &report(), 10_000), "the same again is nothing new");
    assert!(
        !merge(&mut pod, &report(), 11_500),
        "nor is the same with the clock measured a little differently"
    );
}

#[test]
fn a_restart_keeps_the_end_of_the_run_before() {
    let mut pod = pod();
    merge(&mut pod, &report(), 0);
    let mut again = report();
    again.containers[0] =
        ContainerStatus { restart_count: 1, last_state: Some(ended("r1")), ..running("r2", 6_000) };
    assert!(merge(&mut pod, &again, 0));
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["state"]["running"]["startedAt"], "1970-01-01T00:00:06Z", "another run, another start");
    assert_eq!(
        status["lastState"],
        json!({ "terminated": {
            "exitCode": 3, "reason": "Error", "containerID": "dunlin://r1",
            "startedAt": "1970-01-01T00:00:05Z", "finishedAt": "1970-01-01T00:00:09Z",
        } })
    );
    again.containers[0].state =
        ContainerState::Waiting { reason: "CrashLoopBackOff".into(), message: "m".into() };
    again.phase = PodPhase::Failed;
    assert!(merge(&mut pod, &again, 0));
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "m" } });
    assert_eq!(pod["status"]["containerStatuses"][0]["state"], waiting);
    assert!(!merge(&mut pod, &report(), 0), "what has ended stays ended");
    assert!(!refuse(&mut pod, "OutOfpods", "m", NOW));
}

#[test]
fn an_end_without_times_has_none() {
    let mut pod = pod();
    let mut lost = report();
    let none = Terminated { started_at: UnixMillis(0), finished_at: UnixMillis(0), ..ended("r1") };
    lost.containers[0].state = ContainerState::Terminated(none);
    assert!(merge(&mut pod, &lost, 10_000));
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["startedAt"], &terminated["finishedAt"]), (&Value::Null, &Value::Null));
    assert!(!merge(&mut pod, &lost, 10_000));
}

#[test]
fn a_refused_pod_has_failed() {
    let mut pod = pod();
    assert!(refuse(&mut pod, "OutOfpods", "too many", NOW));
    let status = &pod["status"];
    assert_eq!(
        (&status["phase"], &status["reason"], &status["message"]),
        (&json!("Failed"), &json!("OutOfpods"), &json!("too many"))
    );
    assert_eq!(status["conditions"], json!([scheduled()]));
}

#[test]
fn a_lost_node_takes_readiness_and_gives_it_back() {
    let mut pod = pod();
    assert!(!mark_node_lost(&mut pod, NOW), "it was not ready");
    merge(&mut pod, &report(), 0);
    let ready = |pod: &Value| pod["status"]["conditions"][1]["status"].clone();
    assert!(mark_node_lost(&mut pod, NOW) && ready(&pod) == "False");
    assert!(!mark_node_lost(&mut pod, NOW));
    assert!(mark_node_found(&mut pod, NOW) && ready(&pod) == "True");
    assert!(!mark_node_found(&mut pod, NOW));
}

#[test]
fn a_condition_is_replaced_in_its_place() {
    let mut pod = pod();
    let later: Timestamp = "2026-01-01T00:00:00.9Z".parse().unwrap();
    assert!(set_condition(&mut pod, "PodScheduled", ("False", "Unschedulable", "0/0"), later));
    assert!(set_condition(&mut pod, "PodScheduled", ("False", "Unschedulable", "0/1"), NOW));
    assert!(!set_condition(&mut pod, "PodScheduled", ("False", "Unschedulable", "0/1"), later));
    let expected = json!([{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1",
        "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    assert_eq!(pod["status"]["conditions"], expected);
}

#[test]
fn an_image_id_has_no_tag() {
    let digest = Digest::from_bytes([0; 32]);
    let check = |reference: &str, name: &str| {
        assert_eq!(image_id(reference, digest), format!("{name}@{digest}"));
    };
    check("hello", "hello");
    check("file:///opt/a:1@b.wasm", "file:///opt/a:1@b.wasm");
    check(&format!("https://a.b:8443/c@1.wasm@{digest}"), "https://a.b:8443/c@1.wasm");
    check("dunlin.local:5000/hello", "dunlin.local:5000/hello");
    check("dunlin.local:5000/hello:v1", "dunlin.local:5000/hello");
    check(&format!("hello@{digest}"), "hello");
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

#[test]
fn a_pod_with_gates_is_ready_only_when_its_node_and_its_gates_say_so() {
    let mut pod = pod();
    pod["spec"] = json!({ "readinessGates": [{ "conditionType": "x.example/y" }] });
    assert!(merge(&mut pod, &report(), 0));
    assert_eq!(condition(&pod, "ContainersReady")["status"], "True");
    assert_eq!(condition(&pod, "Ready")["status"], "False");
    assert_eq!(condition(&pod, "Ready")["reason"], "ReadinessGatesNotReady");
    assert!(!merge(&mut pod, &report(), 0), "a repeated report changes nothing");
    assert!(set_condition(&mut pod, "x.example/y", ("True", "", ""), NOW));
    assert!(merge(&mut pod, &report(), 0));
    assert_eq!(condition(&pod, "Ready")["status"], "True");
    // Whoever comes back from silence finds the gates as they are.
    assert!(mark_node_lost(&mut pod, NOW));
    assert!(set_condition(&mut pod, "x.example/y", ("False", "", ""), NOW));
    assert!(mark_node_found(&mut pod, NOW));
    assert_eq!(condition(&pod, "Ready")["reason"], "ReadinessGatesNotReady");
}

#[test]
fn a_pod_that_its_node_ended_says_that_it_was_disrupted() {
    let mut pod = pod();
    let evicted = PodStatusReport {
        phase: PodPhase::Failed,
        reason: "Evicted".into(),
        message: "The node was low on resource: memory. ".into(),
        ..report()
    };
    assert!(merge(&mut pod, &evicted, 0));
    let target = condition(&pod, "DisruptionTarget");
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("TerminationByKubelet")));
    assert!(!merge(&mut pod, &evicted, 0), "a repeated report changes nothing");
    let deadline = PodStatusReport { reason: "DeadlineExceeded".into(), ..evicted };
    let mut other = self::pod();
    assert!(merge(&mut other, &deadline, 0));
    assert!(condition(&other, "DisruptionTarget").is_null());
}

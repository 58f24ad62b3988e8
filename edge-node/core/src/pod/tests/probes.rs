//! Probes: when they are asked, what follows from them, and what a new agent makes of runs that an earlier one watched.

use dunlin_link::{
    care::{Action, ContainerCare, ContainerProbe, HttpGet, PodCare, PortName, Scheme},
    pod::{Container, ContainerPort, PodAssignment, Protocol, RestartPolicy},
    status::PodConditionKind,
};

use super::bench::Bench;
use crate::{
    check::{Outcome, Place},
    pod::fixture::{container, pod},
    sandbox::ExitCause,
};

fn tcp() -> ContainerProbe {
    ContainerProbe {
        action: Action::TcpSocket { host: String::new(), port: PortName::Number(8080) },
        initial_delay_seconds: 0,
        period_seconds: 10,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_seconds: None,
    }
}

fn cared(containers: Vec<Container>, care: Vec<ContainerCare>) -> PodAssignment {
    PodAssignment { care: PodCare { containers: care, ..PodCare::default() }, ..pod(containers) }
}

fn failure() -> Outcome {
    Outcome::Failure("no".to_owned())
}

#[test]
fn a_pod_is_ready_only_while_its_readiness_probe_says_so() {
    let readiness =
        ContainerProbe { initial_delay_seconds: 5, success_threshold: 2, failure_threshold: 2, ..tcp() };
    let care = ContainerCare { readiness: Some(Box::new(readiness)), ..ContainerCare::default() };
    let mut bench = Bench::new(cared(vec![container("c")], vec![care]));
    bench.running("c");
    assert_eq!(bench.status(), "Running c-Running/0");
    assert!(bench.report.as_ref().unwrap().containers[0].started);
    bench.events();
    bench.pass(4_999);
    assert!(bench.acts().is_empty());
    bench.pass(1);
    assert_eq!(bench.acts(), ["check c tcp 10.42.0.1:8080 1000"]);
    // Nothing else is asked while an answer is waited for.
    bench.pass(60_000);
    assert!(bench.acts().is_empty());
    bench.answer(Outcome::Success);
    assert_eq!(bench.status(), "Running c-Running/0");
    bench.pass(0);
    bench.answer(Outcome::Success);
    assert_eq!(bench.status(), "Running c+Running/0");
    bench.pass_answering(10, &failure());
    assert_eq!(bench.status(), "Running c+Running/0");
    assert_eq!(bench.events(), ["Warning Unhealthy: Readiness probe failed: no"]);
    bench.pass_answering(10, &failure());
    assert_eq!(bench.status(), "Running c-Running/0");
    assert_eq!(bench.condition(PodConditionKind::Ready), (false, "ContainersNotReady".to_owned()));
    assert!(!bench.condition(PodConditionKind::ContainersReady).0);
    bench.pass_answering(20, &Outcome::Success);
    assert_eq!(bench.status(), "Running c+Running/0");
}

#[test]
fn a_failed_liveness_probe_ends_the_run_by_the_restart_policy() {
    let check = |policy, follows: &str, after: &str| {
        let liveness = ContainerProbe { termination_grace_seconds: Some(7), ..tcp() };
        let care = ContainerCare { liveness: Some(Box::new(liveness)), ..ContainerCare::default() };
        let mut assignment = cared(vec![container("c")], vec![care]);
        assignment.spec.restart_policy = policy;
        let mut bench = Bench::new(assignment);
        bench.running("c");
        bench.pass(0);
        bench.answer(Outcome::Success);
        bench.pass_answering(20, &failure());
        bench.log.clear();
        bench.pass_answering(10, &failure());
        let log = std::mem::take(&mut bench.log);
        let killing = format!("Normal Killing: Container c failed liveness probe{follows}");
        let expected = [
            "check c tcp 10.42.0.1:8080 1000",
            "Warning Unhealthy: Liveness probe failed: no",
            &killing,
            "stop c 7000",
        ];
        assert_eq!(log, expected);
        // Nothing more is asked of it.
        bench.pass(60_000);
        assert!(bench.acts().is_empty());
        bench.exited("c", ExitCause::Code(0));
        bench.pass(0);
        assert_eq!(bench.status(), after, "{policy:?}");
    };
    check(RestartPolicy::Always, ", will be restarted", "Running c-ContainerCreating/1");
    // An end that the node brought about is a failure, whatever the guest says.
    check(RestartPolicy::OnFailure, ", will be restarted", "Running c-ContainerCreating/1");
    check(RestartPolicy::Never, "", "Succeeded c-Completed(0)/0");
}

#[test]
fn a_startup_probe_holds_back_the_others_and_what_comes_after_a_sidecar() {
    let care = || ContainerCare {
        startup: Some(Box::new(ContainerProbe { failure_threshold: 2, period_seconds: 1, ..tcp() })),
        liveness: Some(Box::new(tcp())),
        ..ContainerCare::default()
    };
    let mut assignment = cared(vec![container("main")], vec![care(), ContainerCare::default()]);
    assignment.spec.init_containers = vec![Container { sidecar: true, ..container("side") }];
    let mut bench = Bench::new(assignment);
    bench.running("side");
    bench.pass(0);
    assert_eq!(bench.acts(), ["start side", "check side tcp 10.42.0.1:8080 1000"]);
    bench.answer(failure());
    assert_eq!(bench.status(), "Pending side-Running/0 main-PodInitializing/0");
    bench.pass(1_000);
    bench.answer(Outcome::Success);
    assert_eq!(
        bench.acts(),
        ["check side tcp 10.42.0.1:8080 1000", "check side tcp 10.42.0.1:8080 1000", "start main"]
    );
    bench.running("main");
    assert_eq!(bench.status(), "Running side+Running/0 main+Running/0");
    bench.pass_answering(30, &failure());
    assert!(
        bench
            .events()
            .contains(&"Normal Killing: Container side failed liveness probe, will be restarted".to_owned())
    );
    bench.exited("side", ExitCause::Killed);
    bench.pass(0);
    bench.running("side");
    bench.pass_answering(3, &failure());
    assert!(
        bench
            .events()
            .contains(&"Normal Killing: Container side failed startup probe, will be restarted".to_owned())
    );
    assert_eq!(bench.status(), "Running side-Running/1 main+Running/0");
}

#[test]
fn what_cannot_be_asked_says_nothing_about_the_container() {
    let action = Action::HttpGet(HttpGet {
        scheme: Scheme::Http,
        host: String::new(),
        port: PortName::Name("web".to_owned()),
        path: "ok".to_owned(),
        headers: Vec::new(),
    });
    let liveness = ContainerProbe { action, failure_threshold: 1, ..tcp() };
    let care = ContainerCare { liveness: Some(Box::new(liveness)), ..ContainerCare::default() };
    let port = ContainerPort {
        name: "web".to_owned(),
        container_port: 80,
        host_port: None,
        protocol: Protocol::Tcp,
    };
    let named = Container { ports: vec![port], ..container("c") };
    let mut bench = Bench::new(cared(vec![named], vec![care.clone()]));
    bench.running("c");
    let (_, _, check) = bench.checks.front().cloned().unwrap();
    let crate::check::What::Http(http) = check.what else { panic!("{check:?}") };
    assert_eq!((http.path.as_str(), http.target.shown.as_str()), ("/ok", "10.42.0.1:80"));
    assert_eq!(http.target.place, Place::Address("127.42.0.1:10080".parse().unwrap()));
    bench.answer(Outcome::Error("dns".to_owned()));
    let text = "Warning Unhealthy: Liveness probe errored and resulted in unknown state: dns";
    assert!(bench.events().contains(&text.to_owned()));
    bench.pass_answering(10, &Outcome::Warning("moved".to_owned()));
    assert_eq!(bench.events(), ["Warning ProbeWarning: Liveness probe warning: moved"]);
    assert_eq!(bench.status(), "Running c+Running/0");

    let mut bench = Bench::new(cared(vec![container("c")], vec![care]));
    bench.running("c");
    let text = "Warning Unhealthy: Liveness probe errored and resulted in unknown state: port web not found";
    assert!(bench.events().contains(&text.to_owned()));
    bench.pass(100_000);
    assert_eq!(bench.status(), "Running c+Running/0");
}

#[test]
fn a_new_agent_reports_nothing_else_before_it_has_asked() {
    let care = ContainerCare { readiness: Some(Box::new(tcp())), ..ContainerCare::default() };
    let assignment = cared(vec![container("c")], vec![care]);
    let mut before = Bench::new(assignment.clone());
    before.running("c");
    before.pass(0);
    before.answer(Outcome::Success);
    before.pass(1_000);
    let (id, attempt) = before.ids["c"].clone();
    let running =
        crate::sandbox::State::Running { started_at: before.report.as_ref().unwrap().start_time.unwrap() };
    let restarted = |answer: Option<Outcome>, expected: &str| {
        let mut after = Bench::unsynced(assignment.clone(), before.memory.clone(), before.now_ms + 5_000);
        after.tell_as("c", id.clone(), attempt, running.clone());
        after.pod.handle_synced(after.now());
        after.turn();
        assert!(after.report.is_none());
        match answer {
            Some(outcome) => after.answer(outcome),
            None => after.pass(20_000),
        }
        assert_eq!(after.status(), expected);
    };
    restarted(Some(Outcome::Success), "Running c+Running/0");
    restarted(Some(failure()), "Running c-Running/0");
    restarted(None, "Running c-Running/0");
}

//! Hooks after the start and before the stop.

use dunlin_link::{
    care::{Action, ContainerCare, HttpGet, PodCare, PortName, RestartRule, Scheme},
    pod::{Container, PodAssignment, RestartPolicy},
};

use super::bench::Bench;
use crate::{
    check::Outcome,
    pod::fixture::{container, pod},
    sandbox::ExitCause,
};

fn get() -> Action {
    Action::HttpGet(HttpGet {
        scheme: Scheme::Http,
        host: "example.org".to_owned(),
        port: PortName::Number(80),
        path: "/".to_owned(),
        headers: Vec::new(),
    })
}

fn cared(containers: Vec<Container>, care: Vec<ContainerCare>) -> PodAssignment {
    PodAssignment { care: PodCare { containers: care, ..PodCare::default() }, ..pod(containers) }
}

fn before_stop(action: Action) -> ContainerCare {
    ContainerCare { pre_stop: Some(Box::new(action)), ..ContainerCare::default() }
}

fn after_start(action: Action) -> ContainerCare {
    ContainerCare { post_start: Some(Box::new(action)), ..ContainerCare::default() }
}

#[test]
fn a_hook_before_the_stop_has_the_grace_and_the_stop_the_rest() {
    let mut bench = Bench::new(cared(vec![container("c")], vec![before_stop(get())]));
    bench.running("c");
    bench.acts();
    bench.delete(30);
    assert_eq!(bench.acts(), ["check c Http example.org:80/ Anything 30000"]);
    bench.pass(12_000);
    bench.answer(Outcome::Failure("500".to_owned()));
    let log = std::mem::take(&mut bench.log);
    assert_eq!(log, ["Warning FailedPreStopHook: PreStopHook failed", "stop c 18000"]);
    // A later order shortens it all the same.
    bench.delete(5);
    assert_eq!(bench.acts(), ["stop c 5000"]);

    let mut bench = Bench::new(cared(vec![container("c")], vec![before_stop(Action::Sleep { seconds: 40 })]));
    bench.running("c");
    bench.acts();
    bench.delete(30);
    bench.pass(29_999);
    assert!(bench.acts().is_empty());
    bench.pass(1);
    assert_eq!(bench.acts(), ["stop c 2000"], "a short while is left in any case");
}

#[test]
fn a_forced_deletion_waits_for_no_hook() {
    let mut bench = Bench::new(cared(vec![container("c")], vec![before_stop(Action::Sleep { seconds: 9 })]));
    bench.running("c");
    bench.acts();
    bench.delete(30);
    bench.delete(0);
    assert_eq!(bench.acts(), ["stop c 0"]);

    let mut bench = Bench::new(cared(vec![container("c")], vec![before_stop(Action::Sleep { seconds: 9 })]));
    bench.running("c");
    bench.acts();
    bench.delete(0);
    assert_eq!(bench.acts(), ["stop c 0"]);
}

#[test]
fn an_end_of_its_own_has_no_hook() {
    let mut bench = Bench::new(cared(vec![container("c")], vec![before_stop(get())]));
    bench.running("c");
    bench.acts();
    bench.exited("c", ExitCause::Code(1));
    assert!(!bench.acts().iter().any(|act| act.starts_with("check")));
}

#[test]
fn containers_wait_for_the_hook_of_the_one_before() {
    let care = vec![after_start(get()), after_start(Action::Sleep { seconds: 3 })];
    let mut bench = Bench::new(cared(vec![container("a"), container("b")], care));
    // Its start alone holds up nobody.
    assert_eq!(bench.acts(), ["start a", "start b"]);
    bench.running("a");
    bench.running("b");
    assert_eq!(bench.acts(), ["check a Http example.org:80/ Anything 30000"]);
    assert_eq!(bench.status(), "Running a-Running/0 b-Running/0");
    bench.answer(Outcome::Success);
    assert_eq!(bench.status(), "Running a+Running/0 b-Running/0");
    bench.pass(3_000);
    assert_eq!(bench.status(), "Running a+Running/0 b+Running/0");
}

#[test]
fn a_failed_hook_after_the_start_ends_the_run() {
    let mut bench = Bench::new(cared(vec![container("c")], vec![after_start(get())]));
    bench.running("c");
    bench.log.clear();
    bench.answer(Outcome::Failure("secret".to_owned()));
    let expected = [
        "Warning FailedPostStartHook: PostStartHook failed",
        "Normal Killing: FailedPostStartHook",
        "stop c 30000",
    ];
    assert_eq!(std::mem::take(&mut bench.log), expected);
    assert_eq!(bench.status(), "Running c-Running/0", "neither started nor ready");
    bench.exited("c", ExitCause::Killed);
    bench.pass(0);
    assert!(bench.acts().contains(&"start c".to_owned()));
}

#[test]
fn rules_and_policies_of_a_container_come_before_the_pods() {
    let check = |own: Option<RestartPolicy>, rules: &[(bool, i32)], code: i32, restarts: bool| {
        let restart_rules =
            rules.iter().map(|(negated, code)| RestartRule { negated: *negated, exit_codes: vec![*code] });
        let care = ContainerCare {
            restart_policy: own,
            restart_rules: restart_rules.collect(),
            ..ContainerCare::default()
        };
        let mut assignment = cared(vec![container("c")], vec![care]);
        assignment.spec.restart_policy = RestartPolicy::Never;
        let mut bench = Bench::new(assignment);
        bench.running("c");
        bench.acts();
        bench.exited("c", ExitCause::Code(code));
        bench.pass(0);
        assert_eq!(bench.acts().contains(&"start c".to_owned()), restarts, "{own:?} {rules:?} {code}");
    };
    check(None, &[], 1, false);
    check(Some(RestartPolicy::OnFailure), &[], 1, true);
    check(Some(RestartPolicy::OnFailure), &[], 0, false);
    check(Some(RestartPolicy::Always), &[], 0, true);
    check(Some(RestartPolicy::Never), &[(false, 42)], 42, true);
    check(Some(RestartPolicy::Never), &[(false, 42)], 1, false);
    check(Some(RestartPolicy::Never), &[(true, 42)], 1, true);
    check(Some(RestartPolicy::Never), &[(true, 42)], 42, false);
}

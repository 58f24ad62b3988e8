//! Pods that the node ends before their time.

use dunlin_link::{ContainerId, pod::RestartPolicy};

use super::bench::Bench;
use crate::{
    memory::Failure,
    pod::fixture::{container, pod},
    sandbox::ExitCause,
};

fn evicted() -> Failure {
    Failure { reason: "Evicted".to_owned(), message: "The node was low on resource: memory. ".to_owned() }
}

#[test]
fn an_evicted_pod_has_failed_for_good() {
    let mut assignment = pod(vec![container("a"), container("b")]);
    assignment.spec.restart_policy = RestartPolicy::OnFailure;
    let mut bench = Bench::new(assignment.clone());
    bench.running("a");
    bench.running("b");
    bench.exited("b", ExitCause::Code(0));
    bench.acts();
    bench.pod.handle_failure(evicted(), 0, bench.now());
    bench.turn();
    assert_eq!(bench.acts().first().map(String::as_str), Some("stop a 0"));
    bench.exited("a", ExitCause::Code(0));
    assert_eq!(bench.status(), "Failed a-Completed(0)/0 b-Completed(0)/0");
    let report = bench.report.clone().unwrap();
    assert_eq!((report.reason, report.message), (evicted().reason, evicted().message));

    // Also after a restart of the agent.
    let mut after = Bench::unsynced(assignment, bench.memory.clone(), bench.now_ms + 1);
    after.pod.handle_synced(after.now());
    after.turn();
    assert!(after.acts().is_empty());
    let report = after.report.clone().unwrap();
    assert_eq!((report.reason.as_str(), after.pod.is_over()), ("Evicted", true));
}

#[test]
fn an_agent_that_starts_in_between_goes_on_with_it() {
    let assignment = pod(vec![container("a")]);
    let mut bench = Bench::new(assignment.clone());
    bench.running("a");
    bench.pod.handle_failure(evicted(), 5_000, bench.now());
    bench.turn();
    let mut after = Bench::unsynced(assignment, bench.memory.clone(), bench.now_ms + 1);
    after.pod.handle_sandbox_lost(after.now());
    after.turn();
    assert!(!after.acts().contains(&"start a".to_owned()));
    assert!(after.pod.is_over());
    assert_eq!(after.report.unwrap().reason, "Evicted");
}

#[test]
fn what_a_guest_was_refused_is_told_also_of_a_run_that_ended() {
    let mut bench = Bench::new(pod(vec![container("web")]));
    bench.running("web");
    bench.events();
    let id = bench.ids["web"].0.clone();
    let tell = |bench: &mut Bench, id: &ContainerId| {
        let what = "bind to TCP port 9001: not declared in ports".to_owned();
        bench.pod.handle_denied(id, "web", what, bench.now());
        bench.turn();
        bench.events()
    };
    let expected = ["Warning Denied: container web: bind to TCP port 9001: not declared in ports"];
    assert_eq!(tell(&mut bench, &id), expected);
    assert!(tell(&mut bench, &ContainerId::new("older")).is_empty());
    bench.exited("web", ExitCause::Code(1));
    bench.events();
    assert_eq!(tell(&mut bench, &id), expected);
}

#[test]
fn failed_requests_are_told_of_the_run_that_they_were_for() {
    let mut bench = Bench::new(pod(vec![container("web")]));
    bench.running("web");
    bench.events();
    let id = bench.ids["web"].0.clone();
    let tell = |bench: &mut Bench, id: &ContainerId, count| {
        bench.pod.handle_requests_failed(id, "web", (count, "wasm trap"), bench.now());
        bench.turn();
        bench.events()
    };
    let expected = ["Warning RequestFailed: 1 request to container web failed; the last: wasm trap"];
    assert_eq!(tell(&mut bench, &id, 1), expected);
    assert!(tell(&mut bench, &id, 3)[0].contains("3 requests"));
    assert!(tell(&mut bench, &ContainerId::new("older"), 9).is_empty());
    assert_eq!(bench.status(), "Running web+Running/0");
}

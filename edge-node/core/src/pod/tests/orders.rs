//! Restarts that a person orders on the node.

use dunlin_link::pod::RestartPolicy;

use super::bench::Bench;
use crate::{
    pod::{
        RestartError,
        fixture::{container, pod},
    },
    sandbox::ExitCause,
};

fn restart(bench: &mut Bench, container: Option<&str>) -> Result<Vec<String>, RestartError> {
    let now = bench.now();
    let answer = bench.pod.handle_restart(container, now);
    bench.turn();
    answer
}

#[test]
fn a_running_container_gets_its_grace_and_another_run_whatever_the_policy() {
    let mut assignment = pod(vec![container("a"), container("b")]);
    assignment.spec.restart_policy = RestartPolicy::Never;
    let mut bench = Bench::new(assignment);
    bench.running("a");
    bench.running("b");
    bench.acts();
    assert_eq!(restart(&mut bench, Some("a")).unwrap(), ["a"]);
    assert!(
        bench
            .events()
            .contains(&"Normal Killing: Container a is restarted by an order on the node".to_owned())
    );
    bench.exited("a", ExitCause::Stopped);
    assert!(bench.acts().contains(&"start a".to_owned()));
    bench.running("a");
    assert_eq!(bench.status(), "Running a+Running/1 b+Running/0");
}

#[test]
fn a_crash_loop_is_tried_at_once_and_counted() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.exited("c", ExitCause::Trap);
    bench.exited("c", ExitCause::Trap);
    bench.pass(1_000);
    assert_eq!(bench.status(), "Running c-CrashLoopBackOff/1");
    bench.acts();
    assert_eq!(restart(&mut bench, None).unwrap(), ["c"]);
    assert!(bench.acts().contains(&"start c".to_owned()));
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/2");
}

#[test]
fn what_cannot_be_restarted_is_left_alone() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.running("c");
    bench.acts();
    let error = restart(&mut bench, Some("x")).unwrap_err();
    assert_eq!(error.to_string(), "container x is not valid for pod p; it has c");
    bench.pod.handle_sandbox_unsure();
    assert!(matches!(restart(&mut bench, None), Err(RestartError::Unknown(_))));
    bench.pod.handle_sandbox_lost(bench.now());
    bench.turn();
    bench.delete(30);
    assert!(matches!(restart(&mut bench, None), Err(RestartError::Over(_))));
}

//! From assignment to end: order, phases, conditions, deletion.

use std::sync::Arc;

use dunlin_link::{
    pod::{Container, PodAssignment, PullPolicy, RestartPolicy},
    status::PodConditionKind,
};

use super::bench::Bench;
use crate::{
    pod::{
        Pulled, Recording,
        fixture::{container, pod},
    },
    sandbox::{Exit, ExitCause, State},
};

fn with_policy(policy: RestartPolicy, containers: Vec<Container>) -> PodAssignment {
    let mut assignment = pod(containers);
    assignment.spec.restart_policy = policy;
    assignment
}

fn sidecar(name: &str) -> Container {
    Container { sidecar: true, ..container(name) }
}

#[test]
fn a_pod_is_pending_then_running_with_the_kubelets_events() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    assert_eq!(bench.status(), "Pending c-ContainerCreating/0");
    assert_eq!(
        bench.false_conditions(),
        [
            "Ready ContainersNotReady: containers with unready status: [c]",
            "ContainersReady ContainersNotReady: containers with unready status: [c]"
        ]
    );
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/0");
    assert!(bench.false_conditions().is_empty());
    assert_eq!(
        bench.events(),
        [
            "Normal Pulled: Container image \"dunlin.local/c:v1\" already present on machine and can be accessed by the pod",
            "Normal Created: Container created",
            "Normal Started: Container started",
        ]
    );
    let report = bench.report.unwrap();
    assert_eq!((report.pod_ip.as_str(), report.sequence), ("10.42.0.1", 2));
}

#[test]
fn restart_policies_decide_how_an_end_counts() {
    let check = |policy, cause, expected: &str| {
        let mut bench = Bench::new(with_policy(policy, vec![container("c")]));
        bench.running("c");
        bench.exited("c", cause);
        assert_eq!(bench.status(), expected, "{policy:?} {cause:?}");
    };
    use RestartPolicy::{Always, Never, OnFailure};
    check(Never, ExitCause::Code(0), "Succeeded c-Completed(0)/0");
    check(OnFailure, ExitCause::Code(0), "Succeeded c-Completed(0)/0");
    check(Never, ExitCause::Code(7), "Failed c-Error(7)/0");
    check(Never, ExitCause::Trap, "Failed c-Error(134)/0");
    check(Never, ExitCause::OutOfMemory, "Failed c-OOMKilled(137)/0");
    check(Never, ExitCause::Killed, "Failed c-Error(137)/0");
    check(Never, ExitCause::CannotRun, "Failed c-ContainerCannotRun(128)/0");
    check(Never, ExitCause::HostError, "Failed c-StartError(128)/0");
    // The first restart is immediate: the next run exists already.
    check(Always, ExitCause::Code(0), "Running c-ContainerCreating/1");
    check(OnFailure, ExitCause::OutOfMemory, "Running c-ContainerCreating/1");
}

#[test]
fn a_completed_pod_says_so_and_is_remembered_as_over() {
    let mut bench = Bench::new(with_policy(RestartPolicy::Never, vec![container("c")]));
    bench.running("c");
    bench.exited("c", ExitCause::Code(0));
    assert_eq!(bench.condition(PodConditionKind::Ready), (false, "PodCompleted".to_owned()));
    assert_eq!(bench.condition(PodConditionKind::Initialized), (true, "PodCompleted".to_owned()));
    assert!(!bench.condition(PodConditionKind::PodReadyToStartContainers).0);
    assert_eq!(bench.acts(), ["start c", "remove c"]);

    let mut later = Bench::unsynced(bench.pod.assignment().as_ref().clone(), bench.memory, 5_000);
    later.pod.handle_synced(later.now());
    later.turn();
    assert_eq!(later.status(), "Succeeded c-Completed(0)/0");
    assert!(later.acts().is_empty());
}

#[test]
fn an_end_is_told_only_once_it_is_durable() {
    let mut bench = Bench::new(with_policy(RestartPolicy::Never, vec![container("c")]));
    bench.running("c");
    let (id, attempt) = bench.ids["c"].clone();
    let now = bench.now();
    let exit = Exit {
        cause: ExitCause::Code(0),
        message: String::new(),
        started_at: Some(now.wall),
        finished_at: now.wall,
    };
    bench.tell_as("c", id, attempt, State::Exited(exit));
    for _ in 0..2 {
        assert_eq!(bench.pod.recording(now), Recording::First);
        bench.pod.take_memory(now);
        assert_eq!(bench.pod.recording(now), Recording::Clean);
        assert!(bench.pod.poll_report(now).is_none() && bench.pod.poll_command().is_none());
        // The disk was full.
        bench.pod.handle_not_remembered();
    }
    bench.turn();
    assert_eq!(bench.status(), "Succeeded c-Completed(0)/0");
    assert_eq!(bench.acts(), ["start c", "remove c"]);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let mut assignment = pod(vec![container("c")]);
    assignment.spec.init_containers = vec![container("i1"), container("i2")];
    let mut bench = Bench::new(assignment);
    bench.running("i1");
    assert_eq!(bench.status(), "Pending i1-Running/0 i2-PodInitializing/0 c-PodInitializing/0");
    assert_eq!(
        bench.false_conditions()[0],
        "Initialized ContainersNotInitialized: containers with incomplete status: [i1 i2]"
    );
    bench.exited("i1", ExitCause::Code(0));
    bench.running("i2");
    assert_eq!(bench.status(), "Pending i1+Completed(0)/0 i2-Running/0 c-PodInitializing/0");
    bench.exited("i2", ExitCause::Code(0));
    bench.running("c");
    assert_eq!(bench.status(), "Running i1+Completed(0)/0 i2+Completed(0)/0 c+Running/0");
    let starts: Vec<_> = bench.acts().into_iter().filter(|act| act.starts_with("start")).collect();
    assert_eq!(starts, ["start i1", "start i2", "start c"]);
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let mut assignment = with_policy(RestartPolicy::Never, vec![container("c")]);
    assignment.spec.init_containers = vec![container("i")];
    let mut bench = Bench::new(assignment);
    bench.running("i");
    bench.exited("i", ExitCause::Code(3));
    assert_eq!(bench.status(), "Failed i-Error(3)/0 c-PodInitializing/0");
    assert!(bench.false_conditions()[1].starts_with("Initialized ContainersNotInitialized"));
    bench.pass(1_000_000);
    assert_eq!(bench.acts(), ["start i", "remove i"]);
}

#[test]
fn sidecars_start_before_and_stop_after_the_containers() {
    let mut assignment = with_policy(RestartPolicy::Never, vec![container("c")]);
    assignment.spec.init_containers = vec![sidecar("s1"), container("i"), sidecar("s2")];
    let mut bench = Bench::new(assignment);
    bench.running("s1");
    bench.running("i");
    bench.exited("i", ExitCause::Code(0));
    bench.running("s2");
    bench.running("c");
    assert_eq!(bench.status(), "Running s1+Running/0 i+Completed(0)/0 s2+Running/0 c+Running/0");
    bench.exited("c", ExitCause::Code(0));
    bench.exited("s2", ExitCause::Stopped);
    bench.exited("s1", ExitCause::Code(0));
    assert_eq!(
        bench.status(),
        "Succeeded s1-Completed(0)/0 i+Completed(0)/0 s2-Error(143)/0 c-Completed(0)/0"
    );
    let acts: Vec<_> = bench.acts().into_iter().filter(|act| !act.starts_with("remove")).collect();
    assert_eq!(acts, ["start s1", "start i", "start s2", "start c", "stop s2 30000", "stop s1 30000"]);
}

#[test]
fn deletion_stops_within_the_grace_and_ends_everything() {
    let mut bench = Bench::new(pod(vec![container("a"), container("b")]));
    bench.running("a");
    bench.running("b");
    bench.acts();
    bench.delete(10);
    assert_eq!(bench.status(), "Running a+Running/0 b+Running/0");
    bench.pass(4_000);
    bench.delete(1);
    bench.exited("a", ExitCause::Code(0));
    bench.exited("b", ExitCause::Killed);
    assert_eq!(bench.status(), "Failed a-Completed(0)/0 b-Error(137)/0 stopped");
    let acts = bench.acts();
    assert_eq!(acts[..4], ["stop a 10000", "stop b 10000", "stop a 1000", "stop b 1000"]);
    bench.pass(1_000_000);
    assert!(!bench.acts().iter().any(|act| act.starts_with("start")));
}

#[test]
fn deletion_before_anything_ran_reports_every_container_terminated() {
    let mut assignment = pod(vec![container("c")]);
    assignment.spec.containers[0].image.digest = None;
    assignment.spec.containers[0].image.unresolved = "no such module".to_owned();
    let mut bench = Bench::new(assignment);
    bench.delete(30);
    assert_eq!(bench.status(), "Failed c-ContainerStatusUnknown(137)/0 stopped");
}

#[test]
fn an_active_deadline_fails_the_pod() {
    let mut assignment = pod(vec![container("c")]);
    assignment.spec.active_deadline_seconds = Some(60);
    assignment.spec.termination_grace_seconds = 5;
    let mut bench = Bench::new(assignment);
    bench.running("c");
    bench.pass(59_999);
    assert_eq!(bench.acts(), ["start c"]);
    bench.pass(1);
    assert_eq!(bench.acts(), ["stop c 5000"]);
    bench.exited("c", ExitCause::Stopped);
    assert_eq!(bench.status(), "Failed c-Error(143)/0");
    let report = bench.report.unwrap();
    assert_eq!(report.reason, "DeadlineExceeded");
    assert_eq!(report.message, "Pod was active on the node longer than the specified deadline");
}

#[test]
fn missing_configuration_waits_for_a_changed_assignment() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench = {
        let assignment = bench.pod.assignment().as_ref().clone();
        let mut fresh = Bench::unsynced(assignment, Default::default(), 0);
        fresh.config_errors.insert("c".to_owned(), "configmap \"cm\" not found".to_owned());
        fresh.pod.handle_synced(fresh.now());
        fresh.turn();
        fresh
    };
    assert_eq!(bench.status(), "Pending c-CreateContainerConfigError/0");
    assert!(bench.events().contains(&"Warning Failed: Error: configmap \"cm\" not found".to_owned()));
    bench.config_errors.clear();
    let assignment = Arc::clone(bench.pod.assignment());
    bench.pod.handle_assignment(assignment, bench.now());
    bench.turn();
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/0");
}

#[test]
fn what_the_sandbox_cannot_put_together_has_not_run() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    let exit = |bench: &mut Bench, message: &str| {
        let at = bench.now().wall;
        let exit = Exit {
            cause: ExitCause::NotCreated,
            message: message.to_owned(),
            started_at: None,
            finished_at: at,
        };
        bench.log.clear();
        bench.tell("c", State::Exited(exit));
    };
    exit(&mut bench, "no user");
    assert_eq!(bench.status(), "Pending c-CreateContainerError/0");
    assert_eq!(bench.log, ["remove c", "Warning Failed: Error: no user"]);
    bench.pass(9_999);
    assert_eq!(bench.acts(), ["remove c"]);
    bench.pass(1);
    assert_eq!(bench.acts(), ["start c"]);
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/0");
    assert_eq!(bench.events(), ["Normal Created: Container created", "Normal Started: Container started"]);
    // The next run of one that ran.
    bench.exited("c", ExitCause::Code(1));
    bench.pass(0);
    exit(&mut bench, "no profile");
    assert_eq!(bench.status(), "Running c-CreateContainerError/0", "as when another run is awaited");
    bench.delete(0);
    assert_eq!(bench.status(), "Failed c-Error(1)/0 stopped");
}

#[test]
fn a_changed_image_replaces_the_container() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.running("c");
    let mut assignment = bench.pod.assignment().as_ref().clone();
    assignment.spec.containers[0].image.reference = "dunlin.local/c:v2".to_owned();
    assignment.generation = 2;
    bench.pod.handle_assignment(Arc::new(assignment), bench.now());
    bench.turn();
    bench.exited("c", ExitCause::Stopped);
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/1");
    assert_eq!(bench.report.as_ref().unwrap().observed_generation, 2);
    assert_eq!(bench.acts(), ["start c", "stop c 30000", "start c", "remove old"]);
}

#[test]
fn pulls_back_off_and_say_why() {
    let mut assignment = pod(vec![container("c")]);
    assignment.spec.containers[0].image.digest = None;
    assignment.spec.containers[0].image.unresolved = "dunlin.local/c:v1: not found".to_owned();
    let mut bench = Bench::new(assignment);
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
    bench.pass(1_000);
    assert_eq!(bench.status(), "Pending c-ImagePullBackOff/0");
    assert_eq!(
        bench.events(),
        [
            "Warning Failed: Failed to pull image \"dunlin.local/c:v1\": dunlin.local/c:v1: not found",
            "Warning Failed: Error: ErrImagePull",
            "Normal BackOff: Back-off pulling image \"dunlin.local/c:v1\": ErrImagePull: dunlin.local/c:v1: not found",
            "Warning Failed: Error: ImagePullBackOff",
        ]
    );
    bench.pass(9_000);
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
    bench.pass(19_999);
    assert_eq!(bench.status(), "Pending c-ImagePullBackOff/0");
    bench.pass(1);
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
}

#[test]
fn a_module_that_cannot_be_compiled_is_one_that_cannot_run() {
    for (policy, expected) in [
        (RestartPolicy::Never, "Failed c-ContainerCannotRun(128)/0"),
        (RestartPolicy::Always, "Running c-CrashLoopBackOff/1"),
    ] {
        let mut assignment = pod(vec![container("c")]);
        assignment.spec.restart_policy = policy;
        let mut bench = Bench::unsynced(assignment, Default::default(), 0);
        bench.cannot_run.insert("c".to_owned(), "the module cannot be compiled: broken".to_owned());
        bench.pod.handle_synced(bench.now());
        bench.turn();
        bench.pass(1_000);
        assert_eq!(bench.status(), expected);
        let told = "Warning Failed: Error: the module cannot be compiled: broken".to_owned();
        assert!(bench.events().contains(&told));
        assert!(bench.acts().is_empty());
    }
}

#[test]
fn a_module_without_code_is_asked_for_again() {
    let mut bench = Bench::unsynced(pod(vec![container("c")]), Default::default(), 0);
    bench.no_code.insert("c".to_owned(), "nobody compiles".to_owned());
    bench.pod.handle_synced(bench.now());
    bench.turn();
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
    bench.pass(1_000);
    assert_eq!(bench.status(), "Pending c-ImagePullBackOff/0");
    bench.pass(9_000);
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
    bench.no_code.clear();
    bench.pass(20_000);
    assert_eq!(bench.acts(), ["start c"]);
}

#[test]
fn pulls_that_cannot_help_are_named() {
    let mut never = pod(vec![container("c")]);
    never.spec.containers[0].image.pull_policy = PullPolicy::Never;
    let mut bench = Bench::unsynced(never, Default::default(), 0);
    bench.pulls.insert("c".to_owned(), Pulled::Absent);
    bench.pod.handle_synced(bench.now());
    bench.turn();
    assert_eq!(bench.status(), "Pending c-ErrImageNeverPull/0");

    let mut invalid = pod(vec![container("c")]);
    invalid.spec.containers[0].image.reference = "Not An Image".to_owned();
    assert_eq!(Bench::new(invalid.clone()).status(), "Pending c-InvalidImageName/0");
    invalid.spec.containers[0].image.reference = "https://site.test/a.wasm".to_owned();
    let mut bench = Bench::new(invalid);
    assert_eq!(bench.status(), "Pending c-InvalidImageName/0");
    assert!(bench.events()[0].ends_with("is named with its digest: https://HOST/PATH@sha256:HEX"));
}

#[test]
fn a_module_that_cannot_start_says_why_and_is_tried_again() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    let at = bench.now().wall;
    let exit = |message: &str| {
        State::Exited(Exit {
            cause: ExitCause::CannotRun,
            message: message.to_owned(),
            started_at: None,
            finished_at: at,
        })
    };
    bench.tell("c", exit("not a module"));
    bench.tell("c", exit("not a module"));
    bench.pass(1_000);
    assert_eq!(bench.status(), "Running c-CrashLoopBackOff/1");
    assert!(bench.events().contains(&"Warning Failed: Error: not a module".to_owned()));
}

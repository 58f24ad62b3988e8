//! Pods of Linux images: a sandbox of their own, which is made before the first container and given up after the last.

use std::collections::BTreeMap;

use dunlin_link::{
    ephemeral::EphemeralContainer,
    pod::PodAssignment,
    status::{ContainerState, PodPhase},
};

use super::{
    super::Told,
    harness::{Node, assignment, uid},
};
use crate::{
    address::ForwardPlace,
    pod::fixture,
    sandbox::{Exit, ExitCause, State},
};

impl Node {
    fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked_own)
    }

    fn state_of(&self, pod: &str) -> String {
        let report = self.report(pod).expect("it has reported");
        let states = report.containers.iter().map(|status| match &status.state {
            ContainerState::Waiting { reason, .. } => reason.clone(),
            ContainerState::Running { .. } => format!("Running/{}", status.restart_count),
            ContainerState::Terminated(end) => format!("{}({})", end.reason, end.exit_code),
        });
        states.collect::<Vec<_>>().join(" ")
    }

    fn exit_own(&mut self, pod: &str, cause: ExitCause) {
        let uid = uid(pod);
        let at = self.now.wall;
        let inside = self.own.get_mut(&uid).expect("its sandbox is open");
        let found = inside.iter_mut().find(|(_, (_, state))| matches!(state, State::Running { .. }));
        let (id, (owner, state)) = found.expect("something runs");
        *state = State::Exited(Exit { cause, message: String::new(), started_at: Some(at), finished_at: at });
        let told = Told::Container { id: id.clone(), owner: owner.clone(), state: state.clone() };
        self.tell_own(&uid, told);
    }
}

#[test]
fn a_sandbox_is_made_first_and_goes_last() {
    let mut node = Node::new();
    node.make(|change| change.assign("linux"));
    assert_eq!((node.asked(), node.opening.len()), (vec![], 1));
    assert_eq!(node.state_of("linux"), "ContainerCreating");
    node.open_sandbox();
    assert_eq!(node.asked(), ["start c 0"]);
    node.settle_for(10_000);
    assert_eq!(node.state_of("linux"), "Running/0");
    // Its address is really there.
    assert_eq!(node.core.endpoint(&uid("linux"), 80).unwrap().to_string(), "10.42.0.1:80");
    assert_eq!(node.core.forward_place(&uid("linux"), 80), Ok(ForwardPlace::PodLocalhost));
    node.make(|change| change.bury("linux"));
    assert_eq!(node.asked(), ["stop c 0"]);
    assert_eq!(node.unmounted, ["linux"]);
    node.settle_for(10_000);
    assert_eq!(node.asked(), ["remove c 0", "close u-linux"], "after its end was remembered");
    node.make(|change| change.forget("linux"));
    assert_eq!(node.asked(), Vec::<String>::new());
}

fn with_added(pod: &str, added: &str, target: &str) -> PodAssignment {
    let mut pod = assignment(pod);
    pod.ephemeral.containers.push(EphemeralContainer {
        container: fixture::container(added),
        target: target.to_owned(),
        files: Default::default(),
        linux: Default::default(),
    });
    pod
}

#[test]
fn what_is_added_starts_in_the_sandbox_once_its_target_runs_and_is_taken_over() {
    let mut node = Node::new();
    node.make(|change| change.assign_pod(with_added("linux", "e", "c")));
    node.open_sandbox();
    // It comes first, and there is nothing to see yet.
    assert_eq!(node.asked(), ["start c 0"]);
    assert_eq!(node.state_of("linux"), "Running/0 CreateContainerError");
    node.settle_for(11_000);
    assert_eq!(node.asked(), ["start among others e 0"]);
    assert_eq!(node.state_of("linux"), "Running/0 Running/0");
    node.crash();
    node.settle_for(10_000);
    assert_eq!(node.state_of("linux"), "Running/0 Running/0");
    assert_eq!(node.asked(), Vec::<String>::new(), "the next agent takes over what runs");
}

#[test]
fn a_linux_container_that_is_added_to_modules_says_why_it_waits() {
    let mut node = Node::new();
    node.make(|change| change.assign("wasm"));
    node.settle_for(1_000);
    let mut pod = with_added("wasm", "linux", "");
    pod.generation = 2;
    node.make(|change| change.assign_pod(pod));
    node.settle_for(20_000);
    assert_eq!(node.state_of("wasm"), "Running/0 CreateContainerConfigError");
    assert!(node.opening.is_empty(), "the pod stays where it is");
    let report = node.report("wasm").unwrap();
    let ContainerState::Waiting { message, .. } = &report.containers[1].state else { panic!("it waits") };
    assert!(message.contains("has WASM containers alone"), "{message}");
}

#[test]
fn a_pod_that_is_forgotten_at_once_leaves_no_sandbox() {
    let mut node = Node::new();
    node.make(|change| change.assign("linux"));
    node.open_sandbox();
    node.make(|change| change.bury("linux"));
    node.make(|change| change.forget("linux"));
    node.settle_for(10_000);
    assert!(node.own.is_empty());
}

#[test]
fn an_agent_takes_over_what_runs_and_what_is_gone_starts_anew() {
    let mut node = Node::new();
    node.make(|change| change.assign("linux"));
    node.open_sandbox();
    node.settle_for(10_000);
    node.asked();
    node.crash();
    node.settle_for(10_000);
    assert_eq!((node.asked(), node.state_of("linux").as_str()), (vec![], "Running/0"));
    // Nothing is asked of a sandbox of which it is not known what it has.
    node.tell_own(&uid("linux"), Told::Unsure);
    node.settle_for(10_000);
    assert_eq!(node.asked(), Vec::<String>::new());
    node.own.clear();
    node.tell_own(&uid("linux"), Told::Gone);
    node.settle_for(1_000);
    assert_eq!(node.opening.len(), 1);
    assert_eq!(node.state_of("linux"), "Error(137)");
    node.open_sandbox();
    node.settle_for(1_000);
    assert_eq!((node.asked(), node.state_of("linux").as_str()), (vec!["start c 1".to_owned()], "Running/1"));
}

#[test]
fn the_runner_is_none_of_such_a_pods_affair() {
    let mut node = Node::new();
    node.make(|change| change.assign("linux").assign("other"));
    node.open_sandbox();
    node.settle_for(10_000);
    node.asked();
    node.core.handle_told(Told::Unsure, node.now);
    node.sandbox.clear();
    node.core.handle_told(Told::Gone, node.now);
    node.carry();
    node.settle_for(60_000);
    assert_eq!((node.asked(), node.state_of("linux").as_str()), (vec![], "Running/0"));
    assert_eq!((node.state_of("other").as_str(), node.starts_of("other")), ("Running/1", 2));
}

#[test]
fn a_sandbox_that_cannot_be_made_is_tried_again_and_said() {
    let mut node = Node::new();
    node.make(|change| change.assign("linux"));
    for pause_ms in [500, 1_000, 2_000] {
        node.opening.pop().unwrap();
        node.tell_own(&uid("linux"), Told::NotOpened("no crun".to_owned()));
        node.settle_for(pause_ms - 1);
        assert!(node.opening.is_empty(), "{pause_ms}");
        node.settle_for(1);
        assert_eq!(node.opening.len(), 1, "{pause_ms}");
    }
    assert_eq!(node.state_of("linux"), "ContainerCreating");
    let events = node.events.iter().filter(|event| event.reason == "FailedCreatePodSandBox");
    let messages: Vec<_> = events.map(|event| event.message.as_str()).collect();
    assert_eq!(messages, ["Failed to create pod sandbox: no crun"; 3]);
    node.make(|change| change.bury("linux"));
    node.settle_for(10_000);
    assert_eq!(node.asked(), ["close u-linux"]);
}

#[test]
fn guests_of_such_a_pod_are_in_its_sandbox() {
    let mut node = Node::new();
    let mut pod = assignment("linux");
    pod.spec.containers.push(fixture::container("wasm"));
    node.make(|change| change.assign_pod(pod));
    node.open_sandbox();
    assert_eq!(node.asked(), ["start c 0", "guest wasm 0"]);
    assert!(node.running().is_empty(), "nothing is in the node's runner");
}

#[test]
fn an_end_is_remembered_before_its_sandbox_goes() {
    let mut node = Node::new();
    node.make(|change| change.assign_once("linux"));
    node.open_sandbox();
    node.exit_own("linux", ExitCause::Code(0));
    node.crash();
    node.settle_for(10_000);
    assert_eq!(node.report("linux").unwrap().phase, PodPhase::Succeeded);
    assert_eq!(node.asked(), ["start c 0", "remove c 0", "close u-linux"]);
    node.crash();
    node.settle_for(10_000);
    assert_eq!(node.report("linux").unwrap().phase, PodPhase::Succeeded);
}

#[test]
fn what_is_left_of_a_pod_that_nobody_knows_goes_unless_something_runs() {
    let mut node = Node::new();
    node.own.insert(uid("linux"), BTreeMap::new());
    node.crash();
    assert_eq!(node.asked(), ["close u-linux"]);
    node.make(|change| change.assign("linux"));
    node.open_sandbox();
    node.settle_for(10_000);
    node.disk.pods.clear();
    node.disk.memories.clear();
    node.asked();
    node.crash();
    node.settle_for(10_000);
    assert_eq!(node.asked(), Vec::<String>::new(), "its pod may come back");
}

//! Containers that were added to a pod: they run once, and nothing of the pod depends on them.

use std::sync::Arc;

use dunlin_link::{
    ephemeral::{EphemeralContainer, PodEphemeral},
    pod::{PodAssignment, PullPolicy, RestartPolicy},
};

use super::bench::Bench;
use crate::{
    pod::{
        ContainerIndex, Pulled,
        fixture::{container, pod},
    },
    sandbox::ExitCause,
};

fn added(name: &str, target: &str) -> EphemeralContainer {
    EphemeralContainer {
        container: container(name),
        target: target.to_owned(),
        files: Default::default(),
        linux: Default::default(),
    }
}

fn with(assignment: &PodAssignment, containers: Vec<EphemeralContainer>) -> Arc<PodAssignment> {
    Arc::new(PodAssignment { ephemeral: PodEphemeral { containers }, ..assignment.clone() })
}

impl Bench {
    fn assign(&mut self, assignment: Arc<PodAssignment>) {
        self.pod.handle_assignment(assignment, self.now());
        self.turn();
    }
}

#[test]
fn one_that_is_added_runs_beside_the_others_and_once() {
    let original = pod(vec![container("c")]);
    let mut bench = Bench::new(original.clone());
    bench.running("c");
    bench.assign(with(&original, vec![added("e", "")]));
    assert_eq!(bench.status(), "Running c+Running/0 e-ContainerCreating/0");
    bench.running("e");
    assert_eq!(bench.status(), "Running c+Running/0 e-Running/0");
    assert!(bench.false_conditions().is_empty(), "it is not waited for");
    bench.exited("e", ExitCause::Code(3));
    bench.pass(600_000);
    assert_eq!(bench.status(), "Running c+Running/0 e-Error(3)/0");
    assert_eq!(bench.acts(), ["start c", "start e", "remove e"], "it does not run again");
    // The next agent knows that it ran.
    let assignment = bench.pod.assignment().as_ref().clone();
    let mut later = Bench::unsynced(assignment, bench.memory, 700_000);
    later.pod.handle_synced(later.now());
    later.turn();
    assert!(later.status().ends_with("e-Error(3)/0"), "{}", later.status());
    assert!(!later.acts().contains(&"start e".to_owned()));
}

#[test]
fn one_that_dies_with_its_sandbox_stays_dead() {
    let original = pod(vec![container("c")]);
    let mut bench = Bench::new(original.clone());
    bench.running("c");
    bench.assign(with(&original, vec![added("e", "")]));
    bench.running("e");
    bench.pod.handle_sandbox_lost(bench.now());
    bench.turn();
    bench.pass(60_000);
    assert_eq!(bench.acts(), ["start c", "start e", "start c"]);
    assert!(bench.status().contains("e-Error(137)/0"), "{}", bench.status());
}

#[test]
fn it_starts_while_the_pod_is_still_initialized_and_initializes_nothing() {
    let mut original = pod(vec![container("c")]);
    original.spec.init_containers = vec![container("i")];
    let mut bench = Bench::new(original.clone());
    bench.running("i");
    bench.assign(with(&original, vec![added("e", "")]));
    bench.running("e");
    assert_eq!(bench.acts(), ["start i", "start e"]);
    assert_eq!(bench.status(), "Pending i-Running/0 c-PodInitializing/0 e-Running/0");
    bench.exited("i", ExitCause::Code(0));
    assert_eq!(bench.acts(), ["start c", "remove i"]);
}

#[test]
fn a_pod_ends_without_asking_those_that_were_added_and_takes_them_along() {
    let mut original = pod(vec![container("c")]);
    original.spec.restart_policy = RestartPolicy::Never;
    let mut bench = Bench::new(original.clone());
    bench.running("c");
    bench.assign(with(&original, vec![added("e", "")]));
    bench.running("e");
    bench.exited("c", ExitCause::Code(0));
    assert_eq!(bench.acts(), ["start c", "start e", "stop e 30000", "remove c"]);
    bench.exited("e", ExitCause::Killed);
    assert_eq!(bench.status(), "Succeeded c-Completed(0)/0 e-Error(137)/0");
}

#[test]
fn an_image_that_is_not_here_is_tried_again() {
    let original = pod(vec![container("c")]);
    let mut bench = Bench::new(original.clone());
    bench.running("c");
    bench.pulls.insert("e".to_owned(), Pulled::Failed("no".to_owned()));
    let mut one = added("e", "");
    one.container.image.pull_policy = PullPolicy::Always;
    bench.assign(with(&original, vec![one]));
    assert_eq!(bench.status(), "Running c+Running/0 e-ErrImagePull/0");
    bench.pulls.clear();
    bench.pass(60_000);
    bench.running("e");
    assert_eq!(bench.status(), "Running c+Running/0 e-Running/0");
}

#[test]
fn places_stay_whatever_the_order_and_what_was_told_once_stays_told() {
    let original = pod(vec![container("c")]);
    let mut bench = Bench::new(original.clone());
    bench.running("c");
    bench.assign(with(&original, vec![added("a", ""), added("b", "")]));
    bench.running("a");
    bench.running("b");
    let _ = bench.acts();
    bench.assign(with(&original, vec![added("new", ""), added("b", ""), added("a", "")]));
    assert_eq!(bench.acts(), ["start new"]);
    assert!(bench.status().contains("a-Running/0 b-Running/0 new-"), "{}", bench.status());
    bench.assign(Arc::new(original));
    assert!(bench.acts().is_empty(), "nothing is taken away");
    assert!(bench.pod.latest_run("b").unwrap().live.is_some());
}

#[test]
fn a_target_has_to_run() {
    let original = pod(vec![container("c")]);
    let mut bench = Bench::new(original.clone());
    bench.assign(with(&original, vec![added("e", "c"), added("f", "")]));
    let [e, f] = [ContainerIndex(1), ContainerIndex(2)];
    assert_eq!(bench.pod.process_target(e), Err("target container \"c\" is not running".to_owned()));
    assert_eq!(bench.pod.process_target(f), Ok(None));
    bench.running("c");
    let (id, _) = bench.ids["c"].clone();
    assert_eq!(bench.pod.process_target(e), Ok(Some(id)));
    assert_eq!(bench.pod.process_target(ContainerIndex(0)), Ok(None));
}

#[test]
fn an_order_restarts_none_that_was_added() {
    let original = pod(vec![container("c")]);
    let mut bench = Bench::new(original.clone());
    bench.running("c");
    bench.assign(with(&original, vec![added("e", "")]));
    bench.running("e");
    let error = bench.pod.handle_restart(Some("e"), bench.now()).unwrap_err();
    assert_eq!(error.to_string(), "ephemeral container e runs once");
    assert_eq!(bench.pod.handle_restart(None, bench.now()).unwrap(), ["c"]);
}

//! Whatever happens, in whatever order: states do not go back, and a buried pod stays buried.

use std::collections::BTreeMap;

use dunlin_link::{
    pod::{Container, RestartPolicy},
    status::{ContainerState, ContainerStatus, PodPhase},
};
use proptest::prelude::*;

use super::bench::Bench;
use crate::{
    pod::fixture::{container, pod},
    sandbox::ExitCause,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Running(usize),
    Exited(usize, ExitCause),
    Pass(i64),
    SandboxLost,
    Deleted(u32),
    AgentRestarted,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cause = prop_oneof![
        Just(ExitCause::Code(0)),
        Just(ExitCause::Code(1)),
        Just(ExitCause::OutOfMemory),
        Just(ExitCause::CannotRun),
    ];
    let step = prop_oneof![
        6 => (0..NAMES.len()).prop_map(Step::Running),
        4 => ((0..NAMES.len()), cause).prop_map(|(at, cause)| Step::Exited(at, cause)),
        4 => (0..400_000_i64).prop_map(Step::Pass),
        1 => Just(Step::SandboxLost),
        1 => (0..3_u32).prop_map(Step::Deleted),
        1 => Just(Step::AgentRestarted),
    ];
    prop::collection::vec(step, 1..60)
}

/// The restart count and, within a run, how far it came.
fn progress(status: &ContainerStatus) -> (u32, u8) {
    let within = match status.state {
        ContainerState::Waiting { .. } => 0,
        ContainerState::Running { .. } => 1,
        ContainerState::Terminated(_) => 2,
    };
    (status.restart_count, within)
}

fn is_final(phase: PodPhase) -> bool {
    matches!(phase, PodPhase::Succeeded | PodPhase::Failed)
}

fn act(bench: &mut Bench, step: Step) {
    match step {
        Step::Running(at) if bench.ids.contains_key(NAMES[at]) => bench.running(NAMES[at]),
        Step::Exited(at, cause) if bench.ids.contains_key(NAMES[at]) => bench.exited(NAMES[at], cause),
        Step::Running(_) | Step::Exited(..) => {}
        Step::Pass(millis) => bench.pass(millis),
        Step::SandboxLost => {
            bench.ids.clear();
            bench.pod.handle_sandbox_lost(bench.now());
            bench.turn();
        }
        Step::Deleted(grace) => bench.delete(grace),
        Step::AgentRestarted => {
            // The machine was switched off too: the sandbox has nothing to tell.
            let assignment = bench.pod.assignment().as_ref().clone();
            let report = bench.report.take();
            let log = std::mem::take(&mut bench.log);
            *bench = Bench::unsynced(assignment, bench.memory.clone(), bench.now_ms + 1_000);
            (bench.report, bench.log) = (report, log);
            bench.pod.handle_synced(bench.now());
            bench.turn();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn states_never_go_back_and_the_buried_stay_buried(policy in 0..3_usize, steps in steps()) {
        let mut assignment = pod(vec![container("a"), container("b")]);
        assignment.spec.restart_policy = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][policy];
        assignment.spec.init_containers = vec![container("i"), Container { sidecar: true, ..container("s") }];
        let mut bench = Bench::new(assignment);
        let mut furthest: BTreeMap<String, (u32, u8)> = BTreeMap::new();
        let mut last_phase = PodPhase::Pending;
        let mut buried = None;
        for step in steps {
            // A new agent learns of a deletion from the tombstone in its store.
            if let Some(grace) = buried && matches!(step, Step::AgentRestarted) {
                act(&mut bench, step);
                bench.acts();
                act(&mut bench, Step::Deleted(grace));
            } else {
                act(&mut bench, step);
            }
            let acts = bench.acts();
            if buried.is_some() {
                prop_assert!(!acts.iter().any(|act| act.starts_with("start")), "{acts:?}");
            }
            if let Step::Deleted(grace) = step { buried = buried.or(Some(grace)); }
            let report = bench.report.as_ref().unwrap();
            if is_final(last_phase) { prop_assert_eq!(report.phase, last_phase); }
            last_phase = report.phase;
            if is_final(report.phase) {
                let running = report.containers.iter().any(|status| status.started);
                prop_assert!(!running, "nothing runs in a pod that is over");
            }
            for status in report.init_containers.iter().chain(&report.containers) {
                let (count, within) = progress(status);
                let before = furthest.insert(status.name.clone(), (count, within)).unwrap_or_default();
                prop_assert!(count >= before.0, "{} {before:?} {count}", status.name);
            }
        }
    }
}

const NAMES: [&str; 4] = ["i", "s", "a", "b"];

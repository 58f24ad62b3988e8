//! CrashLoopBackOff, lost sandboxes, and adoption by a new agent.

use dunlin_link::{
    ContainerId,
    pod::RestartPolicy,
    status::{ContainerState, PodConditionKind},
};

use super::bench::Bench;
use crate::{
    clock::Now,
    memory::PodMemory,
    pod::{
        Pod, Residence,
        fixture::{container, pod},
    },
    sandbox::{Exit, ExitCause, State},
};

#[test]
fn crash_loops_wait_longer_each_time() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.running("c");
    bench.exited("c", ExitCause::Code(1));
    let mut seen = Vec::new();
    for _ in 0..7 {
        bench.running("c");
        bench.exited("c", ExitCause::Code(1));
        bench.pass(1_000);
        let status = &bench.report.as_ref().unwrap().containers[0];
        let ContainerState::Waiting { reason, message } = &status.state else { panic!("{status:?}") };
        assert_eq!(reason, "CrashLoopBackOff");
        assert_eq!(status.last_state.as_ref().unwrap().exit_code, 1);
        let delay = message.strip_prefix("back-off ").unwrap();
        seen.push((
            delay.strip_suffix(" restarting failed container=c pod=p_ns(u1)").unwrap().to_owned(),
            status.restart_count,
        ));
        bench.pass(300_000);
    }
    let expected = [("10s", 1), ("20s", 2), ("40s", 3), ("1m20s", 4), ("2m40s", 5), ("5m0s", 6), ("5m0s", 7)];
    assert_eq!(seen, expected.map(|(delay, count)| (delay.to_owned(), count)));
    assert!(
        bench
            .events()
            .contains(&"Warning BackOff: Back-off restarting failed container c in pod p_ns(u1)".to_owned())
    );
}

#[test]
fn the_next_run_starts_exactly_after_the_delay() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.exited("c", ExitCause::Trap);
    bench.exited("c", ExitCause::Trap);
    bench.acts();
    bench.pass(9_999);
    assert_eq!(bench.status(), "Running c-CrashLoopBackOff/1");
    assert!(bench.acts().is_empty());
    bench.pass(1);
    assert_eq!(bench.acts(), ["start c"]);
    // Ten minutes of running clear the delay: the next failure restarts at once.
    bench.running("c");
    bench.pass(600_001);
    bench.exited("c", ExitCause::Trap);
    assert_eq!(bench.acts()[0], "start c");
}

#[test]
fn a_lost_sandbox_restarts_by_policy() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.running("c");
    bench.pod.handle_sandbox_lost(bench.now());
    bench.turn();
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/1");
    assert_eq!(bench.report.as_ref().unwrap().containers[0].last_state.as_ref().unwrap().exit_code, 137);

    let mut never = pod(vec![container("c")]);
    never.spec.restart_policy = RestartPolicy::Never;
    let mut bench = Bench::new(never);
    bench.running("c");
    bench.pod.handle_sandbox_lost(bench.now());
    bench.turn();
    assert_eq!(bench.status(), "Failed c-Error(137)/0");
}

#[test]
fn a_sandbox_started_for_the_pod_takes_nothing_away() {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.pod.handle_synced(bench.now());
    bench.turn();
    bench.running("c");
    bench.pod.handle_sandbox_unsure();
    let (id, attempt) = bench.ids["c"].clone();
    bench.tell_as("c", id, attempt, State::Running { started_at: bench.now().wall });
    bench.pod.handle_synced(bench.now());
    bench.turn();
    assert_eq!(bench.status(), "Running c+Running/0");
    bench.pod.handle_sandbox_unsure();
    bench.pod.handle_synced(bench.now());
    bench.turn();
    assert_eq!(bench.status(), "Running c-ContainerCreating/1");
}

/// A pod whose container crashed once and runs again, left by its agent.
fn left_running() -> Bench {
    let mut bench = Bench::new(pod(vec![container("c")]));
    bench.running("c");
    bench.exited("c", ExitCause::Code(4));
    bench.running("c");
    bench
}

#[test]
fn a_new_agent_adopts_what_runs() {
    let left = left_running();
    let (id, attempt) = left.ids["c"].clone();
    for memory in [left.memory.clone(), PodMemory::default()] {
        let remembers = memory != PodMemory::default();
        let mut bench = Bench::unsynced(left.pod.assignment().as_ref().clone(), memory, 50_000);
        bench.turn();
        assert!(bench.report.is_none(), "nothing is known before the sandbox has told");
        bench.tell_as("c", id.clone(), attempt, State::Running { started_at: left.now().wall });
        bench.pod.handle_synced(bench.now());
        bench.turn();
        assert_eq!(bench.status(), "Running c+Running/1");
        assert!(bench.log.is_empty(), "{:?}", bench.log);
        let last = bench.report.as_ref().unwrap().containers[0].last_state.as_ref();
        assert_eq!(last.map(|end| end.exit_code), remembers.then_some(4));
        assert_eq!(bench.condition(PodConditionKind::Ready), (true, String::new()));
    }
}

#[test]
fn a_new_agent_accounts_for_what_ended_meanwhile() {
    let left = left_running();
    let (id, attempt) = left.ids["c"].clone();
    let mut bench = Bench::unsynced(left.pod.assignment().as_ref().clone(), left.memory, 50_000);
    let at = bench.now().wall;
    let exit =
        Exit { cause: ExitCause::Code(9), message: String::new(), started_at: Some(at), finished_at: at };
    bench.tell_as("c", id, attempt, State::Exited(exit));
    bench.pod.handle_synced(bench.now());
    bench.turn();
    bench.pass(1_000);
    assert_eq!(bench.status(), "Running c-CrashLoopBackOff/1");
    assert_eq!(bench.report.as_ref().unwrap().containers[0].last_state.as_ref().unwrap().exit_code, 9);
}

#[test]
fn after_a_reboot_everything_starts_again_and_counts() {
    let left = left_running();
    let pod = left.pod.assignment().as_ref().clone();
    let mut bench = Bench::unsynced(pod.clone(), left.memory, 700_000);
    bench.pod.handle_synced(bench.now());
    bench.turn();
    assert_eq!(bench.acts(), ["start c"]);
    bench.running("c");
    assert_eq!(bench.status(), "Running c+Running/2");
    // However often the power fails, nothing waits for it.
    let mut memory = bench.memory;
    for (cut, restarts) in [(701_000, 3), (702_000, 4)] {
        let mut bench = Bench::unsynced(pod.clone(), memory, cut);
        bench.pod.handle_sandbox_lost(bench.now());
        bench.turn();
        assert_eq!(bench.acts(), ["start c"]);
        bench.running("c");
        assert_eq!(bench.status(), format!("Running c+Running/{restarts}"));
        memory = bench.memory;
    }
    // A sandbox that dies while its agent watches may have been killed by a guest: that counts.
    let mut bench = Bench::unsynced(pod, memory, 703_000);
    bench.pod.handle_sandbox_lost(bench.now());
    bench.turn();
    bench.running("c");
    assert_eq!(bench.acts(), ["start c"]);
    bench.pod.handle_sandbox_lost(bench.now());
    bench.turn();
    assert_eq!(bench.acts(), [""; 0]);
}

/// A pod that runs after its init container, in a sandbox of its own or in the runner.
fn initialized(residence: Residence) -> Bench {
    let mut assignment = pod(vec![container("c")]);
    assignment.spec.init_containers = vec![container("i"), container("j")];
    let mut bench = Bench::unsynced(assignment, PodMemory::default(), 0);
    bench.residence = residence;
    bench.pod.handle_synced(bench.now());
    bench.turn();
    if residence == Residence::Own {
        bench.open();
    }
    for init in ["i", "j"] {
        bench.running(init);
        bench.exited(init, ExitCause::Code(0));
    }
    bench.running("c");
    assert_eq!(bench.status(), "Running i+Completed(0)/0 j+Completed(0)/0 c+Running/0");
    bench.log.clear();
    bench
}

const CHANGED: &str = "Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created.";

impl Bench {
    fn open(&mut self) {
        self.pod.handle_opened(None, self.now());
        self.turn();
    }

    fn lose(&mut self) {
        self.pod.handle_sandbox_lost(self.now());
        self.turn();
    }
}

#[test]
fn init_containers_run_again_in_a_new_sandbox() {
    let mut bench = initialized(Residence::Own);
    bench.lose();
    assert!(bench.log.contains(&CHANGED.to_owned()), "{:?}", bench.log);
    assert_eq!(bench.acts(), ["open"]);
    bench.open();
    assert_eq!(bench.acts(), ["start i"]);
    bench.running("i");
    assert_eq!(bench.status(), "Pending i-Running/1 j+Completed(0)/0 c-Error(137)/0");
    // However long that takes, and whoever crashes meanwhile.
    bench.pass(60_000);
    let mut again = Bench::unsynced(bench.pod.assignment().as_ref().clone(), bench.memory.clone(), 70_000);
    again.pod.handle_inherited_sandbox();
    let (id, attempt) = bench.ids["i"].clone();
    again.tell_as("i", id, attempt, State::Running { started_at: bench.now().wall });
    again.ids = bench.ids.clone();
    again.open();
    again.pod.handle_synced(again.now());
    again.turn();
    assert_eq!(again.acts(), [""; 0]);
    for mut bench in [bench, again] {
        bench.log.clear();
        bench.exited("i", ExitCause::Code(0));
        assert_eq!(bench.acts()[0], "start j");
        bench.running("j");
        bench.exited("j", ExitCause::Code(0));
        assert_eq!(bench.acts()[0], "start c");
        bench.running("c");
        assert!(bench.status().ends_with("c+Running/1"), "{}", bench.status());
    }
}

#[test]
fn the_runner_is_no_pods_sandbox_unless_it_went_with_the_machine() {
    let mut bench = initialized(Residence::Shared);
    bench.lose();
    assert!(!bench.log.contains(&CHANGED.to_owned()));
    assert_eq!(bench.acts(), ["start c"]);
    bench.running("c");
    let pod = bench.pod.assignment().as_ref().clone();
    let reboot = |how: fn(&mut Pod, Now)| {
        let mut bench = Bench::unsynced(pod.clone(), bench.memory.clone(), 80_000);
        let now = bench.now();
        how(&mut bench.pod, now);
        bench.turn();
        assert_eq!(bench.log[0], CHANGED);
        assert_eq!(bench.acts(), ["start i"]);
    };
    reboot(Pod::handle_sandbox_lost);
    reboot(Pod::handle_synced);
    // What waits for its next try is no exception.
    bench.exited("c", ExitCause::Code(1));
    bench.pass(0);
    let mut bench = Bench::unsynced(pod, bench.memory.clone(), 90_000);
    bench.lose();
    assert_eq!(bench.acts(), ["start i"]);
}

#[test]
fn a_pod_of_which_nothing_is_to_run_gets_no_other_sandbox() {
    let check = |policy, ended: bool, expected: &str| {
        let mut assignment = pod(vec![container("a"), container("b")]);
        assignment.spec.restart_policy = policy;
        assignment.spec.init_containers = vec![container("i")];
        let mut bench = Bench::unsynced(assignment, PodMemory::default(), 0);
        bench.residence = Residence::Own;
        bench.pod.handle_synced(bench.now());
        bench.turn();
        bench.open();
        bench.running("i");
        bench.exited("i", ExitCause::Code(0));
        bench.running("a");
        bench.running("b");
        bench.exited("a", ExitCause::Code(0));
        if ended {
            bench.exited("b", ExitCause::Code(0));
        }
        bench.log.clear();
        bench.lose();
        assert_eq!(bench.acts().join(" "), expected, "{policy:?}");
    };
    check(RestartPolicy::Never, false, "");
    check(RestartPolicy::OnFailure, true, "");
    check(RestartPolicy::OnFailure, false, "open");
}

#[test]
fn a_newer_run_than_remembered_wins_whatever_order_it_is_told_in() {
    let left = left_running();
    let (new, _) = left.ids["c"].clone();
    let old = ContainerId::new("old");
    let at = left.now().wall;
    let exit =
        Exit { cause: ExitCause::Code(4), message: String::new(), started_at: Some(at), finished_at: at };
    let mut told = [(old, 0, State::Exited(exit)), (new, 1, State::Running { started_at: at })];
    for _ in 0..2 {
        told.reverse();
        let mut bench = Bench::unsynced(left.pod.assignment().as_ref().clone(), PodMemory::default(), 50_000);
        for (id, attempt, state) in told.clone() {
            bench.tell_as("c", id, attempt, state);
        }
        bench.pod.handle_synced(bench.now());
        bench.turn();
        assert_eq!(bench.status(), "Running c+Running/1");
        assert_eq!(bench.acts(), ["remove old"]);
    }
}

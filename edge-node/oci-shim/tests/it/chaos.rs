//! Kills at random: whatever dies, what is left can be taken away, and the machine is as it was.

use std::collections::BTreeSet;

use dunlin_edge_node_core::sandbox::Request;
use dunlin_link::ContainerId;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    machine::{Machine, processes},
    pod::{Pod, runtimes},
};

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn whatever_is_killed_nothing_is_left() {
    let rounds =
        std::env::var("DUNLIN_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for runtime in runtimes() {
        let before = Machine::look();
        let mut numbers = Numbers(7);
        let mut pod = Pod::start(&runtime);
        let folder = pod.dir.path().display().to_string();
        for round in 0..rounds {
            let id = format!("c{round}");
            pod.start_container(pod.spec(&id, "sleep 98765"));
            // At any point between the first step of its start and its end.
            let spins = numbers.below(40_000);
            (0..spins).for_each(|_| std::hint::spin_loop());
            match numbers.below(4) {
                0 => {
                    pod.replace_shim();
                    pod.open(pod.shared());
                }
                1 => {
                    kill_all(&processes(&folder), pod.shim.id());
                    finish(&mut pod, &id);
                }
                2 => {
                    kill_all(&processes("98765"), pod.shim.id());
                    finish(&mut pod, &id);
                }
                _ => {
                    pod.ask(&Request::Stop { id: ContainerId::new(&*id), grace_ms: numbers.below(3) });
                    finish(&mut pod, &id);
                }
            }
            assert_eq!(Machine::look(), before, "round {round}");
        }
        pod.shut_down();
        assert!(processes("98765").is_empty());
        assert_eq!(Machine::look(), before);
    }
}

/// Runtimes and containers, but not the shim itself.
fn kill_all(pids: &BTreeSet<u32>, shim: u32) {
    for pid in pids.iter().filter(|pid| **pid != shim) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
}

/// It ends, by what was killed or because it is stopped now.
fn finish(pod: &mut Pod, id: &str) {
    pod.ask(&Request::Stop { id: ContainerId::new(id), grace_ms: 0 });
    pod.exit(id);
}

/// Enough for each thing to die at several points.
const ROUNDS: u64 = 20;

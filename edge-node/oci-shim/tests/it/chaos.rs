//! Kills at random, at any point of a container's life: whatever dies, what is left can be taken away, and the machine is as it was.

use std::{collections::BTreeSet, fs};

use dunlin_edge_node_core::sandbox::{
    Request,
    linux::{LinuxMount, LinuxPod, LinuxSpec, ProcessSharing, Propagation},
};
use dunlin_link::{ContainerId, volumes::Access};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    machine::{Machine, processes},
    pod::{Pod, eventually, runtimes},
    streams::{Caller, exec},
};

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// How far a container is when something is killed. Each is followed by a moment of a length by chance.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It has just been asked for.
    Asked,
    Running,
    /// It has written into its volume.
    Working,
    /// A command is being run in it, and may or may not have begun.
    Commanded,
    /// It was asked to stop, and takes its time.
    Stopping,
    /// It is being killed and taken away.
    Ending,
}

const STAGES: [Stage; 6] =
    [Stage::Asked, Stage::Running, Stage::Working, Stage::Commanded, Stage::Stopping, Stage::Ending];

#[test]
fn whatever_is_killed_nothing_is_left() {
    let rounds =
        std::env::var("DUNLIN_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for runtime in runtimes() {
        let before = Machine::look();
        let mut numbers = Numbers(7);
        let mut pod = Pod::start_closed(&runtime);
        pod.open(shared(&pod, &mut numbers));
        fs::create_dir_all(volume(&pod).join("part")).unwrap();
        fs::write(volume(&pod).join("part/kept"), "kept").unwrap();
        for round in 0..rounds {
            let id = format!("c{round}");
            let stage = STAGES[usize::try_from(numbers.below(6)).unwrap()];
            let caller = reach(&mut pod, &id, stage);
            let spins = numbers.below(400_000);
            (0..spins).for_each(|_| std::hint::spin_loop());
            strike(&mut pod, &id, &mut numbers);
            drop(caller);
            assert_eq!(fs::read_to_string(volume(&pod).join("part/kept")).unwrap(), "kept");
            eventually(&format!("{stage:?} in round {round}"), || processes(WORD).is_empty());
            assert_eq!(Machine::look(), before, "{stage:?} in round {round}");
        }
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

/// Some pods share their processes.
fn shared(pod: &Pod, numbers: &mut Numbers) -> LinuxPod {
    let processes = [ProcessSharing::Container, ProcessSharing::Pod];
    LinuxPod { processes: processes[usize::try_from(numbers.below(2)).unwrap()], ..pod.shared() }
}

fn volume(pod: &Pod) -> std::path::PathBuf {
    pod.dir.path().join("volume")
}

/// Starts a container and waits until it is so far.
fn reach(pod: &mut Pod, id: &str, stage: Stage) -> Option<Caller> {
    let line = format!(
        "trap 'sleep 0.05; exit 3' TERM; {WORD}=1; while :; do echo {id} >> /v/log; sleep 0.01; done"
    );
    let mount = LinuxMount {
        layers: Vec::new(),
        source: volume(pod).display().to_string(),
        inside: "part".into(),
        path: "/v".into(),
        access: Access::ReadWrite,
        propagation: Propagation::None,
        all_read_only: false,
    };
    pod.start_container(LinuxSpec { mounts: vec![mount], ..pod.spec(id, &line) });
    if let Stage::Asked = stage {
        return None;
    }
    pod.running(id);
    if let Stage::Running = stage {
        return None;
    }
    let log = volume(pod).join("part/log");
    eventually("it works", || fs::read_to_string(&log).is_ok_and(|text| text.contains(&format!("{id}\n"))));
    match stage {
        Stage::Asked | Stage::Running | Stage::Working => None,
        Stage::Commanded => {
            let mut start = exec(&format!("{WORD}=2; while :; do echo x; sleep 0.01; done"));
            start.id = ContainerId::new(id);
            Some(Caller::open(pod, &start))
        }
        Stage::Stopping => {
            pod.ask(&Request::Stop { id: ContainerId::new(id), grace_ms: 10_000 });
            None
        }
        Stage::Ending => {
            pod.ask(&Request::Stop { id: ContainerId::new(id), grace_ms: 0 });
            None
        }
    }
}

/// Kills something, and has the container end if that did not end it.
fn strike(pod: &mut Pod, id: &str, numbers: &mut Numbers) {
    match numbers.below(4) {
        0 => {
            pod.replace_shim();
            let spec = shared(pod, numbers);
            pod.open(spec);
            return;
        }
        // Whatever the runtime is doing.
        1 => kill_all(&processes(&pod.folder().display().to_string()), pod.shim.id()),
        // The container, and commands in it.
        2 => kill_all(&processes(WORD), pod.shim.id()),
        _ => {}
    }
    pod.ask(&Request::Stop { id: ContainerId::new(id), grace_ms: numbers.below(3) });
    pod.exit(id);
}

fn kill_all(pids: &BTreeSet<u32>, shim: u32) {
    for pid in pids.iter().filter(|pid| **pid != shim) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
}

/// In the command line of all that these containers run.
const WORD: &str = "CHAOS98765";

/// Enough for each thing to die at several points.
const ROUNDS: u64 = 20;

//! kill -9 of agent, shims, runners, the OCI runtime's commands and containers at random moments, with pods running. Only what died runs
//! anew, and when the pods are gone nothing is left of them. `cargo xtask torture --containers --kills N` runs it longer.

mod cluster;
mod pods;
mod processes;
mod traces;

use std::{
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use rustix::process::Pid;

use self::{
    cluster::Cluster,
    processes::{PodProcesses, kill},
    traces::Traces,
};
use super::{
    alone::is_alone,
    node::{runtimes, site},
};
use crate::cluster::wait_until;

/// What ends all of a sudden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Agent,
    Shim,
    /// Of the pod with a module.
    Runner,
    /// The first process of a container.
    Container,
    /// The first process of those that the containers of a pod share.
    First,
    /// A container, and then a command of the runtime for its pod.
    Runtime,
}

const VICTIMS: [Victim; 6] =
    [Victim::Agent, Victim::Shim, Victim::Runner, Victim::Container, Victim::First, Victim::Runtime];

#[test]
fn whatever_is_killed_only_that_runs_anew_and_nothing_is_left() {
    if !is_alone("containers::chaos::whatever_is_killed_only_that_runs_anew_and_nothing_is_left") {
        return;
    }
    let kills: usize = env::var("DUNLIN_TORTURE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed: u64 =
        env::var("DUNLIN_TORTURE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let nobody = Traces::look(Path::new("/none"), |_| false);
    for runtime in runtimes() {
        println!("chaos: {kills} kills with {runtime}, seed {seed}");
        let Some((site, machine, registry, image)) = site(runtime) else { return };
        site.push("http-hello");
        let state = machine.state.clone();
        let before = Traces::look(&state, |_| false);
        let mut chance = StdRng::seed_from_u64(seed);
        let mut cluster = Cluster::start(runtime, (site, machine, registry, image));
        for round in 0..kills {
            let what = format!("kill {round} with {runtime}, seed {seed}");
            let start = Instant::now();
            let said = strike(&mut cluster, &mut chance, round);
            println!("chaos: {what}, of {said}");
            cluster.converge(&format!("{what}, of {said}"));
            println!("chaos: all is as it was after {:.1} s", start.elapsed().as_secs_f64());
        }
        let uids = cluster.end_pods();
        let owns = |name: &str| uids.iter().any(|uid| name.contains(uid));
        wait_for_none("pods", || Traces::look(&state, owns).differences(&before));
        cluster.end();
        wait_for_none("the node", || Traces::look(Path::new("/none"), |_| false).differences(&nobody));
    }
}

fn wait_for_none(of: &str, differences: impl Fn() -> Vec<String>) {
    wait_until(&format!("a machine without traces of {of}"), || {
        let mut left = differences();
        // Its bridge stays with the node.
        left.retain(|line| !line.starts_with("interface is new: dunlin"));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    });
}

/// Kills something; answers what.
fn strike(cluster: &mut Cluster, chance: &mut StdRng, round: usize) -> String {
    cluster.prepare();
    thread::sleep(Duration::from_millis(chance.random_range(0..500)));
    // Each at least once.
    let victim = VICTIMS.get(round).or_else(|| VICTIMS.choose(chance)).copied().unwrap();
    let away = Duration::from_millis(chance.random_range(0..300));
    if victim == Victim::Agent {
        cluster.kill_agent();
        thread::sleep(away);
        cluster.start_agent();
        return "the agent".to_owned();
    }
    let pods = cluster.pods();
    // Without it nothing is begun that a command of the runtime would be needed for.
    let is_agent_away = victim != Victim::Runtime && chance.random_range(0..4) == 0;
    if is_agent_away {
        cluster.kill_agent();
    }
    let running: Vec<_> = pods.iter().filter(|(_, pod)| !pod.has_succeeded()).collect();
    let (mut pod, mut seen) = *running.choose(chance).unwrap();
    if let Some(meant) = match victim {
        Victim::Runner => Some("mixed"),
        Victim::First => Some("keeper"),
        _ => None,
    } {
        (pod, seen) = pods.get_key_value(meant).unwrap();
    }
    let processes = PodProcesses::of(cluster.state(), &seen.uid);
    // The module has no process of its own.
    let containers: Vec<_> = seen.containers.iter().filter(|(name, _)| *name != "wasm").collect();
    let (container, of) = *containers.choose(chance).unwrap();
    let said = match victim {
        Victim::Agent => unreachable!("it was killed above"),
        Victim::Shim => {
            seen.containers.keys().for_each(|container| cluster.owe(pod, container, 1));
            end(processes.shim());
            format!("the shim of {pod}")
        }
        Victim::Runner => {
            cluster.owe(pod, "wasm", 1);
            end(processes.runner());
            format!("the runner of {pod}")
        }
        Victim::First => {
            seen.containers.keys().for_each(|container| cluster.owe(pod, container, 1));
            end(processes.first());
            format!("the first process of {pod}")
        }
        Victim::Container => {
            cluster.owe(pod, container, 1);
            end(processes.container(&of.id));
            format!("container {container} of {pod}")
        }
        Victim::Runtime => {
            cluster.owe(pod, container, 1);
            // The command may be the one that was to begin the next run.
            cluster.allow(pod, container, 1);
            let trap = processes.trap(chance.random_range(0..400_000));
            end(processes.container(&of.id));
            thread::sleep(Duration::from_millis(chance.random_range(0..1500)));
            let killed = trap.end().unwrap_or_else(|| "no command".to_owned());
            format!("container {container} of {pod}, and of {killed}")
        }
    };
    if is_agent_away {
        thread::sleep(away);
        cluster.start_agent();
        return format!("{said}, while the agent was away");
    }
    said
}

fn end(process: Option<Pid>) {
    // One that has its end behind it already has none to come.
    if let Some(pid) = process {
        kill(pid);
    }
}

/// Of each runtime that is here, in every run of the tests.
const KILLS: usize = VICTIMS.len();

//! kill -9 of coordinator, agents and runners at random moments, under writes. `cargo xtask torture --kills N` runs it longer.

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    cluster::{run, wait_until},
    site::{Machine, Site},
};

/// What ends all of a sudden.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Coordinator,
    Agent(usize),
    Runner(usize),
}

fn victim(chance: &mut StdRng) -> Victim {
    match chance.random_range(0..10) {
        0..5 => Victim::Coordinator,
        5..8 => Victim::Agent(chance.random_range(0..NODES)),
        _ => Victim::Runner(chance.random_range(0..NODES)),
    }
}

fn kill(victim: Victim, site: &mut Site, machines: &mut [Machine], chance: &mut StdRng) {
    let away = Duration::from_millis(chance.random_range(0..300));
    match victim {
        Victim::Coordinator => {
            site.kill_coordinator();
            thread::sleep(away);
            site.start_coordinator();
        }
        Victim::Agent(index) => {
            machines[index].kill_agent();
            thread::sleep(away);
            machines[index].start_agent(&[]);
        }
        // Its agent may just be starting another.
        Victim::Runner(index) if machines[index].runner().is_some() => machines[index].kill_runner(),
        Victim::Runner(_) => {}
    }
}

/// Creates objects until `stop`, and notes those that the coordinator acknowledged.
fn write(config: &Path, number: usize, stop: &AtomicBool, acknowledged: &Mutex<BTreeSet<String>>) {
    let home = tempfile::tempdir().unwrap();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let object = |index| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: t{number}-{round}-{index}}}\ndata: {{n: x}}\n---\n"
            )
        };
        let manifest: String = (0..OBJECTS_PER_ROUND).map(object).collect();
        // It may fail half-way, which is what this is about; what it printed counts.
        let answer = run(&["apply", "--request-timeout=5s", "-f", "-"], &manifest, home.path(), config);
        let created = answer.stdout.lines().filter_map(|line| line.strip_suffix(" created"));
        acknowledged.lock().unwrap().extend(created.map(str::to_owned));
    }
}

/// Files that only live while they are written, wherever they are.
fn leftovers(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_temporary = [".tmp", ".dunlin-backup-"].iter().any(|start| name.starts_with(start))
            || [".part", ".new", ".tmp"].iter().any(|end| name.ends_with(end));
        if is_temporary {
            found.push(path.display().to_string());
        } else if path.is_dir() {
            leftovers(&path, found);
        }
    }
}

/// Command lines of processes that name this folder.
fn processes(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    // A process may end while it is looked at.
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder.to_str().unwrap())).collect()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_leaks_whoever_is_killed() {
    let kills: usize = env::var("DUNLIN_TORTURE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = env::var("DUNLIN_TORTURE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("torture: {kills} kills, seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut site = Site::start();
    let token = site.token(&[]);
    let mut machines: Vec<Machine> =
        (0..NODES).map(|index| site.join(&format!("n{index}"), &token)).collect();
    site.push("ticker");
    for index in 0..PODS {
        site.ok(&["apply", "-f", "-"], &pod(index));
    }
    wait_for_pods(&site);

    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let config = site.config();
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let (config, stop, acknowledged) = (&config, &stop, &acknowledged);
            scope.spawn(move || write(config, number, stop, acknowledged));
        }
        for round in 0..kills {
            thread::sleep(Duration::from_millis(chance.random_range(50..600)));
            let victim = victim(&mut chance);
            kill(victim, &mut site, &mut machines, &mut chance);
            if (round + 1).is_multiple_of(50) {
                println!("torture: {} kills, {} objects", round + 1, acknowledged.lock().unwrap().len());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });

    let listed = site.ok(&["get", "cm", "-o", "name"], "");
    let kept: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "seed {seed}: {lost:?} of {}", acknowledged.len());
    assert!(!acknowledged.is_empty(), "nothing was written");
    machines.iter().for_each(|machine| site.wait_for_ready(machine));
    wait_for_pods(&site);

    // One coordinator; an agent and a runner on each node; compilers of modules come and go.
    let folder = site.data().parent().unwrap().to_owned();
    wait_until("the processes of a cluster at rest", || {
        let running = processes(&folder);
        if running.len() <= 1 + 2 * NODES { Ok(()) } else { Err(format!("{running:#?}")) }
    });
    wait_until("a tidy disk", || {
        let mut found = Vec::new();
        leftovers(&folder, &mut found);
        if found.is_empty() { Ok(()) } else { Err(format!("{found:#?}")) }
    });
    println!("torture: {} objects acknowledged, none lost", acknowledged.len());
}

fn wait_for_pods(site: &Site) {
    site.wait_for(&["get", "pods", "--no-headers"], |rows| {
        rows.lines().filter(|row| row.split_whitespace().nth(2) == Some("Running")).count() == PODS
    });
}

fn pod(index: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: ticker-{index}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - {{name: c, image: dunlin.local/ticker, args: [\"200\"]}}\n"
    )
}

const NODES: usize = 2;
const PODS: usize = 4;
const WRITERS: usize = 2;
const OBJECTS_PER_ROUND: usize = 10;

/// A few in every run of the tests.
const KILLS: usize = 8;

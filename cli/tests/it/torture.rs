//! kill -9 of coordinator, agents and runners at random moments, under writes, while the nodes' certificates roll over all the time.
//! `cargo xtask torture --kills N` runs it longer.

mod leaks;

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    cluster::{client_of, run, wait_until},
    site::{Machine, Site},
};

/// What ends all of a sudden.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Coordinator,
    Agent(usize),
    Runner(usize),
    /// An agent that has a new certificate in its hands and not yet in its place.
    Renewing(usize),
    /// An agent that stays away until its certificate has expired.
    Expiring(usize),
}

/// A coordinator and nodes, some of whose agents are away.
struct Cluster {
    site: Site,
    machines: Vec<Machine>,
    /// When an agent that is away comes back.
    back_at: [Option<Instant>; NODES],
    chance: StdRng,
    /// Renewals that were cut off between writing the new certificate and putting it in its place.
    cut: usize,
}

impl Cluster {
    fn start(seed: u64) -> Self {
        let site = Site::start_with(&["--node-certificate-lifetime", "5s"]);
        let token = site.token(&[]);
        let machines = (0..NODES).map(|index| site.join(&format!("n{index}"), &token)).collect();
        site.push("ticker");
        for index in 0..PODS {
            site.ok(&["apply", "-f", "-"], &pod(index));
        }
        let chance = StdRng::seed_from_u64(seed);
        let cluster = Self { site, machines, back_at: [None; NODES], chance, cut: 0 };
        cluster.wait_for_pods();
        cluster
    }

    /// The victim of one round. Those about certificates come at fixed rounds, so that there are some in every run.
    fn victim(&mut self, round: usize) -> Victim {
        let node = self.chance.random_range(0..NODES);
        match (round % CERTIFICATE_ROUNDS, self.chance.random_range(0..10)) {
            (1, _) => Victim::Expiring(node),
            (5, _) => Victim::Renewing(node),
            (_, 0..5) => Victim::Coordinator,
            (_, 5..8) => Victim::Agent(node),
            _ => Victim::Runner(node),
        }
    }

    fn kill(&mut self, victim: Victim) {
        let away = Duration::from_millis(self.chance.random_range(0..300));
        match victim {
            Victim::Coordinator => {
                self.site.kill_coordinator();
                thread::sleep(away);
                self.site.start_coordinator();
            }
            Victim::Agent(index) | Victim::Renewing(index) | Victim::Expiring(index)
                if self.back_at[index].is_some() => {}
            Victim::Agent(index) => self.restart_agent(index, away),
            Victim::Renewing(index) => {
                let new = self.machines[index].state.join("identity/node.der.new");
                let (start, was_there) = (Instant::now(), new.exists());
                while !new.exists() && start.elapsed() < CERTIFICATE_LIFE {
                    thread::sleep(Duration::from_micros(100));
                }
                self.machines[index].kill_agent();
                self.cut += usize::from(!was_there && new.exists());
                thread::sleep(away);
                self.machines[index].start_agent(&[]);
            }
            Victim::Expiring(index) => {
                self.machines[index].kill_agent();
                self.back_at[index] = Some(Instant::now() + CERTIFICATE_LIFE + away);
            }
            // Its agent may just be starting another, or be away.
            Victim::Runner(index) if self.machines[index].runner().is_some() => {
                self.machines[index].kill_runner();
            }
            Victim::Runner(_) => {}
        }
    }

    fn restart_agent(&mut self, index: usize, away: Duration) {
        self.machines[index].kill_agent();
        thread::sleep(away);
        self.machines[index].start_agent(&[]);
    }

    /// Starts the agents that have been away for long enough.
    fn return_agents(&mut self) {
        for (machine, back_at) in self.machines.iter_mut().zip(&mut self.back_at) {
            if back_at.is_some_and(|back_at| back_at <= Instant::now()) {
                machine.start_agent(&[]);
                *back_at = None;
            }
        }
    }

    /// How many certificates rolled over in a session, and how many had expired before.
    fn renewals(&self) -> (usize, usize) {
        let renewed = "the node's certificate was renewed";
        let expired = "renewed the node's certificate before a session";
        let all: usize = self.machines.iter().map(|machine| machine.log().matches(renewed).count()).sum();
        let late = self.site.log().matches(expired).count();
        (all.saturating_sub(late), late)
    }

    /// Waits until every pod runs. After many kills of runners a pod waits for its backoff, for up to five minutes; that wait is ended
    /// by an order on its node.
    fn wait_for_pods(&self) {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
        let count = |rows: &str, words: &[&str]| {
            let statuses = rows.lines().filter_map(|row| row.split_whitespace().nth(2));
            statuses.filter(|status| words.contains(status)).count()
        };
        let all = ["get", "pods", "--no-headers"];
        let rows = self.site.wait_for(&all, |rows| count(rows, &["Running", "CrashLoopBackOff"]) == PODS);
        let waiting = rows.lines().filter(|row| row.contains("CrashLoopBackOff"));
        let waiting: Vec<&str> = waiting.filter_map(|row| row.split_whitespace().next()).collect();
        let placed = self.site.ok(&["get", "pods", "-o", path], "");
        for (pod, node) in placed.lines().filter_map(|line| line.split_once(' ')) {
            if waiting.contains(&pod) {
                let index: usize = node.trim_start_matches('n').parse().unwrap();
                let state = self.machines[index].state.to_str().unwrap();
                self.site.ok(&["local", "restart", pod, "--state", state], "");
            }
        }
        self.site.wait_for(&all, |rows| count(rows, &["Running"]) == PODS);
    }

    /// Waits until every node is Ready, with the certificate on its disk good for more than a renewal.
    fn wait_for_nodes(&self) {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        for (index, machine) in self.machines.iter().enumerate() {
            self.site.wait_for_ready(machine);
            let server = format!("quic://{}", self.site.address());
            wait_until(&format!("a valid certificate of n{index}"), || {
                fs::write(&config, client_of(&machine.state, &server, "default")).unwrap();
                let answer = run(&["get", "node", &format!("n{index}")], "", home.path(), &config);
                if answer.code == 0 { Ok(()) } else { Err(format!("{answer:?}\n{}", machine.log())) }
            });
        }
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

#[test]
fn nothing_acknowledged_is_lost_and_nothing_leaks_whoever_is_killed() {
    let kills: usize = env::var("DUNLIN_TORTURE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = env::var("DUNLIN_TORTURE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("torture: {kills} kills, seed {seed}");
    let mut cluster = Cluster::start(seed);
    let folder = cluster.site.data().parent().unwrap().to_owned();
    let sockets = leaks::sockets(&folder);

    let acknowledged = under_writes(&cluster.site.config(), |acknowledged| {
        for round in 0..kills {
            let pause = cluster.chance.random_range(50..600);
            thread::sleep(Duration::from_millis(pause));
            cluster.return_agents();
            let victim = cluster.victim(round);
            cluster.kill(victim);
            if (round + 1).is_multiple_of(50) {
                let (renewed, expired) = cluster.renewals();
                let objects = acknowledged.lock().unwrap().len();
                println!(
                    "torture: {} kills, {objects} objects, {renewed} renewals and {expired} of expired certificates",
                    round + 1
                );
            }
        }
        wait_until("agents that are back", || {
            cluster.return_agents();
            if cluster.back_at == [None; NODES] { Ok(()) } else { Err(format!("{:?}", cluster.back_at)) }
        });
    });

    let listed = cluster.site.ok(&["get", "cm", "-o", "name"], "");
    let kept: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "seed {seed}: {lost:?} of {}", acknowledged.len());
    assert!(!acknowledged.is_empty(), "nothing was written");
    cluster.wait_for_nodes();
    cluster.wait_for_pods();
    // In a short run nobody may have been up for long enough yet; each node renews within five seconds.
    let (renewed, expired) = wait_until("renewals of both kinds", || match cluster.renewals() {
        (renewed, expired) if renewed > 0 && expired > 0 => Ok((renewed, expired)),
        seen => Err(format!("seed {seed}: {seen:?}")),
    });

    // One coordinator; an agent and a runner on each node.
    leaks::wait_for_rest(&folder, 1 + 2 * NODES, sockets);
    println!(
        "torture: {} objects acknowledged, none lost; {renewed} certificates renewed in a session, {expired} after they expired, {} \
         renewals cut off at their last step; {} open files at most",
        acknowledged.len(),
        cluster.cut,
        leaks::most_open_files(&folder)
    );
}

/// Does something while objects are created, and answers which of them the coordinator acknowledged.
fn under_writes(config: &Path, act: impl FnOnce(&Mutex<BTreeSet<String>>)) -> BTreeSet<String> {
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let (stop, acknowledged) = (&stop, &acknowledged);
            scope.spawn(move || write(config, number, stop, acknowledged));
        }
        let _stop = StopOnDrop(&stop);
        act(&acknowledged);
    });
    acknowledged.into_inner().unwrap()
}

/// Ends the writers, also when the test has failed: they would write for ever, and it would never say so.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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

/// As short as they can be: a renewal every 2.5 to 4 s.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(5);

/// Among so many kills, one is of an agent within a renewal, and one lets a certificate expire.
const CERTIFICATE_ROUNDS: usize = 20;

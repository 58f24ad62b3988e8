//! A node with pods, what becomes of them, and what should.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::pods::{Name, Seen, SeenPod, look, manifest, task};
use crate::{
    cluster::{BINARY, wait_until, wait_within},
    registries::{node::config, programs::Registry},
    site::{Machine, Site},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Cluster {
    // The agent ends before its coordinator.
    machine: Machine,
    site: Site,
    registry: Registry,
    image: String,
    runtime: &'static str,
    /// Each pod's. None is ever replaced by another.
    uids: BTreeMap<String, String>,
    /// Those of pods that are gone, too.
    all_uids: Vec<String>,
    /// How often each container was restarted, at least and at most.
    restarts: BTreeMap<Name, (u64, u64)>,
    /// Waits that were ended by an order: of which container, after how many restarts.
    ended_waits: BTreeSet<(Name, u64)>,
    /// How many pods there were that do their work and end.
    tasks: usize,
    /// A command that runs in a container.
    exec: Option<Child>,
    /// What is in a volume.
    kept: String,
}

impl Cluster {
    pub(super) fn start(
        runtime: &'static str,
        (site, machine, registry, image): (Site, Machine, Registry, String),
    ) -> Self {
        let mut cluster = Self {
            machine,
            site,
            registry,
            image,
            runtime,
            uids: BTreeMap::new(),
            all_uids: Vec::new(),
            restarts: BTreeMap::new(),
            ended_waits: BTreeSet::new(),
            tasks: 0,
            exec: None,
            kept: String::new(),
        };
        cluster.apply(&manifest(&cluster.image));
        let pods = wait_until("pods that are well", || {
            let pods = cluster.pods();
            if pods.len() == PODS && pods.values().all(SeenPod::is_well) {
                return Ok(pods);
            }
            Err(format!("{pods:#?}\n{}", cluster.site.dunlin(&["describe", "pods"], "").stdout))
        });
        cluster.all_uids.extend(pods.values().map(|pod| pod.uid.clone()));
        cluster.uids = pods.into_iter().map(|(name, pod)| (name, pod.uid)).collect();
        cluster.kept = cluster.run_in("keeper", "main", &["cat", "/v/kept"]);
        cluster
    }

    /// Sees to a pod that is about to do its work, and to a command that runs.
    pub(super) fn prepare(&mut self) {
        let last = format!("task-{}", self.tasks);
        if self.uids.contains_key(&last) {
            let phase = self.site.ok(&["get", "pod", &last, "-o", "jsonpath={.status.phase}"], "");
            if phase == "Succeeded" {
                self.site.ok(&["delete", "pod", &last], "");
                self.uids.remove(&last);
            }
        }
        if !self.uids.contains_key(&last) {
            self.tasks += 1;
            let name = format!("task-{}", self.tasks);
            self.apply(&task(&name, &self.image));
            let uid = self.site.ok(&["get", "pod", &name, "-o", "jsonpath={.metadata.uid}"], "");
            self.all_uids.push(uid.clone());
            self.uids.insert(name.clone(), uid);
            self.site.wait_for(&["get", "pod", &name, "-o", "jsonpath={.status.phase}"], |phase| {
                phase == "Running" || phase == "Succeeded"
            });
        }
        if self.exec.as_mut().is_none_or(|exec| !matches!(exec.try_wait(), Ok(None))) {
            let mut command = Command::new(BINARY);
            command.args([
                "exec",
                "keeper",
                "-c",
                "side",
                "--",
                "sh",
                "-c",
                "while :; do echo x; sleep 0.05; done",
            ]);
            command.env("DUNLIN_CONFIG", self.site.config());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            self.exec = Some(command.spawn().unwrap());
        }
    }

    pub(super) fn pods(&self) -> BTreeMap<String, SeenPod> {
        look(&self.site)
    }

    pub(super) fn state(&self) -> &Path {
        &self.machine.state
    }

    pub(super) fn kill_agent(&mut self) {
        self.machine.kill_agent();
    }

    pub(super) fn start_agent(&mut self) {
        let file = config(&self.site, &self.registry);
        self.machine.start_agent(&["--runtime", self.runtime, "--config-file", &file]);
    }

    /// A container has to be restarted so many times more. One that does its work may be done just before.
    pub(super) fn owe(&mut self, pod: &str, container: &str, times: u64) {
        let least = if is_task(pod) { 0 } else { times };
        let restarts = self.restarts.entry((pod.to_owned(), container.to_owned())).or_default();
        *restarts = (restarts.0 + least, restarts.1 + times);
    }

    /// A container may be restarted so many times more.
    pub(super) fn allow(&mut self, pod: &str, container: &str, times: u64) {
        self.restarts.entry((pod.to_owned(), container.to_owned())).or_default().1 += times;
    }

    /// Waits until all pods are well, none of them is another one, and each container was restarted as often as it should.
    pub(super) fn converge(&mut self, what: &str) {
        let pods = wait_within(CONVERGED_MAX, &format!("convergence after {what}"), || {
            let pods = self.pods();
            let uids: BTreeMap<_, _> =
                pods.iter().map(|(name, pod)| (name.clone(), pod.uid.clone())).collect();
            assert_eq!(uids, self.uids, "{what}");
            let mut problems = Vec::new();
            for (pod, container, seen) in containers(&pods) {
                problems.extend(self.is_restarted(pod, container, seen, what).err());
                self.end_wait(pod, container, seen);
            }
            problems.extend(pods.iter().filter(|(_, pod)| !pod.is_well()).map(|one| format!("{one:?}")));
            if problems.is_empty() { Ok(pods) } else { Err(format!("{problems:#?}\n{}", self.machine.log())) }
        });
        for (pod, container, seen) in containers(&pods) {
            let restarts = self.restarts.entry((pod.to_owned(), container.to_owned())).or_default();
            // Of one that does its work it may not be told yet that it was restarted.
            let most = if is_task(pod) { restarts.1 } else { seen.restarts };
            *restarts = (seen.restarts, most);
        }
        assert_eq!(self.run_in("keeper", "main", &["cat", "/v/kept"]), self.kept, "{what}");
        let page = self.run_in("mixed", "linux", &["wget", "-qO-", "http://127.0.0.1:8080/"]);
        assert!(!page.is_empty(), "{what}");
    }

    /// Ends all pods and forgets their images; answers the uids of all that there ever were.
    pub(super) fn end_pods(&mut self) -> Vec<String> {
        self.site.ok(&["delete", "deployment", "web"], "");
        let pods = self.pods();
        let names: Vec<&str> =
            pods.keys().map(String::as_str).filter(|name| !name.starts_with("web-")).collect();
        self.site.ok(&[&["delete", "pod"], names.as_slice()].concat(), "");
        self.site.wait_for(&["get", "pods", "-o", "name"], |names| names.trim().is_empty());
        self.end_exec();
        let state = self.state().to_str().unwrap().to_owned();
        let images = self.site.ok(&["image", "ls", "-o", "json", "--state", &state], "");
        let images: Value = serde_json::from_str(&images).unwrap();
        for image in images["images"].as_array().unwrap() {
            self.site.ok(&["image", "rm", image["digest"].as_str().unwrap(), "--state", &state], "");
        }
        self.all_uids.clone()
    }

    /// Ends the node as systemd would.
    pub(super) fn end(mut self) {
        self.machine.stop_agent();
    }

    fn apply(&self, manifest: &str) {
        self.site.ok(&["apply", "-f", "-"], manifest);
    }

    /// Runs a command in a container, as soon as there is a way to it.
    fn run_in(&self, pod: &str, container: &str, words: &[&str]) -> String {
        wait_until(&format!("answer of {words:?} in {container} of {pod}"), || {
            let answer = self.site.dunlin(&[&["exec", pod, "-c", container, "--"], words].concat(), "");
            if answer.code == 0 {
                Ok(answer.stdout)
            } else {
                Err(format!("{answer:?}\n{}", self.machine.log()))
            }
        })
    }

    fn is_restarted(&self, pod: &str, container: &str, seen: &Seen, what: &str) -> Result<(), String> {
        let name = (pod.to_owned(), container.to_owned());
        let (least, most) = self.restarts.get(&name).copied().unwrap_or_default();
        let said =
            format!("{container} of {pod} was restarted {} times, not {least} to {most}", seen.restarts);
        let described = || self.site.dunlin(&["describe", "pod", pod], "").stdout;
        assert!(seen.restarts <= most, "{said}, after {what}\n{}\n{}", described(), self.machine.log());
        if seen.restarts < least { Err(said) } else { Ok(()) }
    }

    /// After many kills a container waits for up to five minutes. What is left of a wait that is nearly over is waited for: an order
    /// could come too late then, and be one more restart.
    fn end_wait(&mut self, pod: &str, container: &str, seen: &Seen) {
        let wait = ((pod.to_owned(), container.to_owned()), seen.restarts);
        let is_long = seen.retry_at.is_some_and(|at| at > Timestamp::now() + SignedDuration::from_secs(2));
        if is_long && !self.ended_waits.contains(&wait) {
            let state = self.state().to_str().unwrap().to_owned();
            // Its agent may not be back yet.
            if self.site.dunlin(&["local", "restart", pod, container, "--state", &state], "").code == 0 {
                self.ended_waits.insert(wait);
            }
        }
    }

    fn end_exec(&mut self) {
        if let Some(mut exec) = self.exec.take() {
            // It may have ended by itself.
            let _ = exec.kill();
            let _ = exec.wait();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end_exec();
    }
}

/// Whether a pod does its work and ends.
fn is_task(pod: &str) -> bool {
    pod.starts_with("task-")
}

/// All containers, with the names of their pods and their own.
fn containers(pods: &BTreeMap<String, SeenPod>) -> Vec<(&str, &str, &Seen)> {
    let mut all = Vec::new();
    for (name, pod) in pods {
        all.extend(pod.containers.iter().map(|(container, seen)| (name.as_str(), container.as_str(), seen)));
    }
    all
}

/// Without the one that does its work.
const PODS: usize = 4;

/// Far beyond what it takes when no wait is long.
const CONVERGED_MAX: Duration = Duration::from_secs(90);

//! A machine that runs short of something, and one that goes down.

use dunlin_link::{
    Bytes, Digest,
    pod::Resources,
    resources::{DiskResources, PodResources},
    status::PodPhase,
    usage::ContainerUsage,
    volumes::Medium,
};

use super::{
    super::{DiskUsage, Look, VolumeUsage},
    harness::{Node, assignment, uid},
};
use crate::{
    pressure::{DiskAccess, Level, Signals},
    sandbox::ExitCause,
};

const GIB: u64 = 1 << 30;

fn short_of_memory() -> Signals {
    Signals { memory: Level { available: 50 << 20, total: 4 * GIB }, ..Signals::default() }
}

fn well() -> Signals {
    Signals { memory: Level { available: GIB, total: 4 * GIB }, ..Signals::default() }
}

fn used(pod: &str, bytes: u64) -> ContainerUsage {
    ContainerUsage { uid: uid(pod), container: "c".to_owned(), attempt: 0, cpu_us: 0, memory: Bytes(bytes) }
}

fn on_disk(pod: &str, container: &str, bytes: u64) -> DiskUsage {
    DiskUsage { uid: uid(pod), container: container.to_owned(), bytes }
}

impl Node {
    fn look(&mut self, signals: Signals, memory: Vec<ContainerUsage>) {
        self.core.handle_look(Look { signals, memory, ..Look::default() }, self.now);
        self.carry();
        self.write_all();
    }

    fn reason(&self, pod: &str) -> String {
        self.report(pod).map(|report| report.reason.clone()).unwrap_or_default()
    }
}

fn with_request(name: &str, request: u64, priority: i32) -> dunlin_link::pod::PodAssignment {
    let mut pod = assignment(name);
    pod.spec.containers[0].resources =
        Resources { memory_request: Some(Bytes(request)), ..Resources::default() };
    pod.care.priority = priority;
    pod
}

#[test]
fn a_machine_short_of_memory_ends_one_pod_after_the_other_in_the_kubelets_order() {
    let mut node = Node::new();
    let pods = [
        with_request("within", 300 << 20, -5),
        with_request("vital", 0, 2_000_000_000),
        with_request("low", 10 << 20, -1),
        with_request("over", 10 << 20, 0),
        with_request("far-over", 10 << 20, 0),
    ];
    node.make(|change| pods.iter().fold(change, |change, pod| change.assign_pod(pod.clone())));
    let usage = || {
        vec![
            used("within", 200 << 20),
            used("vital", 500 << 20),
            used("low", 20 << 20),
            used("over", 20 << 20),
            used("far-over", 40 << 20),
        ]
    };
    node.look(well(), Vec::new());
    assert!(!node.state.clone().unwrap().memory_pressure);
    assert_eq!(node.running().len(), 5);
    let mut gone = Vec::new();
    for _ in 0..6 {
        node.look(short_of_memory(), usage());
        node.settle_for(1_500);
        let names = ["within", "vital", "low", "over", "far-over"];
        let fresh: Vec<_> =
            names.into_iter().filter(|name| node.reason(name) == "Evicted" && !gone.contains(name)).collect();
        assert!(fresh.len() <= 1, "{fresh:?}");
        gone.extend(fresh);
    }
    // Those above their requests first, of them the least important, then the greediest; a critical one never.
    assert_eq!(gone, ["low", "far-over", "over", "within"]);
    assert_eq!(node.running(), ["vital"]);
    let report = node.report("far-over").unwrap();
    assert_eq!(report.phase, PodPhase::Failed);
    assert_eq!(
        report.message,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 40Mi, request is 10Mi, \
         has larger consumption of memory. "
    );
    assert!(node.state.clone().unwrap().memory_pressure);
    let events: Vec<_> = node.events.iter().map(|event| event.reason.as_str()).collect();
    assert!(events.contains(&"NodeHasInsufficientMemory") && events.contains(&"Evicted"), "{events:?}");
    // They have failed for good.
    node.crash();
    node.settle_for(2_000);
    assert_eq!((node.running(), node.reason("low")), (vec!["vital"], "Evicted".to_owned()));
}

#[test]
fn a_node_under_pressure_takes_only_what_it_can_spare() {
    let mut node = Node::new();
    node.look(short_of_memory(), Vec::new());
    let best_effort = assignment("greedy");
    let mut tolerant = assignment("tolerant");
    tolerant.care.tolerates_memory_pressure = true;
    node.make(|change| {
        change
            .assign_pod(best_effort.clone())
            .assign_pod(tolerant.clone())
            .assign_pod(with_request("asks", 1, 0))
    });
    assert_eq!(node.running(), ["asks", "tolerant"]);
    let report = node.report("greedy").unwrap();
    assert_eq!(report.reason, "Evicted");
    assert_eq!(report.message, "Pod was rejected: The node had condition: [MemoryPressure]. ");
    // Five minutes later all are welcome.
    node.settle_for(301_000);
    node.look(well(), Vec::new());
    assert!(!node.state.clone().unwrap().memory_pressure);
    node.make(|change| change.assign("late"));
    assert!(node.running().contains(&"late"));
}

#[test]
fn a_full_disk_takes_back_what_nobody_needs_and_the_logs_of_what_it_ended() {
    let mut node = Node::new();
    node.make(|change| change.assign("a").assign("b"));
    let signals = Signals { disk: Level { available: 1 << 20, total: 4 * GIB }, ..Signals::default() };
    let logs = vec![on_disk("a", "c", 5), on_disk("b", "c", 50)];
    node.core.handle_look(Look { signals, logs: logs.clone(), ..Look::default() }, node.now);
    node.carry();
    node.settle_for(1_500);
    assert_eq!((node.running(), node.reason("b")), (vec!["a"], "Evicted".to_owned()));
    assert!(node.state.clone().unwrap().disk_pressure);
    node.core.handle_look(Look { signals: well(), logs, ..Look::default() }, node.now);
    node.carry();
    assert_eq!(node.dropped_logs, ["b"]);
}

#[test]
fn a_disk_that_modules_fill_gets_rid_of_them_before_a_pod_has_to_go() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    let signals = Signals { disk: Level { available: 1 << 20, total: 4 * GIB }, ..Signals::default() };
    let modules = vec![(Digest::of(b"nobody's"), GIB)];
    let full = Look { signals, logs: vec![on_disk("a", "c", 5)], modules, ..Look::default() };
    node.core.handle_look(full.clone(), node.now);
    node.carry();
    assert_eq!(node.running(), ["a"]);
    let events: Vec<_> = node.events.iter().map(|event| event.message.as_str()).collect();
    assert!(events.contains(&"Attempting to reclaim ephemeral-storage"), "{events:?}");
    // They are there still: it is their turn no more.
    node.core.handle_look(full, node.now);
    node.carry();
    node.settle_for(1_500);
    assert_eq!((node.running().len(), node.reason("a")), (0, "Evicted".to_owned()));
}

#[test]
fn a_disk_that_takes_no_writes_ends_no_pod_and_keeps_others_away() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    let signals = Signals { disk_access: DiskAccess::ReadOnly, ..well() };
    for _ in 0..2 {
        node.core.handle_look(Look { signals, ..Look::default() }, node.now);
        node.carry();
        node.settle_for(1_500);
    }
    assert_eq!((node.running(), node.state.clone().unwrap().disk_pressure), (vec!["a"], true));
    let told = |reason: &str, node: &Node| node.events.iter().filter(|event| event.reason == reason).count();
    assert_eq!((told("FilesystemIsReadOnly", &node), told("NodeHasDiskPressure", &node)), (1, 1));
    node.make(|change| change.assign("b"));
    assert_eq!((node.running(), node.reason("b")), (vec!["a"], "Evicted".to_owned()));
    node.settle_for(301_000);
    node.look(well(), Vec::new());
    assert!(!node.state.clone().unwrap().disk_pressure);
    assert_eq!(told("FilesystemIsNotReadOnly", &node), 1);
}

#[test]
fn a_machine_that_goes_down_ends_its_pods_in_order_and_takes_no_more() {
    let mut node = Node::new();
    node.make(|change| {
        change.assign("a").assign_once("done").assign_pod(with_request("vital", 0, 2_000_000_000))
    });
    node.exit("done", ExitCause::Code(0));
    node.settle_for(1_500);
    node.core.handle_node_shutdown(30_000, 10_000, node.now);
    node.carry();
    node.settle_for(2_000);
    assert!(node.core.is_shut_down(node.now) && node.running().is_empty());
    for pod in ["a", "vital"] {
        let report = node.report(pod).unwrap();
        assert_eq!((report.phase, report.reason.as_str()), (PodPhase::Failed, "Terminated"), "{pod}");
        assert_eq!(report.message, "Pod was terminated in response to imminent node shutdown.");
    }
    assert_eq!(node.report("done").unwrap().phase, PodPhase::Succeeded);
    assert!(node.state.clone().unwrap().shutting_down);
    node.make(|change| change.assign("late"));
    assert_eq!(node.reason("late"), "NodeShutdown");
    // The machine is on again: what failed has failed, and new pods are taken.
    node.crash();
    node.make(|change| change.assign("new"));
    assert_eq!((node.running(), node.reason("a")), (vec!["new"], "Terminated".to_owned()));
}

#[test]
fn a_pod_that_takes_more_of_the_disk_than_it_may_is_ended() {
    let limited = |name: &str, limit: u64| {
        let mut pod = assignment(name);
        let mut beside = pod.spec.containers[0].clone();
        beside.name = "d".to_owned();
        pod.spec.containers.push(beside);
        let one = |limit| DiskResources { request: None, limit };
        let disk = vec![one(Some(Bytes(limit))), one(Some(Bytes(1 << 20)))];
        pod.resources = Some(Box::new(PodResources { disk, ..PodResources::default() }));
        pod
    };
    let mut node = Node::new();
    assert!(!node.core.wants_usages(&well(), node.now));
    let pods = [
        limited("logs", 1 << 20),
        limited("layer", 1 << 20),
        limited("volume", 2 << 20),
        limited("within", 1 << 20),
    ];
    node.make(|change| pods.iter().fold(change, |change, pod| change.assign_pod(pod.clone())));
    assert!(node.core.wants_usages(&well(), node.now));
    let id = node.container_id("layer", "d");
    let volume =
        |pod: &str, medium, bytes| VolumeUsage { uid: uid(pod), volume: "v".to_owned(), medium, bytes };
    let look = Look {
        signals: well(),
        logs: vec![
            on_disk("logs", "c", (1 << 20) + 1),
            on_disk("layer", "d", 1 << 19),
            on_disk("within", "c", 1 << 20),
        ],
        layers: vec![on_disk("layer", &id, (1 << 19) + 1), on_disk("within", "of an earlier run", 9 << 20)],
        volumes: vec![
            volume("volume", Medium::Disk, (3 << 20) + 1),
            volume("within", Medium::Memory, 9 << 20),
        ],
        ..Look::default()
    };
    node.core.handle_look(look, node.now);
    node.carry();
    node.settle_for(1_500);
    let message = |node: &Node, pod: &str| node.report(pod).unwrap().message.clone();
    for (pod, expected) in [
        ("logs", "Container c exceeded its local ephemeral storage limit \"1Mi\". "),
        ("layer", "Container d exceeded its local ephemeral storage limit \"1Mi\". "),
        ("volume", "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. "),
    ] {
        assert_eq!((node.reason(pod), message(&node, pod)), ("Evicted".to_owned(), expected.to_owned()));
    }
    assert_eq!(node.reason("within"), "");
}

//! Refusals in the kubelet's words.

use dunlin_link::{
    Bytes, MilliCpu,
    linux::{ContainerLinux, PodLinux},
    pod::{ContainerPort, Protocol},
    resources::{DiskResources, PodResources},
    status::NodeResources,
};

use super::*;
use crate::pod::fixture::{container, pod};

fn sized(cpu: u64, memory: u64) -> PodAssignment {
    let mut subject = container("c");
    subject.resources.cpu_request = Some(MilliCpu(cpu));
    subject.resources.memory_request = Some(Bytes(memory));
    pod(vec![subject])
}

fn node(allocatable: NodeResources) -> NodeFacts {
    let huge_pages = vec![(Bytes(2 << 20), Bytes(8 << 20))];
    NodeFacts { allocatable, huge_pages, ..NodeFacts::default() }
}

#[test]
fn counts_large_pages_and_what_the_pod_says_for_all() {
    let node = node(NodeResources { cpu: MilliCpu(1000), pods: 9, ..NodeResources::default() });
    let of_containers = |megabytes: u64| {
        let mut subject = sized(0, 0);
        let huge_pages = vec![(Bytes(2 << 20), Bytes(megabytes << 20))];
        let containers = vec![ContainerLinux { huge_pages, ..ContainerLinux::default() }];
        subject.linux = Some(Box::new(PodLinux { containers, ..PodLinux::default() }));
        subject
    };
    let admit = |usage: &Usage, subject: &PodAssignment| {
        usage.admit(subject, &node, &AllowedSysctls::default()).map_err(|refusal| refusal.message)
    };
    let mut usage = Usage::default();
    usage.add(&of_containers(4));
    assert_eq!(admit(&usage, &of_containers(4)), Ok(()));
    let words = "Node didn't have enough resource: hugepages-2Mi, requested: 6291456, used: 4194304, capacity: 8388608";
    assert_eq!(admit(&usage, &of_containers(6)), Err(words.to_owned()));
    let mut own = of_containers(2);
    let mut resources =
        PodResources { huge_pages: vec![(Bytes(2 << 20), Bytes(6 << 20))], ..PodResources::default() };
    own.resources = Some(Box::new(resources.clone()));
    assert_eq!(admit(&usage, &own), Err(words.to_owned()));
    // Of a size that the machine does not keep there is none.
    resources.huge_pages = vec![(Bytes(1 << 30), Bytes(1 << 30))];
    own.resources = Some(Box::new(resources));
    assert!(
        admit(&usage, &own)
            .unwrap_err()
            .contains("hugepages-1Gi, requested: 1073741824, used: 0, capacity: 0")
    );

    let mut writes = sized(0, 0);
    let disk = vec![DiskResources { request: Some(Bytes(7)), limit: None }];
    writes.resources = Some(Box::new(PodResources { disk, ..PodResources::default() }));
    assert!(
        admit(&usage, &writes).unwrap_err().contains("ephemeral-storage, requested: 7, used: 0, capacity: 0")
    );

    let mut own = sized(100, 0);
    let pod = Resources { cpu_request: Some(MilliCpu(1001)), ..Resources::default() };
    own.resources = Some(Box::new(PodResources { pod, ..PodResources::default() }));
    assert!(admit(&usage, &own).unwrap_err().contains("cpu, requested: 1001"));
}

#[test]
fn refuses_what_does_not_fit() {
    let node =
        node(NodeResources { cpu: MilliCpu(1000), memory: Bytes(100), pods: 2, ..NodeResources::default() });
    let mut usage = Usage::default();
    usage.add(&sized(600, 60));
    let check = |usage: &Usage, assignment: &PodAssignment, expected: &str| {
        let verdict = usage.admit(assignment, &node, &AllowedSysctls::default());
        let text = verdict
            .map_or_else(|refusal| format!("{}: {}", refusal.reason, refusal.message), |()| String::new());
        assert_eq!(text, expected);
    };
    check(&usage, &sized(400, 40), "");
    let cpu = "OutOfcpu: Node didn't have enough resource: cpu, requested: 401, used: 600, capacity: 1000";
    check(&usage, &sized(401, 0), cpu);
    let memory =
        "OutOfmemory: Node didn't have enough resource: memory, requested: 41, used: 60, capacity: 100";
    check(&usage, &sized(0, 41), memory);
    usage.add(&sized(0, 0));
    let pods = "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2";
    check(&usage, &sized(0, 0), pods);
}

#[test]
fn counts_init_containers_and_sidecars_as_the_scheduler_does() {
    let with = |name: &str, cpu: u64, sidecar: bool| {
        let mut subject = container(name);
        (subject.resources.cpu_request, subject.sidecar) = (Some(MilliCpu(cpu)), sidecar);
        subject
    };
    let mut assignment = pod(vec![with("a", 100, false), with("b", 50, false)]);
    assignment.spec.init_containers = vec![with("s", 30, true), with("i", 140, false)];
    assert_eq!(Need::of(&assignment).cpu_milli, 180);
    assignment.spec.init_containers[1] = with("i", 10, false);
    assert_eq!(Need::of(&assignment).cpu_milli, 180);
    assignment.spec.init_containers[0] = with("s", 31, true);
    assert_eq!(Need::of(&assignment).cpu_milli, 181);
}

#[test]
fn refuses_taken_host_ports() {
    let node = node(NodeResources { pods: 10, ..NodeResources::default() });
    let mut subject = container("c");
    subject.ports = vec![ContainerPort {
        name: String::new(),
        container_port: 80,
        host_port: Some(8080),
        protocol: Protocol::Tcp,
    }];
    let assignment = pod(vec![subject]);
    let mut usage = Usage::default();
    assert!(usage.admit(&assignment, &node, &AllowedSysctls::default()).is_ok());
    usage.add(&assignment);
    assert_eq!(usage.admit(&assignment, &node, &AllowedSysctls::default()).unwrap_err().reason, "NodePorts");
}

#[test]
fn refuses_sysctls_that_not_every_pod_may_set() {
    let node = node(NodeResources { pods: 10, ..NodeResources::default() });
    let admit = |name: &str| {
        let mut subject = pod(vec![container("c")]);
        let sysctls = vec![(name.to_owned(), "1".to_owned())];
        subject.linux = Some(Box::new(PodLinux { sysctls, ..PodLinux::default() }));
        Usage::default()
            .admit(&subject, &node, &AllowedSysctls::default())
            .map_err(|refusal| (refusal.reason, refusal.message))
    };
    assert_eq!(admit("net.ipv4.ip_unprivileged_port_start"), Ok(()));
    assert_eq!(admit("net/ipv4/tcp_syncookies"), Ok(()));
    let (reason, message) = admit("net.core.somaxconn").unwrap_err();
    assert_eq!(reason, "SysctlForbidden");
    assert_eq!(message, "forbidden sysctl: \"net.core.somaxconn\" not allowlisted");
}

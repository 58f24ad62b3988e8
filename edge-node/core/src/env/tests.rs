//! Environments as Kubernetes puts them together.

use dunlin_link::{
    Bytes, MilliCpu,
    linux::{ContainerLinux, PodLinux},
    pod::{ConfigRef, EnvVar, Resources},
    resources::{DiskResources, PodResources},
};

use super::*;
use crate::{
    address::{Loopback, OwnNetwork, PodSlot},
    pod::fixture::{container, pod},
};

fn literal(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: EnvValue::Literal(value.to_owned()) }
}

fn key(kind: ConfigKind, name: &str, key: &str) -> EnvValue {
    EnvValue::Key { kind, name: name.to_owned(), key: key.to_owned(), optional: false }
}

fn config_map() -> ConfigObject {
    ConfigObject {
        kind: ConfigKind::ConfigMap,
        data: vec![("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec()), ("bin".into(), vec![0xff])],
    }
}

/// What `env` of a container resolves to, as `NAME=VALUE` lines, or the error.
fn resolved(env: Vec<EnvVar>, env_from: Vec<EnvFrom>) -> String {
    let mut subject = container("c");
    (subject.env, subject.env_from) = (env, env_from);
    subject.resources.memory_limit = Some(Bytes(64 << 20));
    subject.resources.cpu_request = Some(MilliCpu(250));
    let mut assignment = pod(vec![subject.clone()]);
    let object = Arc::new(config_map());
    let digest = Digest::of(b"cm");
    let entry = |kind, name: &str, digest| ConfigRef { kind, name: name.to_owned(), digest };
    assignment.config =
        vec![entry(ConfigKind::ConfigMap, "cm", Some(digest)), entry(ConfigKind::Secret, "gone", None)];
    let objects =
        |wanted: &Digest| if *wanted == digest { Ok(Arc::clone(&object)) } else { Err(NoContent::Absent) };
    let around = Surroundings {
        node_name: "n1",
        host_name: "machine",
        host_ip: "192.0.2.1",
        pod_ip: "10.42.0.1",
        allocatable: NodeResources { cpu: MilliCpu(2000), ..NodeResources::default() },
        capacity: NodeResources { memory: Bytes(2 << 30), ..NodeResources::default() },
        mounts_read_only_recursively: false,
        se_linux: false,
        api: None,
        objects: &objects,
        tokens: &|_| None,
    };
    match resolve(&assignment, &subject, &around) {
        Ok(list) => {
            let lines: Vec<_> = list.iter().map(|(name, value)| format!("{name}={value}")).collect();
            lines.join(" ")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_pod_is_told_the_address_that_it_reaches() {
    let loopback = Loopback { octet: 42, first_port: 1024 };
    let everywhere = ApiAddress::new("hub.example", 6443);
    let api =
        ApiAddress { host_from_networks: Some("10.42.1.0".to_owned()), ..ApiAddress::new("127.0.0.1", 7) };
    let own = Some(OwnNetwork::default());
    for (slot, own, expected) in [
        (Some(PodSlot(257)), own, "10.42.1.0"),
        (Some(PodSlot(257)), None, "127.0.0.1"),
        (None, own, "127.0.0.1"),
        (None, None, "127.0.0.1"),
    ] {
        let address = PodAddress { slot, loopback, own };
        assert_eq!(api.seen_from(&address), ApiAddress::new(expected, 7));
        assert_eq!(everywhere.seen_from(&address), everywhere);
    }
}

#[test]
fn a_container_knows_its_host_and_where_the_api_is() {
    let api = ApiAddress::new("hub.example", 6443);
    let seen = |host_network| {
        let subject = container("c");
        let mut assignment = pod(vec![subject.clone()]);
        assignment.spec.host_network = host_network;
        let around = Surroundings {
            node_name: "n1",
            host_name: "machine",
            host_ip: "192.0.2.1",
            pod_ip: "10.42.0.1",
            allocatable: NodeResources::default(),
            capacity: NodeResources::default(),
            mounts_read_only_recursively: false,
            se_linux: false,
            api: Some(&api),
            objects: &|_| Err(NoContent::Absent),
            tokens: &|_| None,
        };
        let all = with_host_name(&assignment, resolve(&assignment, &subject, &around).unwrap(), &around);
        let lines: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.join(" ")
    };
    let api =
        "KUBERNETES_SERVICE_HOST=hub.example KUBERNETES_SERVICE_PORT=6443 KUBERNETES_SERVICE_PORT_HTTPS=6443";
    assert_eq!(seen(false), format!("HOSTNAME=p {api}"));
    assert_eq!(seen(true), format!("HOSTNAME=machine {api}"));
}

#[test]
fn values_expand_earlier_ones_and_later_ones_win() {
    let env = vec![literal("A", "1"), literal("B", "$(A)$(C)$$(A)"), literal("A", "2"), literal("C", "$(A)")];
    assert_eq!(resolved(env, vec![]), "A=2 B=1$(C)$(A) C=2");
}

#[test]
fn the_host_s_name_is_expanded_only_where_the_pod_says_it() {
    assert_eq!(resolved(vec![literal("A", "$(HOSTNAME)")], vec![]), "A=$(HOSTNAME)");
    let own = vec![literal("HOSTNAME", "h"), literal("A", "$(HOSTNAME)")];
    assert_eq!(resolved(own, vec![]), "HOSTNAME=h A=h");
}

#[test]
fn what_a_container_may_use_is_what_its_pod_may_where_it_does_not_say() {
    let mut assignment = pod(vec![container("c")]);
    let value = |assignment: &PodAssignment, resource: &str| {
        let around = Surroundings {
            node_name: "n1",
            host_name: "machine",
            host_ip: "192.0.2.1",
            pod_ip: "10.42.0.1",
            allocatable: NodeResources { ephemeral_storage: Bytes(9), ..NodeResources::default() },
            capacity: NodeResources::default(),
            mounts_read_only_recursively: false,
            se_linux: false,
            api: None,
            objects: &|_| Err(NoContent::Absent),
            tokens: &|_| None,
        };
        resource_value(assignment, "c", (resource, 1000), &around).unwrap()
    };
    assert_eq!(value(&assignment, "limits.ephemeral-storage"), "9");
    let own =
        Resources { cpu_limit: Some(MilliCpu(3000)), memory_limit: Some(Bytes(7)), ..Resources::default() };
    let disk = vec![DiskResources { request: Some(Bytes(4)), limit: Some(Bytes(5)) }];
    assignment.resources = Some(Box::new(PodResources { pod: own, disk, ..PodResources::default() }));
    let says =
        ContainerLinux { huge_pages: vec![(Bytes(2 << 20), Bytes(4 << 20))], ..ContainerLinux::default() };
    assignment.linux = Some(Box::new(PodLinux { containers: vec![says], ..PodLinux::default() }));
    let asked = [
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.ephemeral-storage",
        "requests.hugepages-2Mi",
        "limits.hugepages-1Gi",
    ];
    assert_eq!(asked.map(|asked| value(&assignment, asked)), ["3", "7", "5", "4", "4194304", "0"]);
    assignment.spec.containers[0].resources.memory_limit = Some(Bytes(6));
    assert_eq!(value(&assignment, "limits.memory"), "6");
}

#[test]
fn references_resolve_or_fail_in_the_kubelets_words() {
    let check = |value: EnvValue, expected: &str| {
        assert_eq!(resolved(vec![EnvVar { name: "X".into(), value }], vec![]), expected);
    };
    let field = |path: &str| EnvValue::Field(path.to_owned());
    let resource = |resource: &str, divisor_milli| EnvValue::Resource {
        container: String::new(),
        resource: resource.to_owned(),
        divisor_milli,
    };
    check(field("metadata.name"), "X=p");
    check(field("spec.nodeName"), "X=n1");
    check(field("status.podIP"), "X=10.42.0.1");
    check(field("metadata.labels['app']"), "X=web");
    check(field("metadata.labels['none']"), "X=");
    check(field("spec.priority"), "unsupported fieldPath: spec.priority");
    check(resource("limits.memory", 1 << 20 << 10), "X=63");
    check(resource("limits.memory", 1000 << 20), "X=64");
    check(resource("requests.cpu", 1), "X=250");
    check(resource("requests.cpu", 1000), "X=1");
    check(resource("limits.cpu", 1000), "X=2");
    check(resource("limits.hugepages-2Mi", 1 << 20 << 10), "X=0");
    check(resource("limits.gpus", 1), "unsupported container resource : limits.gpus");
    check(key(ConfigKind::ConfigMap, "cm", "b"), "X=2");
    check(key(ConfigKind::ConfigMap, "cm", "zz"), "couldn't find key zz in ConfigMap ns/cm");
    check(key(ConfigKind::ConfigMap, "cm", "bin"), "couldn't find key bin in ConfigMap ns/cm");
    check(key(ConfigKind::ConfigMap, "none", "a"), "configmap \"none\" not found");
    check(key(ConfigKind::Secret, "gone", "a"), "secret \"gone\" not found");
    let optional =
        EnvValue::Key { kind: ConfigKind::Secret, name: "gone".into(), key: "a".into(), optional: true };
    check(optional, "");
}

#[test]
fn whole_objects_come_first_and_leave_binary_values_out() {
    let from = |name: &str, optional| EnvFrom {
        prefix: "P_".to_owned(),
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
        optional,
    };
    assert_eq!(resolved(vec![literal("Z", "$(P_a)")], vec![from("cm", false)]), "P_a=1 P_b=2 Z=1");
    assert_eq!(resolved(vec![], vec![from("none", true)]), "");
    assert_eq!(resolved(vec![], vec![from("none", false)]), "configmap \"none\" not found");
}

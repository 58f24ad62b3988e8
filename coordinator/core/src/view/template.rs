//! What scheduling depends on of a pod: the same for all pods that were made alike, so held once for all of them.

use std::net::IpAddr;

use dunlin_link::pod::Protocol;
use k8s_openapi::api::core::v1;

use super::{
    decode::{ContainerShape, PodSpecShape, ResourcesShape, VolumeShape},
    node::Effect,
    pod_affinity::{PodAffinity, SpreadConstraint},
};
use crate::amounts::{Amounts, ContainerRequest, pod_requests};

/// What scheduling depends on; equal for all replicas of a workload, so held once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTemplate {
    /// What the pod needs.
    pub requests: Amounts,
    /// CPU in thousandths, counting containers that request none as 100m; for scores only.
    pub assumed_cpu: u64,
    /// Memory in bytes, counting containers that request none as 200 MiB; for scores only.
    pub assumed_memory: u64,
    /// Ports on the node's own addresses.
    pub host_ports: Vec<HostPort>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// What is requested of the processor and of memory, by container.
    pub requested: Requested,
    /// Ports that containers which keep running give a name, in their order.
    pub named_ports: Vec<NamedPort>,
    /// `spec.nodeSelector`.
    pub node_selector: Vec<(String, String)>,
    /// Required node affinity: one of these terms must match. `None` means any node does.
    pub required: Option<Vec<NodeTerm>>,
    /// Preferred node affinity with weights.
    pub preferred: Vec<(i32, NodeTerm)>,
    /// Affinity to other pods; `None` when it says nothing of them.
    pub pod_affinity: Option<Box<PodAffinity>>,
    /// `spec.topologySpreadConstraints`.
    pub spread: Vec<SpreadConstraint>,
    /// Images of all containers, as nodes name them.
    pub images: Vec<String>,
    /// PersistentVolumeClaims that its volumes name.
    pub claims: Vec<PodClaim>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.priority`.
    pub priority: i32,
    /// False for `preemptionPolicy: Never`.
    pub preempts: bool,
    /// `spec.schedulerName`.
    pub scheduler_name: String,
}

/// A PersistentVolumeClaim that a pod needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PodClaim {
    /// Of this name.
    Named(String),
    /// Made for the pod from a template in its volume of this name; it is called by the pod's name and the volume's.
    Ephemeral(String),
}

/// A port on a node's own address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Port number.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// The one address it is taken on; `None` is all.
    pub address: Option<IpAddr>,
}

/// What a pod requests of the processor, in thousandths, and of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requested {
    /// For the pod as a whole.
    pub cpu_milli: Option<u64>,
    /// For the pod as a whole.
    pub memory: Option<u64>,
    /// For the containers that keep running.
    pub containers: Vec<RequestedByContainer>,
}

/// What one container requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestedByContainer {
    /// Its name.
    pub name: String,
    /// Thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// A port of a container that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedPort {
    /// `name`.
    pub name: String,
    /// `containerPort`.
    pub port: u16,
    /// `protocol`.
    pub protocol: String,
}

/// A node selector term: all requirements must hold. One without any matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeTerm {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On fields, of which there is one: `metadata.name`.
    pub fields: Vec<Requirement>,
}

/// A requirement on one label or field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Label or field.
    pub key: String,
    /// How it is compared; `None` for an operator unknown here, which matches nothing.
    pub operator: Option<Operator>,
    /// With what.
    pub values: Vec<String>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The value is one of those given.
    In,
    /// The value is none of those given, or there is none.
    NotIn,
    /// There is a value.
    Exists,
    /// There is no value.
    DoesNotExist,
    /// The value is a number greater than the one given.
    Gt,
    /// The value is a number less than the one given.
    Lt,
}

/// A toleration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// `key`; empty with `exists` tolerates every key.
    pub key: String,
    /// Whether any value is tolerated (`operator: Exists`).
    pub exists: bool,
    /// `value`, or empty.
    pub value: String,
    /// `effect`; `None` is every effect.
    pub effect: Option<Effect>,
    /// `tolerationSeconds`; `None` is for ever.
    pub seconds: Option<i64>,
}

impl PodTemplate {
    pub(super) fn of(spec: PodSpecShape) -> Self {
        let requests = requests(&spec, |amounts| amounts);
        let assumed = requests_or_assumed(&spec);
        let host_ports = host_ports(&spec);
        let named_ports = named_ports(&spec);
        let requested = Requested::of(&spec);
        let (required, preferred) = node_affinity(spec.affinity.node_affinity);
        let containers = spec.init_containers.iter().chain(&spec.containers);
        let images = containers.map(|container| normal_image(&container.image)).collect();
        let pod_affinity = PodAffinity::of(spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity);
        Self {
            requests,
            assumed_cpu: assumed.cpu.0,
            assumed_memory: assumed.memory.0,
            host_ports,
            host_network: spec.host_network,
            requested,
            named_ports,
            node_selector: spec.node_selector.into_iter().collect(),
            required,
            preferred,
            pod_affinity,
            spread: spec.topology_spread_constraints.into_iter().map(SpreadConstraint::of).collect(),
            images,
            claims: spec.volumes.into_iter().flatten().filter_map(PodClaim::of).collect(),
            tolerations: spec.tolerations.into_iter().map(Toleration::of).collect(),
            priority: spec.priority,
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            scheduler_name: spec.scheduler_name.unwrap_or_else(|| crate::scheduler::NAME.to_owned()),
        }
    }
}

impl Requested {
    fn of(spec: &PodSpecShape) -> Self {
        let (cpu_milli, memory) = of_both(&spec.resources);
        let sidecars = spec
            .init_containers
            .iter()
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers = spec.containers.iter().chain(sidecars).map(|container| {
            let (cpu_milli, memory) = of_both(&container.resources);
            RequestedByContainer { name: container.name.clone(), cpu_milli, memory }
        });
        Self { cpu_milli, memory, containers: containers.collect() }
    }
}

/// What is requested of the processor and of memory, where something is.
fn of_both(resources: &ResourcesShape) -> (Option<u64>, Option<u64>) {
    let amounts = Amounts::of(&resources.requests);
    let has = |name: &str| resources.requests.contains_key(name);
    (has("cpu").then_some(amounts.cpu.0), has("memory").then_some(amounts.memory.0))
}

impl Toleration {
    fn of(toleration: v1::Toleration) -> Self {
        Self {
            key: toleration.key.unwrap_or_default(),
            exists: toleration.operator.as_deref() == Some("Exists"),
            value: toleration.value.unwrap_or_default(),
            effect: toleration.effect.as_deref().and_then(Effect::parse),
            seconds: toleration.toleration_seconds,
        }
    }

    /// Whether this tolerates a taint.
    pub fn tolerates(&self, key: &str, value: &str, effect: Effect) -> bool {
        if self.effect.is_some_and(|own| own != effect) {
            return false;
        }
        if self.key.is_empty() {
            return self.exists;
        }
        self.key == key && (self.exists || self.value == value)
    }
}

impl PodClaim {
    /// What it is called, for a pod of this name.
    pub fn name(&self, pod: &str) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Ephemeral(volume) => format!("{pod}-{volume}"),
        }
    }

    fn of(volume: VolumeShape) -> Option<Self> {
        if let Some(claim) = volume.persistent_volume_claim {
            return Some(Self::Named(claim.claim_name));
        }
        volume.ephemeral.map(|_| Self::Ephemeral(volume.name))
    }
}

impl NodeTerm {
    pub(super) fn of(term: v1::NodeSelectorTerm) -> Self {
        let requirements = |list: Option<Vec<v1::NodeSelectorRequirement>>| {
            list.into_iter().flatten().map(Requirement::of).collect()
        };
        Self { labels: requirements(term.match_expressions), fields: requirements(term.match_fields) }
    }
}

impl Requirement {
    fn of(requirement: v1::NodeSelectorRequirement) -> Self {
        let operator = Operator::parse(&requirement.operator);
        Self { key: requirement.key, operator, values: requirement.values.unwrap_or_default() }
    }

    /// Whether it holds of this value, `None` being that there is none.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|listed| listed == value);
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = |accept: fn(&i64, &i64) -> bool| {
            let bound = self.values.first().and_then(|bound| number(bound));
            value.and_then(number).zip(bound).is_some_and(|(value, bound)| accept(&value, &bound))
        };
        match self.operator {
            Some(Operator::In) => value.is_some_and(listed),
            Some(Operator::NotIn) => !value.is_some_and(listed),
            Some(Operator::Exists) => value.is_some(),
            Some(Operator::DoesNotExist) => value.is_none(),
            Some(Operator::Gt) => compare(i64::gt),
            Some(Operator::Lt) => compare(i64::lt),
            None => false,
        }
    }
}

impl Operator {
    /// The operator that Kubernetes calls so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

/// Those of containers come before those of sidecars, as they are looked for.
fn named_ports(spec: &PodSpecShape) -> Vec<NamedPort> {
    let sidecars =
        spec.init_containers.iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    ports
        .filter(|port| !port.name.is_empty())
        .map(|port| NamedPort {
            name: port.name.clone(),
            port: port.container_port,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        })
        .collect()
}

fn node_affinity(affinity: Option<v1::NodeAffinity>) -> (Option<Vec<NodeTerm>>, Vec<(i32, NodeTerm)>) {
    let Some(affinity) = affinity else { return (None, Vec::new()) };
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .map(|selector| selector.node_selector_terms.into_iter().map(NodeTerm::of).collect());
    let preferred = affinity
        .preferred_during_scheduling_ignored_during_execution
        .into_iter()
        .flatten()
        .map(|term| (term.weight, NodeTerm::of(term.preference)))
        .collect();
    (required, preferred)
}

fn requests(spec: &PodSpecShape, adjust: impl Fn(Amounts) -> Amounts) -> Amounts {
    let each = |containers: &[ContainerShape]| -> Vec<ContainerRequest> {
        containers
            .iter()
            .map(|container| ContainerRequest {
                amounts: adjust(Amounts::of(&container.resources.requests)),
                sidecar: container.restart_policy.as_deref() == Some("Always"),
            })
            .collect()
    };
    let mut total = pod_requests(&each(&spec.init_containers), &each(&spec.containers));
    // Requests of the pod as a whole replace the sum of its containers, for the resources that they name.
    let pod = Amounts::of(&spec.resources.requests);
    if spec.resources.requests.contains_key("cpu") {
        total.cpu = pod.cpu;
    }
    if spec.resources.requests.contains_key("memory") {
        total.memory = pod.memory;
    }
    total.extended.extend(pod.extended);
    total.add(&Amounts::of(&spec.overhead));
    total
}

fn requests_or_assumed(spec: &PodSpecShape) -> Amounts {
    requests(spec, |mut amounts| {
        if amounts.cpu.0 == 0 {
            amounts.cpu.0 = ASSUMED_MILLI_CPU;
        }
        if amounts.memory.0 == 0 {
            amounts.memory.0 = ASSUMED_MEMORY_BYTES;
        }
        amounts
    })
}

fn host_ports(spec: &PodSpecShape) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports: Vec<HostPort> = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| &container.ports)
        .filter_map(|port| {
            let number = match port.host_port {
                // The API defaults this; manifests that reach us otherwise mean the same.
                0 if spec.host_network => port.container_port,
                0 => return None,
                number => number,
            };
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            let address = port.host_ip.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified());
            Some(HostPort { port: number, protocol, address })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

/// An image's name with the tag that it has when none is given, as nodes tell it.
fn normal_image(image: &str) -> String {
    let tagged = image.rfind(':') > image.rfind('/');
    if tagged || image.is_empty() { image.to_owned() } else { format!("{image}:latest") }
}

/// What Kubernetes assumes for scores of a container that requests no CPU.
const ASSUMED_MILLI_CPU: u64 = 100;

/// What Kubernetes assumes for scores of a container that requests no memory.
const ASSUMED_MEMORY_BYTES: u64 = 200 << 20;

//! What the view holds of a pod: its own few facts, and a template shared by all pods that were made alike.

use std::{net::IpAddr, sync::Arc};

use dunlin_link::{NodeName, PodUid, pod::Protocol};
use jiff::Timestamp;
use k8s_openapi::api::core::v1;

use super::{
    decode::{ContainerShape, DecodeError, PodShape, PodSpecShape},
    node::Effect,
};
use crate::amounts::{Amounts, ContainerRequest, pod_requests};

/// The parts of a pod that differ between pods of one template.
#[derive(Clone, Debug, PartialEq)]
pub struct PodInfo {
    /// `metadata.uid`.
    pub uid: PodUid,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Set once the pod is being deleted.
    pub deletion: Option<Deletion>,
    /// `spec.nodeName`, or the node that the scheduler chose and whose binding is under way.
    pub node: Option<NodeName>,
    /// Whether `node` is not stored yet.
    pub assumed: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// `status` of the condition `Ready` and its reason.
    pub ready: Option<(bool, String)>,
    /// Whether the condition `ContainersReady` is true.
    pub containers_ready: bool,
    /// Whether `PodScheduled` already says that scheduling gates hold the pod.
    pub marked_gated: bool,
    /// Whether `spec.schedulingGates` holds the pod back.
    pub gated: bool,
    /// The rest.
    pub template: Arc<PodTemplate>,
}

/// A pod's deletion, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`: when the grace period ends.
    pub at: Timestamp,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace_seconds: i64,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started, or the pod is not bound.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

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
    /// `spec.nodeSelector`.
    pub node_selector: Vec<(String, String)>,
    /// Required node affinity: one of these terms must match. `None` means any node does.
    pub required: Option<Vec<NodeTerm>>,
    /// Preferred node affinity with weights.
    pub preferred: Vec<(i32, NodeTerm)>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.priority`.
    pub priority: i32,
    /// False for `preemptionPolicy: Never`.
    pub preempts: bool,
    /// `spec.schedulerName`.
    pub scheduler_name: String,
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

impl PodInfo {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: PodShape = serde_json::from_slice(json)?;
        let condition = |kind: &str| shape.status.conditions.iter().find(|condition| condition.kind == kind);
        let grace_seconds = shape.metadata.deletion_grace_period_seconds.unwrap_or(0);
        Ok(Self {
            uid: PodUid::new(shape.metadata.uid),
            created: shape.metadata.creation_timestamp.unwrap_or_default(),
            deletion: shape.metadata.deletion_timestamp.map(|at| Deletion { at, grace_seconds }),
            node: (!shape.spec.node_name.is_empty()).then(|| NodeName::new(shape.spec.node_name.clone())),
            assumed: false,
            phase: Phase::parse(shape.status.phase.as_deref()),
            ready: condition("Ready").map(|ready| (ready.status == "True", ready.reason.clone())),
            containers_ready: condition("ContainersReady").is_some_and(|ready| ready.status == "True"),
            marked_gated: condition("PodScheduled")
                .is_some_and(|scheduled| scheduled.reason == crate::scheduler::REASON_GATED),
            gated: !shape.spec.scheduling_gates.is_empty(),
            template: Arc::new(PodTemplate::of(shape.spec)),
        })
    }

    /// Whether the scheduler of this name has to find a node for the pod.
    pub fn awaits_scheduling(&self, scheduler_name: &str) -> bool {
        self.node.is_none()
            && self.deletion.is_none()
            && !self.phase.finished()
            && self.template.scheduler_name == scheduler_name
    }
}

impl Phase {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            _ => Self::Pending,
        }
    }

    /// Whether no container of the pod will ever run again.
    pub const fn finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl PodTemplate {
    fn of(spec: PodSpecShape) -> Self {
        let requests = requests(&spec, |amounts| amounts);
        let assumed = requests_or_assumed(&spec);
        let host_ports = host_ports(&spec);
        let (required, preferred) = node_affinity(spec.affinity.node_affinity);
        Self {
            requests,
            assumed_cpu: assumed.cpu.0,
            assumed_memory: assumed.memory.0,
            host_ports,
            node_selector: spec.node_selector.into_iter().collect(),
            required,
            preferred,
            tolerations: spec.tolerations.into_iter().map(Toleration::of).collect(),
            priority: spec.priority,
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            scheduler_name: spec.scheduler_name.unwrap_or_else(|| crate::scheduler::NAME.to_owned()),
        }
    }
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

impl NodeTerm {
    fn of(term: v1::NodeSelectorTerm) -> Self {
        let requirements = |list: Option<Vec<v1::NodeSelectorRequirement>>| {
            list.into_iter().flatten().map(Requirement::of).collect()
        };
        Self { labels: requirements(term.match_expressions), fields: requirements(term.match_fields) }
    }
}

impl Requirement {
    fn of(requirement: v1::NodeSelectorRequirement) -> Self {
        let operator = match requirement.operator.as_str() {
            "In" => Some(Operator::In),
            "NotIn" => Some(Operator::NotIn),
            "Exists" => Some(Operator::Exists),
            "DoesNotExist" => Some(Operator::DoesNotExist),
            "Gt" => Some(Operator::Gt),
            "Lt" => Some(Operator::Lt),
            _ => None,
        };
        Self { key: requirement.key, operator, values: requirement.values.unwrap_or_default() }
    }
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

/// What Kubernetes assumes for scores of a container that requests no CPU.
const ASSUMED_MILLI_CPU: u64 = 100;

/// What Kubernetes assumes for scores of a container that requests no memory.
const ASSUMED_MEMORY_BYTES: u64 = 200 << 20;

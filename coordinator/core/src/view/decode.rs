//! The shapes in which the view reads stored JSON: only the fields that somebody looks at; serde skips the rest.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{NodeAffinity, PodAffinity, PodAntiAffinity, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use serde::Deserialize;

use super::NamespaceInfo;

/// Stored bytes that are not the object that their key says.
#[derive(Debug, thiserror::Error)]
#[error("failed to decode a stored object")]
pub struct DecodeError(#[from] serde_json::Error);

#[derive(Deserialize)]
pub(super) struct PodShape {
    pub(super) metadata: Meta,
    pub(super) spec: PodSpecShape,
    #[serde(default)]
    pub(super) status: PodStatusShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) finalizers: Vec<String>,
    #[serde(default)]
    pub(super) creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(super) deletion_grace_period_seconds: Option<i64>,
    #[serde(default)]
    pub(super) owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpecShape {
    #[serde(default)]
    pub(super) node_name: String,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) subdomain: String,
    #[serde(default)]
    pub(super) node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) affinity: AffinityShape,
    #[serde(default)]
    pub(super) topology_spread_constraints: Vec<TopologySpreadConstraint>,
    #[serde(default)]
    pub(super) volumes: Option<Vec<VolumeShape>>,
    #[serde(default)]
    pub(super) tolerations: Vec<Toleration>,
    #[serde(default)]
    pub(super) priority: i32,
    #[serde(default)]
    pub(super) preemption_policy: Option<String>,
    #[serde(default)]
    pub(super) scheduler_name: Option<String>,
    #[serde(default)]
    pub(super) scheduling_gates: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(super) host_network: bool,
    #[serde(default)]
    pub(super) overhead: BTreeMap<String, Quantity>,
    #[serde(default)]
    pub(super) resources: ResourcesShape,
    #[serde(default)]
    pub(super) init_containers: Vec<ContainerShape>,
    #[serde(default)]
    pub(super) containers: Vec<ContainerShape>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AffinityShape {
    #[serde(default)]
    pub(super) node_affinity: Option<NodeAffinity>,
    #[serde(default)]
    pub(super) pod_affinity: Option<PodAffinity>,
    #[serde(default)]
    pub(super) pod_anti_affinity: Option<PodAntiAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeShape {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) persistent_volume_claim: Option<ClaimNameShape>,
    #[serde(default)]
    pub(super) ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClaimNameShape {
    #[serde(default)]
    pub(super) claim_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerShape {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) image: String,
    #[serde(default)]
    pub(super) restart_policy: Option<String>,
    #[serde(default)]
    pub(super) resources: ResourcesShape,
    #[serde(default)]
    pub(super) ports: Vec<PortShape>,
}

#[derive(Default, Deserialize)]
pub(super) struct ResourcesShape {
    #[serde(default)]
    pub(super) requests: BTreeMap<String, Quantity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortShape {
    #[serde(default)]
    pub(super) name: String,
    pub(super) container_port: u16,
    #[serde(default)]
    pub(super) host_port: u16,
    #[serde(default, rename = "hostIP")]
    pub(super) host_ip: String,
    #[serde(default)]
    pub(super) protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatusShape {
    pub(super) phase: Option<String>,
    pub(super) start_time: Option<Timestamp>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: String,
    #[serde(rename = "podIPs")]
    pub(super) pod_ips: Vec<AddressShape>,
    pub(super) nominated_node_name: String,
    pub(super) conditions: Vec<ConditionShape>,
    pub(super) container_statuses: Vec<ContainerStatusShape>,
    pub(super) init_container_statuses: Vec<ContainerStatusShape>,
}

#[derive(Deserialize)]
pub(super) struct AddressShape {
    pub(super) ip: String,
}

impl PodStatusShape {
    /// Where the pod can be reached; what is no address is left out.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let listed = self.pod_ips.iter().filter_map(|address| address.ip.parse().ok());
        let mut addresses: Vec<IpAddr> = listed.collect();
        if addresses.is_empty() {
            addresses.extend(self.pod_ip.parse::<IpAddr>());
        }
        addresses
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatusShape {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) restart_count: u32,
    #[serde(default)]
    pub(super) state: ContainerStateShape,
}

#[derive(Default, Deserialize)]
pub(super) struct ContainerStateShape {
    #[serde(default)]
    pub(super) waiting: Option<WaitingShape>,
    #[serde(default)]
    pub(super) terminated: Option<TerminatedShape>,
}

#[derive(Deserialize)]
pub(super) struct WaitingShape {
    #[serde(default)]
    pub(super) reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TerminatedShape {
    #[serde(default)]
    pub(super) exit_code: i64,
    #[serde(default)]
    pub(super) finished_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionShape {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) last_transition_time: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct NodeShape {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) spec: NodeSpecShape,
    #[serde(default)]
    pub(super) status: NodeStatusShape,
}

#[derive(Default, Deserialize)]
pub(super) struct NodeSpecShape {
    #[serde(default)]
    pub(super) unschedulable: bool,
    #[serde(default)]
    pub(super) taints: Vec<TaintShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaintShape {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
    pub(super) effect: String,
    #[serde(default)]
    pub(super) time_added: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
pub(super) struct NodeStatusShape {
    #[serde(default)]
    pub(super) allocatable: BTreeMap<String, Quantity>,
    #[serde(default)]
    pub(super) conditions: Vec<ConditionShape>,
    #[serde(default)]
    pub(super) images: Vec<ImageShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageShape {
    #[serde(default)]
    pub(super) names: Vec<String>,
    #[serde(default)]
    pub(super) size_bytes: i64,
}

#[derive(Deserialize)]
struct NamespaceShape {
    metadata: Meta,
    #[serde(default)]
    spec: NamespaceSpecShape,
}

#[derive(Default, Deserialize)]
struct NamespaceSpecShape {
    #[serde(default)]
    finalizers: Vec<String>,
}

impl NamespaceInfo {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let shape: NamespaceShape = serde_json::from_slice(json)?;
        Ok(Self {
            uid: shape.metadata.uid,
            labels: shape.metadata.labels,
            deleting: shape.metadata.deletion_timestamp.is_some(),
            finalizer: shape.spec.finalizers.iter().any(|finalizer| finalizer == "kubernetes"),
        })
    }
}

//! What of a Service decides about its endpoints.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

use super::super::{
    DecodeError, Labels,
    workload::{Meta, MetaShape},
};

/// What is looked at of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `metadata`.
    pub meta: Meta,
    /// `spec.selector`; `None` leaves the endpoints to others.
    pub selector: Option<Labels>,
    /// Whether it only stands for a name (`type: ExternalName`).
    pub is_external: bool,
    /// Whether `clusterIP` is `None`.
    pub is_headless: bool,
    /// Whether it has an address of its own.
    pub has_address: bool,
    /// `spec.publishNotReadyAddresses`.
    pub publishes_unready: bool,
    /// `spec.ipFamilies`.
    pub families: Vec<Family>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.trafficDistribution`.
    pub distribution: Option<Distribution>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Family {
    /// `IPv4`.
    #[serde(rename = "IPv4")]
    V4,
    /// `IPv6`.
    #[serde(rename = "IPv6")]
    V6,
}

/// Whom clients of a Service should prefer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Those in the same zone.
    SameZone,
    /// Those on the same node, and then those in the same zone.
    SameNode,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`, or empty.
    pub name: String,
    /// `protocol`.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
    /// `targetPort`.
    pub target: TargetPort,
}

/// The port of a pod that a Service's port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// This one.
    Number(i32),
    /// The one that a container calls so.
    Name(String),
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Kubernetes' word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

#[derive(Deserialize)]
struct Shape {
    metadata: MetaShape,
    #[serde(default)]
    spec: SpecShape,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecShape {
    selector: Option<Labels>,
    r#type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    publish_not_ready_addresses: bool,
    ip_families: Vec<Family>,
    ports: Vec<PortShape>,
    traffic_distribution: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortShape {
    #[serde(default)]
    name: String,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    app_protocol: Option<String>,
    port: i32,
    #[serde(default)]
    target_port: Option<IntOrString>,
}

impl Service {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let Shape { metadata, spec } = serde_json::from_slice(json)?;
        let is_headless = spec.cluster_ip == NO_ADDRESS;
        let families = families(&spec);
        Ok(Self {
            meta: metadata.into(),
            selector: spec.selector.filter(|selector| !selector.is_empty()),
            is_external: spec.r#type == "ExternalName",
            is_headless,
            has_address: !is_headless && !spec.cluster_ip.is_empty(),
            publishes_unready: spec.publish_not_ready_addresses,
            families,
            ports: spec.ports.into_iter().map(ServicePort::of).collect(),
            distribution: spec.traffic_distribution.as_deref().and_then(Distribution::parse),
        })
    }

    /// Whether pods with these labels are behind it.
    pub fn selects(&self, labels: &Labels) -> bool {
        let holds = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.selector.as_ref().is_some_and(|selector| selector.iter().all(holds))
    }
}

impl ServicePort {
    fn of(shape: PortShape) -> Self {
        Self {
            name: shape.name,
            protocol: shape.protocol.unwrap_or_else(|| TCP.to_owned()),
            app_protocol: shape.app_protocol,
            target: match shape.target_port {
                Some(IntOrString::String(name)) => TargetPort::Name(name),
                Some(IntOrString::Int(number)) if number != 0 => TargetPort::Number(number),
                Some(IntOrString::Int(_)) | None => TargetPort::Number(shape.port),
            },
        }
    }
}

impl Distribution {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "PreferClose" | "PreferSameZone" => Some(Self::SameZone),
            "PreferSameNode" => Some(Self::SameNode),
            _ => None,
        }
    }
}

/// Those of a Service that names none follow from its address; one without may have both.
fn families(spec: &SpecShape) -> Vec<Family> {
    if !spec.ip_families.is_empty() {
        return spec.ip_families.clone();
    }
    match spec.cluster_ip.parse() {
        Ok(address) => vec![Family::of(address)],
        Err(_) => vec![Family::V4, Family::V6],
    }
}

/// `clusterIP` of a Service that has no address.
const NO_ADDRESS: &str = "None";

/// The protocol of a port that names none.
pub(super) const TCP: &str = "TCP";

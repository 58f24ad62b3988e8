//! What a pod wants of the node's network.

use std::{fmt, net::Ipv4Addr, path::PathBuf};

use dunlin_link::{ids::PodUid, pod::Protocol};

/// A pod that shall be in the node's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Whose it is.
    pub uid: PodUid,
    /// `metadata.namespace`, for plugins.
    pub namespace: String,
    /// `metadata.name`, for plugins.
    pub name: String,
    /// Its network namespace, such as `/proc/PID/fd/N`. Opened once; not the machine's own.
    pub network_namespace: PathBuf,
    /// The address it is meant to have. Plugins give another one.
    pub address: Ipv4Addr,
    /// Ports of the machine that lead to the pod.
    pub host_ports: Vec<HostPort>,
}

/// A port of the machine that leads to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// `protocol`.
    pub protocol: Protocol,
    /// `hostIP`; `None` is every address of the machine.
    pub host_ip: Option<Ipv4Addr>,
    /// `hostPort`.
    pub host_port: u16,
    /// `containerPort`.
    pub container_port: u16,
}

impl HostPort {
    /// Whether a packet could be meant for both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let is_same_address = match (self.host_ip, other.host_ip) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        is_same_address && self.protocol == other.protocol && self.host_port == other.host_port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.host_ip {
            write!(f, "{ip}:")?;
        }
        write!(f, "{}/{}", self.host_port, protocol_name(self.protocol))
    }
}

/// As Kubernetes spells it.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

//! What a node refuses to run: pods that do not fit after all, and what not every pod may set of the kernel.
//!
//! The scheduler has decided with what it knew; the node decides with what is so. Reasons and messages are the kubelet's.

mod sysctls;

use std::collections::BTreeSet;

use dunlin_link::{
    assignment::Refusal,
    pod::{Container, PodAssignment},
    status::NodeResources,
};

pub use self::sysctls::AllowedSysctls;
use self::sysctls::Shared;
use crate::{
    host_port::{HostPort, ports_of},
    pod::ContainerIndex,
    reasons,
};

/// What the pods of a node use. Pods that are over do not count.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pods: u64,
    cpu_milli: u64,
    memory_bytes: u64,
    host_ports: BTreeSet<HostPort>,
}

impl Usage {
    /// Counts a pod.
    pub fn add(&mut self, assignment: &PodAssignment) {
        let need = Need::of(assignment);
        self.pods += 1;
        self.cpu_milli += need.cpu_milli;
        self.memory_bytes += need.memory_bytes;
        self.host_ports.extend(host_ports(assignment));
    }

    /// Whether the pod may run beside the counted ones.
    ///
    /// # Errors
    /// The refusal, for status and for the coordinator.
    pub fn admit(
        &self,
        assignment: &PodAssignment,
        allocatable: &NodeResources,
        sysctls: &AllowedSysctls,
    ) -> Result<(), Refusal> {
        let refuse = |reason: &str, message: String| {
            Err(Refusal { uid: assignment.uid.clone(), reason: reason.to_owned(), message })
        };
        let shared = Shared { network: assignment.spec.host_network, ipc: assignment.linux().host_ipc };
        let asked = assignment.linux().sysctls.iter();
        if let Some(why) = asked.filter_map(|(name, _)| sysctls.check(name, shared).err()).next() {
            return refuse(reasons::SYSCTL_FORBIDDEN, format!("forbidden sysctl: {why}"));
        }
        let need = Need::of(assignment);
        let resources = [
            (reasons::OUT_OF_PODS, "pods", 1, self.pods, u64::from(allocatable.pods)),
            (reasons::OUT_OF_CPU, "cpu", need.cpu_milli, self.cpu_milli, allocatable.cpu.0),
            (reasons::OUT_OF_MEMORY, "memory", need.memory_bytes, self.memory_bytes, allocatable.memory.0),
        ];
        for (reason, name, requested, used, capacity) in resources {
            if requested > 0 && used.saturating_add(requested) > capacity {
                return refuse(
                    reason,
                    format!(
                        "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, \
                         capacity: {capacity}"
                    ),
                );
            }
        }
        if host_ports(assignment).any(|port| self.host_ports.iter().any(|taken| taken.conflicts_with(&port)))
        {
            return refuse(
                reasons::NODE_PORTS,
                "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// What a pod needs by its requests.
struct Need {
    cpu_milli: u64,
    memory_bytes: u64,
}

impl Need {
    fn of(assignment: &PodAssignment) -> Self {
        Self {
            cpu_milli: pod_request(assignment, |container| {
                container.resources.cpu_request.map_or(0, |cpu| cpu.0)
            }),
            memory_bytes: pod_request(assignment, |container| {
                container.resources.memory_request.map_or(0, |memory| memory.0)
            }),
        }
    }
}

/// A pod's request: the larger of what its containers and sidecars need together, and what it needs while initializing.
fn pod_request(assignment: &PodAssignment, of: impl Fn(&Container) -> u64) -> u64 {
    let mut sidecars = 0_u64;
    let mut initializing = 0_u64;
    for container in &assignment.spec.init_containers {
        if container.sidecar {
            sidecars = sidecars.saturating_add(of(container));
            initializing = initializing.max(sidecars);
        } else {
            initializing = initializing.max(sidecars.saturating_add(of(container)));
        }
    }
    let running = assignment.spec.containers.iter().map(of).fold(sidecars, u64::saturating_add);
    running.max(initializing)
}

/// As the scheduler counts them.
fn host_ports(assignment: &PodAssignment) -> impl Iterator<Item = HostPort> {
    let host_network = assignment.spec.host_network;
    let init = assignment.spec.init_containers.len();
    let stays = move |(index, container): &(ContainerIndex, &Container)| index.0 >= init || container.sidecar;
    let ports = containers(assignment).filter(stays).flat_map(|(index, _)| ports_of(assignment, index));
    ports.filter_map(move |(port, host)| {
        let unsaid = HostPort { number: port.container_port, protocol: port.protocol, address: None };
        host.or_else(|| host_network.then_some(unsaid))
    })
}

/// All, init containers first.
fn containers(assignment: &PodAssignment) -> impl Iterator<Item = (ContainerIndex, &Container)> {
    let spec = &assignment.spec;
    let all = spec.init_containers.iter().chain(&spec.containers).enumerate();
    all.map(|(index, container)| (ContainerIndex(index), container))
}

#[cfg(test)]
mod tests;

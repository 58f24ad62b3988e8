//! What a node refuses to run: pods that do not fit after all, and what not every pod may set of the kernel.
//!
//! The scheduler has decided with what it knew; the node decides with what is so. Reasons and messages are the kubelet's.

mod sysctls;

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{
    Bytes, MilliCpu,
    assignment::Refusal,
    pod::{Container, PodAssignment, Resources},
    status::{NodeFacts, NodeResources},
};

pub use self::sysctls::AllowedSysctls;
use self::sysctls::Shared;
use crate::{
    host_port::{HostPort, ports_of},
    pod::ContainerIndex,
    pressure::binary,
    reasons,
};

/// What the pods of a node use. Pods that are over do not count.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pods: u64,
    cpu_milli: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    /// By the size of a page.
    huge_pages: BTreeMap<Bytes, u64>,
    host_ports: BTreeSet<HostPort>,
}

impl Usage {
    /// Counts a pod.
    pub fn add(&mut self, assignment: &PodAssignment) {
        let need = Need::of(assignment);
        self.pods += 1;
        self.cpu_milli += need.cpu_milli;
        self.memory_bytes += need.memory_bytes;
        self.disk_bytes = self.disk_bytes.saturating_add(need.disk_bytes);
        for (page, bytes) in need.huge_pages {
            *self.huge_pages.entry(page).or_default() += bytes;
        }
        self.host_ports.extend(host_ports(assignment));
    }

    /// What is left of what a node has for pods. Large pages are not told anew while a session lasts.
    pub fn beside(&self, all: NodeResources) -> NodeResources {
        let pods = u32::try_from(self.pods).unwrap_or(u32::MAX);
        NodeResources {
            cpu: MilliCpu(all.cpu.0.saturating_sub(self.cpu_milli)),
            memory: Bytes(all.memory.0.saturating_sub(self.memory_bytes)),
            pods: all.pods.saturating_sub(pods),
            ..all
        }
    }

    /// Whether the pod may run beside the counted ones.
    ///
    /// # Errors
    /// The refusal, for status and for the coordinator.
    pub fn admit(
        &self,
        assignment: &PodAssignment,
        node: &NodeFacts,
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
        let allocatable = &node.allocatable;
        let resources = [
            ("pods".to_owned(), 1, self.pods, u64::from(allocatable.pods)),
            ("cpu".to_owned(), need.cpu_milli, self.cpu_milli, allocatable.cpu.0),
            ("memory".to_owned(), need.memory_bytes, self.memory_bytes, allocatable.memory.0),
            (
                "ephemeral-storage".to_owned(),
                need.disk_bytes,
                self.disk_bytes,
                allocatable.ephemeral_storage.0,
            ),
        ];
        let pages = need.huge_pages.iter().map(|(page, bytes)| {
            let used = self.huge_pages.get(page).copied().unwrap_or(0);
            let kept = node.huge_pages.iter().find(|(kept, _)| kept == page).map_or(0, |(_, kept)| kept.0);
            (format!("hugepages-{}", binary(page.0)), *bytes, used, kept)
        });
        for (name, requested, used, capacity) in resources.into_iter().chain(pages) {
            if requested > 0 && used.saturating_add(requested) > capacity {
                return refuse(
                    &format!("{}{name}", reasons::OUT_OF),
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
    disk_bytes: u64,
    /// By the size of a page.
    huge_pages: BTreeMap<Bytes, u64>,
}

impl Need {
    /// What the pod says of all its containers together comes before what these say.
    fn of(assignment: &PodAssignment) -> Self {
        let own = assignment.resources();
        let linux = assignment.linux();
        let of_pages = |pages: &[(Bytes, Bytes)], page: Bytes| {
            pages.iter().find(|(size, _)| *size == page).map(|(_, bytes)| bytes.0)
        };
        let in_containers = linux.containers.iter().flat_map(|says| &says.huge_pages);
        let sizes = own.huge_pages.iter().chain(in_containers).map(|(page, _)| *page);
        let huge_pages = sizes.map(|page| {
            let of_containers = || {
                pod_request(assignment, |index, _| {
                    linux.of(index.0).and_then(|says| of_pages(&says.huge_pages, page)).unwrap_or(0)
                })
            };
            (page, of_pages(&own.huge_pages, page).unwrap_or_else(of_containers))
        });
        let cpu = |resources: &Resources| resources.cpu_request.map(|cpu| cpu.0);
        let memory = |resources: &Resources| resources.memory_request.map(|memory| memory.0);
        let either = |of: fn(&Resources) -> Option<u64>| {
            let of_containers =
                || pod_request(assignment, |_, container| of(&container.resources).unwrap_or(0));
            of(&own.pod).unwrap_or_else(of_containers)
        };
        let disk =
            |index: ContainerIndex, _: &Container| own.disk_of(index.0).request.map_or(0, |disk| disk.0);
        Self {
            cpu_milli: either(cpu),
            memory_bytes: either(memory),
            disk_bytes: pod_request(assignment, disk),
            huge_pages: huge_pages.collect(),
        }
    }
}

/// A pod's request: the larger of what its containers and sidecars need together, and what it needs while initializing.
pub(crate) fn pod_request(assignment: &PodAssignment, of: impl Fn(ContainerIndex, &Container) -> u64) -> u64 {
    let init = assignment.spec.init_containers.len();
    let mut running = 0_u64;
    let mut initializing = 0_u64;
    for (index, container) in containers(assignment) {
        let amount = of(index, container);
        if index.0 >= init || container.sidecar {
            running = running.saturating_add(amount);
        }
        if index.0 < init {
            let beside = if container.sidecar { running } else { running.saturating_add(amount) };
            initializing = initializing.max(beside);
        }
    }
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

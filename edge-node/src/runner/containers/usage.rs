//! What the containers that run use.

use dunlin_link::{
    Bytes, PodUid,
    usage::{ContainerUsage, ContainerUsages, USAGES_PER_FRAME},
};

use super::Containers;

impl Containers {
    /// What each container that runs uses, in as many parts as frames need.
    pub(crate) fn usages(&self) -> Vec<ContainerUsages> {
        let table = self.table();
        let running = table.containers.values().filter_map(|entry| {
            let usage = entry.live.as_ref()?.container.usage();
            Some(ContainerUsage {
                uid: PodUid::new(entry.owner.pod_uid.clone()),
                container: entry.owner.container.clone(),
                attempt: entry.owner.attempt,
                cpu_us: u64::try_from(usage.cpu.as_micros()).unwrap_or(u64::MAX),
                memory: Bytes(usage.memory_bytes),
            })
        });
        let running: Vec<_> = running.collect();
        let parts = running.chunks(USAGES_PER_FRAME);
        parts.map(|part| ContainerUsages { containers: part.to_vec() }).collect()
    }
}

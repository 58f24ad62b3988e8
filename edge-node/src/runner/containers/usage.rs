//! What the containers that run use.

use dunlin_link::{
    Bytes, PodUid,
    usage::{self, ContainerThrottle, ContainerUsage},
};

use super::Containers;

impl Containers {
    /// What each container that runs uses, in frames.
    pub(crate) fn usages(&self) -> Vec<Vec<u8>> {
        let table = self.table();
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let running = table.containers.values().filter_map(|entry| {
            let used = entry.live.as_ref()?.container.usage();
            let (uid, attempt) = (PodUid::new(entry.owner.pod_uid.clone()), entry.owner.attempt);
            let (container, throttled_us) = (entry.owner.container.clone(), micros(used.throttled));
            let throttle =
                ContainerThrottle { uid: uid.clone(), container: container.clone(), attempt, throttled_us };
            let (cpu_us, memory) = (micros(used.cpu), Bytes(used.memory_bytes));
            Some((ContainerUsage { uid, container, attempt, cpu_us, memory }, throttle))
        });
        let (usages, throttles) = running.unzip();
        usage::frames(usages, throttles)
    }
}

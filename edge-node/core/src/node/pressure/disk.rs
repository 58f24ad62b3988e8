//! What pods take of the disk against what they may: containers' own files and logs, and all of a pod. Words are the kubelet's.

use dunlin_link::volumes::Medium;

use super::{CRITICAL_PRIORITY, Entry, Look};
use crate::{
    admission::pod_request,
    pod::{ContainerIndex, container_at},
    pressure::binary,
};

/// What a pod takes.
pub(super) struct PodDisk {
    /// Of each container, init containers first: what it writes into its own files, and its logs.
    containers: Vec<u64>,
    /// All of its volumes that are on the disk.
    volumes: u64,
}

impl PodDisk {
    pub(super) fn of(entry: &Entry, look: &Look) -> Self {
        let (pod, uid) = (&entry.pod, entry.pod.uid());
        let of_container = |index: ContainerIndex| {
            let name = &pod.container(index).name;
            let logs = look.logs.iter().filter(|used| used.uid == *uid && used.container == *name);
            let layers = look.layers.iter().filter(|used| {
                used.uid == *uid && pod.live_container(index).is_some_and(|id| id.as_str() == used.container)
            });
            logs.chain(layers).map(|used| used.bytes).fold(0, u64::saturating_add)
        };
        let volumes = look.volumes.iter().filter(|used| used.uid == *uid && used.medium == Medium::Disk);
        Self {
            containers: pod.indexes().map(of_container).collect(),
            volumes: volumes.map(|used| used.bytes).fold(0, u64::saturating_add),
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.containers.iter().copied().fold(self.volumes, u64::saturating_add)
    }
}

/// Whether a container of the pod may take no more than some of the disk.
pub(super) fn is_limited(entry: &Entry) -> bool {
    entry.pod.assignment().resources().disk.iter().any(|disk| disk.limit.is_some())
}

/// What a pod asks for.
pub(super) fn request(entry: &Entry) -> u64 {
    let asked = entry.pod.assignment().resources();
    pod_request(entry.pod.assignment(), |index, _| asked.disk_of(index.0).request.map_or(0, |bytes| bytes.0))
}

/// Why a pod has to go for what it takes of the disk, if it has to. Critical pods and static ones stay.
pub(super) fn excess(entry: &Entry, look: &Look) -> Option<String> {
    let assignment = entry.pod.assignment();
    if !is_limited(entry) || entry.is_static() || assignment.care.priority >= CRITICAL_PRIORITY {
        return None;
    }
    let disk = PodDisk::of(entry, look);
    let limit_of = |index: ContainerIndex| assignment.resources().disk_of(index.0).limit.map(|limit| limit.0);
    let limit = pod_request(assignment, |index, _| limit_of(index).unwrap_or(0));
    if disk.total() > limit {
        let limit = binary(limit);
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ));
    }
    let init = assignment.spec.init_containers.len();
    let over = disk.containers.iter().enumerate().skip(init).find_map(|(index, used)| {
        let limit = limit_of(ContainerIndex(index)).filter(|limit| used > limit)?;
        Some((ContainerIndex(index), limit))
    });
    over.map(|(index, limit)| {
        let (name, limit) = (&container_at(assignment, index).name, binary(limit));
        format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". ")
    })
}

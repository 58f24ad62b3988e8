//! Which pod has to go first when the machine is short of something.

use std::cmp::Reverse;

use dunlin_link::PodUid;

use super::{
    CRITICAL_PRIORITY, Entry, Look,
    disk::{self, PodDisk},
};
use crate::pressure::{Signal, binary};

/// A pod that has to go.
pub(super) struct Victim {
    pub(super) uid: PodUid,
    /// What its containers use, in words.
    pub(super) containers: String,
    priority: i32,
    usage: u64,
    request: u64,
}

/// The pod to end: of those that use more than they asked for, or else of all, the least important one, then the greediest.
pub(super) fn choose<'a>(
    pods: impl Iterator<Item = &'a Entry>,
    signal: Signal,
    look: &Look,
) -> Option<Victim> {
    pods.filter_map(|entry| candidate(entry, signal, look)).min_by_key(|candidate| {
        let Victim { usage, request, .. } = candidate;
        let excess = usage.saturating_sub(*request);
        (Reverse(usage > request), candidate.priority, Reverse(excess), candidate.uid.clone())
    })
}

/// A pod that may be evicted for want of something: none that is critical, and no static one.
fn candidate(entry: &Entry, signal: Signal, look: &Look) -> Option<Victim> {
    let pod = &entry.pod;
    let assignment = pod.assignment();
    let priority = assignment.care.priority;
    if !pod.is_active() || entry.is_static() || priority >= CRITICAL_PRIORITY {
        return None;
    }
    let uid = pod.uid().clone();
    if signal != Signal::Memory {
        let (usage, request) = (PodDisk::of(entry, look).total(), disk::request(entry));
        return Some(Victim { uid, priority, usage, request, containers: String::new() });
    }
    let (mut usage, mut request, mut containers) = (0_u64, 0_u64, String::new());
    for container in assignment.spec.init_containers.iter().chain(&assignment.spec.containers) {
        let asked = container.resources.memory_request.map_or(0, |bytes| bytes.0);
        let used = look.memory.iter().filter(|used| used.uid == uid && used.container == container.name);
        let Some(used) = used.map(|used| used.memory.0).max() else { continue };
        usage = usage.saturating_add(used);
        request = request.saturating_add(asked);
        if used > asked {
            containers += &format!(
                "Container {} was using {}, request is {}, has larger consumption of memory. ",
                container.name,
                binary(used),
                binary(asked)
            );
        }
    }
    Some(Victim { uid, priority, usage, request, containers })
}

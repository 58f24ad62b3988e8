//! What containers and their pod may use, as the kubelet makes cgroups of it.

use dunlin_link::{
    Bytes, MilliCpu,
    linux::{ContainerLinux, QosClass},
    pod::{Container, PodAssignment, Resources},
};

use crate::{env::Surroundings, sandbox::linux::LinuxResources};

/// Of one container. Without a limit of its own it has the pod's.
pub(super) fn of_container(
    assignment: &PodAssignment,
    (container, says): (&Container, &ContainerLinux),
    around: &Surroundings<'_>,
) -> LinuxResources {
    let declared = with_pod_limits(container.resources, assignment);
    LinuxResources {
        cpu_request: declared.cpu_request,
        cpu_limit: declared.cpu_limit.filter(|limit| limit.0 > 0),
        memory_limit: declared.memory_limit,
        pids_limit: None,
        hugepages: says.huge_pages.clone(),
        oom_score_adj: oom_score_adj(assignment, container, around),
    }
}

/// What a container may use, where the pod's limits are its own if it has none.
pub(crate) fn with_pod_limits(container: Resources, assignment: &PodAssignment) -> Resources {
    let pod = assignment.resources().pod;
    Resources {
        cpu_limit: container.cpu_limit.filter(|limit| limit.0 > 0).or(pod.cpu_limit),
        memory_limit: container.memory_limit.or(pod.memory_limit),
        ..container
    }
}

/// Of all containers of a pod together: what the pod says of them, or what they say. There is a limit only where the pod or each of them
/// has one.
pub(super) fn of_pod(assignment: &PodAssignment) -> LinuxResources {
    let own = assignment.resources();
    let cpu = |of: fn(&Resources) -> Option<MilliCpu>| {
        total(assignment, &|resources| of(resources).map(|cpu| cpu.0))
    };
    let cpu_request = || MilliCpu(cpu(|resources| resources.cpu_request).known);
    let cpu_limit = || cpu(|resources| resources.cpu_limit.filter(|limit| limit.0 > 0)).all.map(MilliCpu);
    let memory =
        || total(assignment, &|resources| resources.memory_limit.map(|limit| limit.0)).all.map(Bytes);
    LinuxResources {
        cpu_request: Some(own.pod.cpu_request.unwrap_or_else(cpu_request)),
        cpu_limit: own.pod.cpu_limit.filter(|limit| limit.0 > 0).or_else(cpu_limit),
        memory_limit: own.pod.memory_limit.or_else(memory),
        pids_limit: None,
        hugepages: huge_pages(assignment),
        oom_score_adj: 0,
    }
}

/// A sum over a pod.
struct Total {
    /// Over the containers that say something.
    known: u64,
    /// `None` when one says nothing.
    all: Option<u64>,
}

/// What containers and sidecars take together, or an init container beside the sidecars before it, whichever is more.
fn total(assignment: &PodAssignment, of: &dyn Fn(&Resources) -> Option<u64>) -> Total {
    let spec = &assignment.spec;
    let (mut beside, mut most, mut is_whole) = (0_u64, 0_u64, true);
    for container in &spec.init_containers {
        let amount = of(&container.resources);
        is_whole &= amount.is_some();
        let amount = amount.unwrap_or(0);
        most = most.max(beside.saturating_add(amount));
        if container.sidecar {
            beside = beside.saturating_add(amount);
        }
    }
    for container in &spec.containers {
        let amount = of(&container.resources);
        is_whole &= amount.is_some();
        beside = beside.saturating_add(amount.unwrap_or(0));
    }
    let known = most.max(beside);
    Total { known, all: is_whole.then_some(known) }
}

/// Of each size what the pod says, or its containers together.
fn huge_pages(assignment: &PodAssignment) -> Vec<(Bytes, Bytes)> {
    let own = &assignment.resources().huge_pages;
    let mut sums: Vec<(Bytes, Bytes)> = Vec::new();
    for (size, amount) in assignment.linux().containers.iter().flat_map(|says| &says.huge_pages) {
        match sums.iter_mut().find(|(known, _)| known == size) {
            Some((_, sum)) => sum.0 = sum.0.saturating_add(amount.0),
            None => sums.push((*size, *amount)),
        }
    }
    sums.retain(|(size, _)| own.iter().all(|(said, _)| said != size));
    own.iter().copied().chain(sums).collect()
}

/// Who is killed first when memory is short: whoever asked for less of the machine's.
fn oom_score_adj(assignment: &PodAssignment, container: &Container, around: &Surroundings<'_>) -> i32 {
    if assignment.care.priority >= NODE_CRITICAL_PRIORITY {
        return OOM_GUARANTEED;
    }
    match assignment.linux().qos {
        QosClass::Guaranteed => OOM_GUARANTEED,
        QosClass::BestEffort => OOM_BEST_EFFORT,
        QosClass::Burstable => {
            let request =
                |container: &Container| container.resources.memory_request.map_or(0, |bytes| bytes.0);
            // A sidecar does not go before those that it is for.
            let least = assignment.spec.containers.iter().map(request).min().filter(|_| container.sidecar);
            let asked = request(container).max(least.unwrap_or(0)).saturating_add(left_over(assignment));
            let share = u128::from(asked) * 1000 / u128::from(around.capacity.memory.0.max(1));
            let share = i32::try_from(share).unwrap_or(1000);
            (1000 - share).clamp(1000 + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
        }
    }
}

/// What a pod asks for beyond what its containers do, in equal parts.
fn left_over(assignment: &PodAssignment) -> u64 {
    let Some(pod) = assignment.resources().pod.memory_request else { return 0 };
    let asked = total(assignment, &|resources| resources.memory_request.map(|bytes| bytes.0)).known;
    let containers = assignment.spec.containers.len() + assignment.spec.init_containers.len();
    pod.0.saturating_sub(asked) / u64::try_from(containers.max(1)).unwrap_or(u64::MAX)
}

/// `system-node-critical`: what a node cannot do without.
const NODE_CRITICAL_PRIORITY: i32 = 2_000_001_000;

/// `oom_score_adj` of pods that are killed last, and first.
const OOM_GUARANTEED: i32 = -997;
const OOM_BEST_EFFORT: i32 = 1000;

#[cfg(test)]
mod tests {
    use dunlin_link::{linux::PodLinux, resources::PodResources};

    use super::*;
    use crate::pod::fixture;

    #[test]
    fn a_pod_has_a_limit_where_all_its_containers_have_one() {
        let container = |name: &str, cpu: Option<u64>, memory: Option<u64>| {
            let mut container = fixture::container(name);
            container.resources.cpu_request = Some(MilliCpu(100));
            container.resources.cpu_limit = cpu.map(MilliCpu);
            container.resources.memory_limit = memory.map(Bytes);
            container
        };
        let mut pod =
            fixture::pod(vec![container("a", Some(200), Some(10)), container("b", Some(300), None)]);
        let mut sidecar = container("s", Some(50), Some(1));
        sidecar.sidecar = true;
        pod.spec.init_containers = vec![sidecar, container("i", Some(900), Some(1))];
        let found = of_pod(&pod);
        assert_eq!((found.cpu_request, found.cpu_limit), (Some(MilliCpu(300)), Some(MilliCpu(950))));
        assert_eq!(found.memory_limit, None);
        pod.spec.containers[1].resources.memory_limit = Some(Bytes(5));
        assert_eq!(of_pod(&pod).memory_limit, Some(Bytes(16)));
    }

    #[test]
    fn what_a_pod_says_of_itself_comes_before_its_containers() {
        let (small, large) = (Bytes(2 << 20), Bytes(1 << 30));
        let mut pod = fixture::pod(vec![fixture::container("a"), fixture::container("b")]);
        pod.spec.containers[0].resources.memory_limit = Some(Bytes(5));
        pod.spec.containers[0].resources.cpu_request = Some(MilliCpu(100));
        let huge_pages = vec![(small, Bytes(4 << 20)), (large, large)];
        let says = ContainerLinux { huge_pages, ..ContainerLinux::default() };
        let containers = vec![says.clone(), ContainerLinux::default()];
        pod.linux = Some(Box::new(PodLinux { containers, ..PodLinux::default() }));
        let own = Resources {
            cpu_request: Some(MilliCpu(700)),
            memory_request: Some(Bytes(100)),
            cpu_limit: Some(MilliCpu(900)),
            memory_limit: Some(Bytes(200)),
        };
        let huge_pages = vec![(small, Bytes(8 << 20))];
        pod.resources = Some(Box::new(PodResources { pod: own, huge_pages, ..PodResources::default() }));
        let found = of_pod(&pod);
        assert_eq!((found.cpu_request, found.cpu_limit), (Some(MilliCpu(700)), Some(MilliCpu(900))));
        assert_eq!(found.memory_limit, Some(Bytes(200)));
        assert_eq!(found.hugepages, [(small, Bytes(8 << 20)), (large, large)]);
        // One without limits has the pod's, and its share of what only the pod asks for.
        let limits = |index: usize| with_pod_limits(pod.spec.containers[index].resources, &pod);
        assert_eq!((limits(0).cpu_limit, limits(0).memory_limit), (Some(MilliCpu(900)), Some(Bytes(5))));
        assert_eq!((limits(1).cpu_limit, limits(1).memory_limit), (Some(MilliCpu(900)), Some(Bytes(200))));
        assert_eq!(limits(1).cpu_request, None);
        assert_eq!(left_over(&pod), 50);
    }
}

//! What containers and their pod may use, as the kubelet makes cgroups of it.

use dunlin_link::{
    Bytes, MilliCpu,
    linux::{ContainerLinux, QosClass},
    pod::{Container, PodAssignment, Resources},
};

use crate::{env::Surroundings, sandbox::linux::LinuxResources};

/// Of one container.
pub(super) fn of_container(
    assignment: &PodAssignment,
    (container, says): (&Container, &ContainerLinux),
    around: &Surroundings<'_>,
) -> LinuxResources {
    let declared = container.resources;
    LinuxResources {
        cpu_request: declared.cpu_request,
        cpu_limit: declared.cpu_limit.filter(|limit| limit.0 > 0),
        memory_limit: declared.memory_limit,
        pids_limit: None,
        hugepages: says.huge_pages.clone(),
        oom_score_adj: oom_score_adj(assignment, container, around),
    }
}

/// Of all containers of a pod together. There is a limit only where each of them has one.
pub(super) fn of_pod(assignment: &PodAssignment) -> LinuxResources {
    let cpu = |of: fn(&Resources) -> Option<MilliCpu>| {
        total(assignment, &|resources| of(resources).map(|cpu| cpu.0))
    };
    let memory = total(assignment, &|resources| resources.memory_limit.map(|limit| limit.0)).all.map(Bytes);
    LinuxResources {
        cpu_request: Some(MilliCpu(cpu(|resources| resources.cpu_request).known)),
        cpu_limit: cpu(|resources| resources.cpu_limit.filter(|limit| limit.0 > 0)).all.map(MilliCpu),
        memory_limit: memory,
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

fn huge_pages(assignment: &PodAssignment) -> Vec<(Bytes, Bytes)> {
    let mut sums: Vec<(Bytes, Bytes)> = Vec::new();
    for (size, amount) in assignment.linux().containers.iter().flat_map(|says| &says.huge_pages) {
        match sums.iter_mut().find(|(known, _)| known == size) {
            Some((_, sum)) => sum.0 = sum.0.saturating_add(amount.0),
            None => sums.push((*size, *amount)),
        }
    }
    sums
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
            let asked = request(container).max(least.unwrap_or(0));
            let share = u128::from(asked) * 1000 / u128::from(around.capacity.memory.0.max(1));
            let share = i32::try_from(share).unwrap_or(1000);
            (1000 - share).clamp(1000 + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
        }
    }
}

/// `system-node-critical`: what a node cannot do without.
const NODE_CRITICAL_PRIORITY: i32 = 2_000_001_000;

/// `oom_score_adj` of pods that are killed last, and first.
const OOM_GUARANTEED: i32 = -997;
const OOM_BEST_EFFORT: i32 = 1000;

#[cfg(test)]
mod tests {
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
}

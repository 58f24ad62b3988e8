//! What a pod says of resources as a whole: limits of all its containers together, and large pages.

use std::{fs, path::PathBuf};

use super::shore::{Berth, on_each_runtime, skipped};
use crate::cluster::wait_until;

const TOGETHER: &str = "restartPolicy: Never
resources: {requests: {memory: 40Mi}, limits: {cpu: 500m, memory: 48Mi}}
containers:
- name: c
  image: BUSYBOX
  env: [{name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]
  command: [sh, -c]
  args: ['cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; cat cpu.max 2>/dev/null ||
    cat cpu/cpu.cfs_quota_us; echo $LIMIT; exec tail /dev/zero']
- {name: d, image: BUSYBOX, command: [sleep, '77777'], resources: {requests: {cpu: 100m}, limits: {memory: 32Mi}}}
";

/// Where the pod's own cgroup is, for a controller.
fn cgroup_of(berth: &Berth, pod: &str, controller: &str) -> PathBuf {
    let uid = berth.ok(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]);
    let below = format!("dunlin/burstable/pod{uid}");
    let root = PathBuf::from("/sys/fs/cgroup");
    let of_version_1 = root.join(controller).join(&below);
    if of_version_1.exists() { of_version_1 } else { root.join(below) }
}

#[test]
fn a_pod_bounds_its_containers_together() {
    on_each_runtime("together", |berth| {
        berth.pod("together", TOGETHER);
        assert_eq!(berth.status("together", "qosClass"), "Burstable");
        berth.wait_for("together", "containerStatuses[0].state.terminated.reason", "OOMKilled");
        let said = berth.ok(&["logs", "together", "-c", "c"]);
        assert!(said == "50331648\n50000\n48\n" || said == "50331648\n50000 100000\n48\n", "{said}");
        // The other one goes on in what is the pod's.
        let read = |controller: &str, names: [&str; 2]| {
            let dir = cgroup_of(berth, "together", controller);
            let found = names.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
            found.unwrap_or_else(|| panic!("{} has none of {names:?}", dir.display()))
        };
        assert_eq!(read("memory", ["memory.limit_in_bytes", "memory.max"]), "50331648\n");
        let quota = read("cpu", ["cpu.cfs_quota_us", "cpu.max"]);
        assert!(quota.starts_with("50000"), "{quota}");
        let own = "restartPolicy: Never\nresources: {limits: {cpu: '1', memory: 1Gi}}\ncontainers:\n\
                   - {name: c, image: BUSYBOX, command: ['true']}\n";
        berth.pod("alike", own);
        assert_eq!(berth.status("alike", "qosClass"), "Guaranteed");
        berth.wait_for("alike", "phase", "Succeeded");
    });
}

const LARGE: &str = "restartPolicy: Never
securityContext: {runAsUser: 1000}
volumes: [{name: large, emptyDir: {medium: MEDIUM}}]
containers:
- name: c
  image: BUSYBOX
  volumeMounts: [{name: large, mountPath: /large}]
  command: [sh, -c, 'grep /large /proc/mounts; fallocate -l 4M /large/x && ls -l /large/x | tr -s \" \" | cut -d\" \" -f 5']
  resources: {limits: {memory: 16Mi, hugepages-2Mi: AMOUNT}}
";

#[test]
fn large_pages_are_a_volume_where_the_machine_keeps_some() {
    on_each_runtime("large", |berth| {
        let pod = |name: &str, medium: &str, amount: &str| {
            berth.pod(name, &LARGE.replace("MEDIUM", medium).replace("AMOUNT", amount));
        };
        // A node that is new has taints for a moment.
        berth.pod(
            "first",
            "restartPolicy: Never\ncontainers: [{name: c, image: BUSYBOX, command: ['true']}]\n",
        );
        berth.wait_for("first", "phase", "Succeeded");
        let kept = ["get", "node", berth.runtime, "-o", "jsonpath={.status.allocatable.hugepages-2Mi}"];
        let kept = berth.ok(&kept);
        pod("greedy", "HugePages", "900Gi");
        wait_until("a reason", || {
            let why = berth.status("greedy", "conditions[0].message");
            if why.contains("Insufficient hugepages-2Mi") { Ok(()) } else { Err(why) }
        });
        if ["", "0"].contains(&&*kept) {
            skipped("this machine keeps no large pages (vm.nr_hugepages)");
            return;
        }
        pod("other", "HugePages-1Gi", "4Mi");
        pod("large", "HugePages", "4Mi");
        berth.wait_for("large", "phase", "Succeeded");
        let said = berth.ok(&["logs", "large"]);
        assert!(said.contains(" hugetlbfs ") && said.ends_with("\n4194304\n"), "{said}");
        let events = ["get", "events", "--field-selector", "involvedObject.name=other"];
        wait_until("a refused volume", || {
            let events = berth.ok(&events);
            let why = "medium HugePages-1Gi: hugePages storage requested, but there is no resource request for huge pages";
            if events.contains(why) { Ok(()) } else { Err(events) }
        });
        berth.ok(&["delete", "pod", "large", "other"]);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let left = mounts.lines().filter(|line| line.contains(&format!("{}_large_", berth.namespace)));
        assert_eq!(left.count(), 0, "{mounts}");
    });
}

#[test]
fn what_writes_more_than_it_may_is_evicted() {
    on_each_runtime("writes", |berth| {
        let pod = |name: &str, line: &str, limits: [&str; 2]| {
            let container = |container: &str, line: &str, limit: &str| {
                format!(
                    "- name: {container}\n  image: BUSYBOX\n  command: [sh, -c, '{line}; sleep 77777']\n  \
                     volumeMounts: [{{name: v, mountPath: /v}}]\n  resources: {{limits: {{ephemeral-storage: {limit}}}}}\n"
                )
            };
            let beside = container("d", "true", limits[1]);
            let containers = container("c", line, limits[0]) + &beside;
            berth.pod(
                name,
                &format!(
                    "restartPolicy: Never\nvolumes: [{{name: v, emptyDir: {{}}}}]\ncontainers:\n{containers}"
                ),
            );
        };
        let write = |file: &str| format!("dd if=/dev/zero of={file} bs=1M count=3 2>/dev/null");
        pod("layer", &write("/tmp/x"), ["2Mi", "9Mi"]);
        pod("volume", &write("/v/x"), ["1Mi", "1Mi"]);
        pod("logs", "yes all the same | head -c 3000000", ["2Mi", "90Mi"]);
        pod("within", &write("/tmp/x"), ["9Mi", "1Mi"]);
        let of_container = "Container c exceeded its local ephemeral storage limit \"2Mi\". ";
        let of_pod = "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ";
        for (name, message) in [("layer", of_container), ("volume", of_pod), ("logs", of_container)] {
            wait_until("an eviction", || {
                let said = ["phase", "reason", "message"].map(|field| berth.status(name, field));
                if said == ["Failed", "Evicted", message] { Ok(()) } else { Err(format!("{name}: {said:?}")) }
            });
        }
        assert_eq!(berth.status("within", "phase"), "Running");
    });
}

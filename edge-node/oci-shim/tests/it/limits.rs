//! What containers and pods may use, and what a machine cannot give.

use std::path::Path;

use dunlin_edge_node_core::sandbox::{
    ExitCause,
    linux::{LinuxPod, LinuxResources},
};
use dunlin_link::{Bytes, MilliCpu};

use crate::pod::{Pod, runtimes};

#[test]
fn limits_are_kept() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let mut spec =
            pod.spec("a", "echo before; x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x); echo after");
        spec.resources = LinuxResources {
            memory_limit: Some(Bytes(24 << 20)),
            cpu_request: Some(MilliCpu(100)),
            cpu_limit: Some(MilliCpu(500)),
            pids_limit: Some(50),
            oom_score_adj: 900,
            ..LinuxResources::default()
        };
        let exit = pod.run(spec);
        assert_eq!(exit.cause, ExitCause::OutOfMemory, "{}: {exit:?} {}", runtime.display(), pod.output("a"));
        pod.shut_down();
    }
}

#[test]
fn all_of_a_container_ends_when_its_memory_is_short() {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        eprintln!("skipped: this machine has version 1 of cgroups, which ends single processes");
        return;
    }
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let mut spec =
            pod.spec("a", "(x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x)); echo survived; sleep 1000");
        spec.resources.memory_limit = Some(Bytes(24 << 20));
        let exit = pod.run(spec);
        assert_eq!((exit.cause, &*pod.output("a")), (ExitCause::OutOfMemory, ""), "{}", runtime.display());
        pod.shut_down();
    }
}

#[test]
fn limits_of_the_pod_and_weights_of_pods_are_set() {
    for runtime in runtimes().into_iter().take(1) {
        let mut pod = Pod::start_closed(&runtime);
        let resources = LinuxResources {
            memory_limit: Some(Bytes(64 << 20)),
            cpu_request: Some(MilliCpu(500)),
            pids_limit: Some(100),
            ..LinuxResources::default()
        };
        let cgroup = pod.cgroup.replace("/dunlin-test/", "/dunlin-test/burstable/");
        pod.open(LinuxPod { cgroup: cgroup.clone(), resources, ..pod.shared() });
        let folder = |controller: &str| {
            let one = Path::new("/sys/fs/cgroup").join(controller);
            if one.exists() { one.join(&cgroup[1..]) } else { Path::new("/sys/fs/cgroup").join(&cgroup[1..]) }
        };
        let has = |file: std::path::PathBuf, value: &str| {
            let text = std::fs::read_to_string(&file);
            text.is_ok_and(|text| text.trim() == value)
        };
        let memory = folder("memory");
        assert!(
            has(memory.join("memory.limit_in_bytes"), "67108864")
                || has(memory.join("memory.max"), "67108864")
        );
        assert!(has(folder("pids").join("pids.max"), "100"));
        let cpu = folder("cpu");
        assert!(has(cpu.join("cpu.shares"), "512") || has(cpu.join("cpu.weight"), "20"));
        pod.run(pod.spec("a", "exit 0"));
        pod.shut_down();
        assert!(!memory.exists() && !cpu.exists());
    }
}

#[test]
fn what_this_machine_cannot_do_is_refused() {
    for runtime in runtimes().into_iter().take(1) {
        let mut pod = Pod::start(&runtime);
        let mut spec = pod.spec("profile", "exit 0");
        spec.security.apparmor = Some("p".into());
        let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|text| text.trim() == "Y") {
            let why = "the AppArmor profile `p` cannot be applied: this machine has no AppArmor";
            assert_eq!(pod.run(spec).message, why);
        }
        pod.shut_down();
    }
}

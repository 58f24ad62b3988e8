//! What a pod costs the machine beside its containers.

use std::fs;

use dunlin_edge_node_core::sandbox::linux::{LinuxPod, ProcessSharing};

use crate::pod::{Pod, runtimes};

/// Kibibytes of a process, by the name of the kernel's sum.
fn kibibytes(pid: u32, sum: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sum)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

/// Pages of the program's file are there once for all pods; what a pod adds are those that its shim has written to.
#[test]
fn a_shim_and_a_first_process_are_small() {
    for runtime in runtimes().into_iter().take(1) {
        let mut pod = Pod::start_closed(&runtime);
        pod.open(LinuxPod { processes: ProcessSharing::Pod, ..pod.shared() });
        for id in ["a", "b"] {
            pod.start_container(pod.spec(id, "sleep 1000"));
            pod.running(id);
        }
        let shim = pod.shim.id();
        let is_pause =
            |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"/pause\0");
        let first = pod.children().into_iter().find(is_pause).unwrap();
        let (own, whole) = (kibibytes(shim, "Private_Dirty"), kibibytes(shim, "Pss"));
        let pause = kibibytes(first, "Pss");
        eprintln!("shim: {own} KiB of its own, PSS {whole} KiB; first process: PSS {pause} KiB");
        assert!(own < OWN_KIB_MAX, "{own} KiB");
        assert!(pause < PAUSE_KIB_MAX, "{pause} KiB");
        pod.shut_down();
    }
}

/// What is expected of a shim with two containers.
const OWN_KIB_MAX: u64 = 1024;
/// A page of code, one of its stack, and what the kernel adds.
const PAUSE_KIB_MAX: u64 = 64;

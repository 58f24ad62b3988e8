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

/// The pages of its program are there once for all pods: what one costs is seen beside others.
#[test]
fn shims_and_first_processes_are_small() {
    for runtime in runtimes().into_iter().take(1) {
        let mut pods: Vec<_> = (0..PODS).map(|_| Pod::start_closed(&runtime)).collect();
        for pod in &mut pods {
            pod.open(LinuxPod { processes: ProcessSharing::Pod, ..pod.shared() });
            for id in ["a", "b"] {
                pod.start_container(pod.spec(id, "sleep 1000"));
                pod.running(id);
            }
        }
        let pod = pods.last().unwrap();
        let shim = pod.shim.id();
        let is_pause =
            |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"/pause\0");
        let first = pod.children().into_iter().find(is_pause).unwrap();
        // Pages of a program in memory count as written to, so that what is private would be a question of which other shims run.
        let (own, whole) = (kibibytes(shim, "Anonymous"), kibibytes(shim, "Pss"));
        let pause = kibibytes(first, "Pss");
        eprintln!("shim: PSS {whole} KiB, {own} KiB of its own; first process: PSS {pause} KiB");
        assert!(whole < SHIM_KIB_MAX, "{whole} KiB");
        assert!(pause < PAUSE_KIB_MAX, "{pause} KiB");
        pods.into_iter().for_each(Pod::shut_down);
    }
}

/// The program's pages, of which an unoptimized one has many, are divided among as many.
const PODS: usize = 8;
/// What is expected of a shim with two containers.
const SHIM_KIB_MAX: u64 = 1024;
/// A page of code, one of its stack, and what the kernel adds.
const PAUSE_KIB_MAX: u64 = 64;

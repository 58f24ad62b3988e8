//! What only some kernels have: version 2 of cgroups, large pages, AppArmor. `cargo xtask vm` runs these where they are.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use dunlin_edge_node_core::sandbox::{
    ExitCause,
    linux::{LinuxMount, LinuxPod, LinuxResources, LinuxSpec, Propagation},
};
use dunlin_link::{Bytes, MilliCpu, volumes::Access};

use crate::pod::{Pod, runtimes};

#[test]
fn a_container_sees_what_it_has_of_version_2() {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        eprintln!("skipped: this machine has version 1 of cgroups");
        return;
    }
    for runtime in runtimes() {
        let mut pod = Pod::start_closed(&runtime);
        let resources = LinuxResources {
            cpu_request: Some(MilliCpu(1500)),
            cpu_limit: Some(MilliCpu(2000)),
            memory_limit: Some(Bytes(64 << 20)),
            pids_limit: Some(70),
            ..LinuxResources::default()
        };
        pod.open(LinuxPod { resources, ..pod.shared() });
        let look = |file: &str| fs::read_to_string(format!("/sys/fs/cgroup{}/{file}", pod.cgroup)).unwrap();
        let of_pod = ["cpu.weight", "cpu.max", "memory.max", "pids.max"].map(look).concat();
        assert_eq!(of_pod, "59\n200000 100000\n67108864\n70\n", "{}", runtime.display());

        let line = "cd /sys/fs/cgroup; cat cgroup.controllers cpu.max memory.max memory.swap.max memory.oom.group pids.max; \
                    [ $(cat cpu.weight) -gt 1 ] && echo heavier; cat /proc/self/cgroup; (echo 1 > cgroup.freeze) 2>/dev/null || echo fixed";
        let mut spec = pod.spec("a", line);
        spec.resources = LinuxResources {
            cpu_request: Some(MilliCpu(100)),
            cpu_limit: Some(MilliCpu(500)),
            memory_limit: Some(Bytes(32 << 20)),
            pids_limit: Some(50),
            ..LinuxResources::default()
        };
        let exit = pod.run(spec);
        let said = pod.output("a").replace("stdout: ", "");
        assert_eq!(exit.cause, ExitCause::Code(0), "{}: {exit:?} {said}", runtime.display());
        let (controllers, rest) = said.split_once('\n').unwrap();
        for controller in ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"] {
            assert!(controllers.split(' ').any(|known| known == controller), "{controller}: {controllers}");
        }
        assert_eq!(rest, "50000 100000\n33554432\n0\n1\n50\nheavier\n0::/\nfixed\n", "{}", runtime.display());
        pod.shut_down();
    }
}

#[test]
fn processes_beyond_the_limit_are_not_started() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let line = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all";
        let mut spec = pod.spec("a", line);
        spec.resources.pids_limit = Some(6);
        let exit = pod.run(spec);
        assert_ne!(exit.cause, ExitCause::Code(0), "{}: {exit:?} {}", runtime.display(), pod.output("a"));
        assert!(pod.output("a").contains("fork"), "{}", pod.output("a"));
        pod.shut_down();
    }
}

#[test]
fn large_pages_are_there_for_who_asks_for_them() {
    const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let free = fs::read_to_string(FREE).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if free.is_none_or(|free| free < 4) {
        eprintln!("skipped: this machine keeps no large pages (vm.nr_hugepages)");
        return;
    }
    for runtime in runtimes() {
        let mut pod = Pod::start_closed(&runtime);
        let both =
            LinuxResources { hugepages: vec![(Bytes(2 << 20), Bytes(4 << 20))], ..LinuxResources::default() };
        pod.open(LinuxPod { resources: both, ..pod.shared() });
        let volume = pod.dir.path().join("large");
        fs::create_dir(&volume).unwrap();
        let mount = ["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "tests"];
        assert!(Command::new("/bin/busybox").args(mount).arg(&volume).status().unwrap().success());
        let try_all = "for size in 2 4 6; do /bin/busybox fallocate -l ${size}M /v/$size && echo $size; rm -f /v/$size; done";
        let mut with = |id: &str, hugepages: Vec<(Bytes, Bytes)>| {
            let mut spec = LinuxSpec { mounts: vec![volume_of(&volume)], ..pod.spec(id, try_all) };
            spec.args[2].push_str("; true");
            spec.resources.hugepages = hugepages;
            pod.run(spec);
            pod.output(id).lines().filter_map(|line| line.strip_prefix("stdout: ")).collect::<String>()
        };
        let some = with("some", vec![(Bytes(2 << 20), Bytes(4 << 20))]);
        let none = with("none", Vec::new());
        assert!(Command::new("/bin/busybox").arg("umount").arg(&volume).status().unwrap().success());
        assert_eq!((&*some, &*none), ("24", ""), "{}", runtime.display());
        pod.shut_down();
    }
}

#[test]
fn a_profile_of_apparmor_keeps_a_container_from_what_it_forbids() {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.trim() == "Y") || !load_profile() {
        eprintln!("skipped: this machine has no AppArmor, or no apparmor_parser");
        return;
    }
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let line = "cat /proc/self/attr/current; echo x > /tmp/allowed && echo written; (echo x > /tmp/denied) 2>/dev/null || echo refused";
        let mut run = |id: &str, profile: Option<&str>| {
            let mut spec = pod.spec(id, line);
            spec.security.apparmor = profile.map(str::to_owned);
            let exit = pod.run(spec);
            (exit.cause, exit.message, pod.output(id).replace("stdout: ", ""))
        };
        let (cause, message, said) = run("confined", Some(PROFILE_NAME));
        assert_eq!(cause, ExitCause::Code(0), "{}: {message} {said}", runtime.display());
        assert_eq!(said, "dunlin-tests (enforce)\nwritten\nrefused\n", "{}", runtime.display());
        let (_, _, said) = run("free", None);
        assert!(said.ends_with("written\n") && !said.contains("refused"), "{said}");
        // One that is not loaded keeps nothing from happening.
        let mut spec = pod.spec("unknown", line);
        spec.security.apparmor = Some("dunlin-nobody".to_owned());
        let exit = pod.run(spec);
        assert_eq!(exit.message, "the AppArmor profile `dunlin-nobody` is not loaded on this machine");
        assert_ne!(exit.cause, ExitCause::Code(0));
        pod.shut_down();
    }
}

fn volume_of(source: &Path) -> LinuxMount {
    LinuxMount {
        layers: Vec::new(),
        source: source.display().to_string(),
        inside: String::new(),
        path: "/v".into(),
        access: Access::ReadWrite,
        propagation: Propagation::None,
        all_read_only: false,
    }
}

/// Gives the kernel the profile; whether that was possible.
fn load_profile() -> bool {
    let mut parser = Command::new("apparmor_parser");
    parser.args(["--replace", "--skip-cache"]).stdin(Stdio::piped());
    let Ok(mut parser) = parser.spawn() else { return false };
    parser.stdin.take().unwrap().write_all(PROFILE.as_bytes()).unwrap();
    parser.wait().unwrap().success()
}

const PROFILE_NAME: &str = "dunlin-tests";

const PROFILE: &str = "profile dunlin-tests flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  signal,
  deny /tmp/denied w,
}
";

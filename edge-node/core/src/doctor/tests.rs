//! A healthy board has nothing to say; each thing that is wrong is found, with the line to change.

use super::*;

/// A board that is as it should be.
fn healthy() -> Machine {
    Machine {
        model: "Raspberry Pi 4 Model B Rev 1.4".to_owned(),
        kernel_arguments: "console=tty1 root=/dev/mmcblk0p2 cgroup_enable=memory cgroup_memory=1".to_owned(),
        arguments_file: Some("/boot/firmware/cmdline.txt".to_owned()),
        firmware_file: Some("/boot/firmware/config.txt".to_owned()),
        cgroups: Cgroups::V2(vec!["cpu".to_owned(), "memory".to_owned(), "pids".to_owned()]),
        withheld_controllers: Vec::new(),
        overlay: Overlay::Ready,
        containers: containers::tests::able(),
        clock: Clock {
            now: UnixMillis(1_800_000_000_000),
            released_at: UnixMillis(1_767_225_600_000),
            service: TimeService::Reached,
            battery: false,
        },
        swaps: vec![Swap { path: "/dev/zram0".to_owned(), kibibytes: 1 << 20 }],
        state: Disk {
            folder: "/var/lib/dunlin".to_owned(),
            filesystem: "ext4".to_owned(),
            device: "/dev/mmcblk0p2".to_owned(),
            options: "rw,noatime".to_owned(),
            total_bytes: 32 << 30,
            free_bytes: 20 << 30,
            files_total: 1_900_000,
            files_free: 1_800_000,
        },
        throttled: Some(0),
        voltage_alarm: None,
        temperature_milli_celsius: Some(52_000),
        limits: Limits {
            mappings: Some(65_530),
            open_files: Some(1_048_576),
            memory_bytes: Some(1 << 30),
            address_bits: Some(47),
        },
    }
}

/// What `change` makes of a healthy board: the one finding that is not good, its severity, and a part of its remedy.
#[track_caller]
fn check(change: impl FnOnce(&mut Machine), name: &str, severity: Severity, remedy: &str) {
    let mut machine = healthy();
    change(&mut machine);
    let mut found = examine(&machine);
    found.retain(|finding| finding.severity > Severity::Good);
    let [finding] = found.as_slice() else { panic!("expected one finding, not {found:?}") };
    assert_eq!((finding.check, finding.severity), (name, severity), "{finding:?}");
    assert!(finding.remedy.contains(remedy), "{remedy:?} is not in {:?}", finding.remedy);
}

#[test]
fn a_healthy_board_has_only_good_findings() {
    let findings = examine(&healthy());
    assert!(findings.iter().all(|finding| finding.severity == Severity::Good), "{findings:?}");
    assert_eq!(findings.len(), 21);
}

#[test]
fn a_kernel_with_apparmor_and_nothing_to_load_profiles_is_told_of() {
    check(
        |machine| machine.containers.app_armor_parser = false,
        "AppArmor",
        Severity::Warning,
        "apt install apparmor",
    );
    let mut machine = healthy();
    (machine.containers.app_armor, machine.containers.app_armor_parser) = (false, false);
    assert!(examine(&machine).iter().all(|finding| finding.severity == Severity::Good));
}

#[test]
fn what_node_and_kernel_see_to_themselves_is_nobody_elses_to_do() {
    let mut machine = healthy();
    machine.containers.ip_forward = Some(false);
    machine.overlay = Overlay::Loadable;
    let findings = examine(&machine);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Good), "{findings:?}");
    let forwarding = findings.iter().find(|finding| finding.check == "forwarding").unwrap();
    assert_eq!((forwarding.severity, &*forwarding.remedy), (Severity::Good, ""));
    assert!(forwarding.message.contains("the node switches that on"), "{}", forwarding.message);
}

#[test]
fn a_machine_without_control_groups_lacks_every_controller() {
    let findings = examine(&Machine { cgroups: Cgroups::Absent, ..healthy() });
    let bad: Vec<_> = findings.iter().filter(|finding| finding.severity > Severity::Good).collect();
    assert_eq!(
        bad.iter().map(|finding| finding.check).collect::<Vec<_>>(),
        ["memory cgroup", "cpu cgroup", "pids cgroup"]
    );
    assert!(bad[0].remedy.contains("/etc/fstab"));
}

#[test]
fn each_fault_is_found_with_what_to_change() {
    use Severity::{Problem, Warning};
    let without_memory = || Cgroups::V1(vec!["cpu".to_owned(), "pids".to_owned()]);
    check(
        |pi| (pi.cgroups, pi.kernel_arguments) = (without_memory(), String::new()),
        "memory cgroup",
        Problem,
        "/boot/firmware/cmdline.txt: `cgroup_enable=memory cgroup_memory=1`",
    );
    check(
        |pc| (pc.cgroups, pc.kernel_arguments, pc.arguments_file) = (without_memory(), String::new(), None),
        "memory cgroup",
        Problem,
        "/etc/default/grub",
    );
    check(|pi| pi.cgroups = without_memory(), "memory cgroup", Problem, "CONFIG_MEMCG");
    let without = |controller: &str| {
        let all = ["cpu", "memory", "pids"].into_iter().filter(|name| *name != controller);
        Cgroups::V2(all.map(str::to_owned).collect())
    };
    check(|pi| pi.cgroups = without("cpu"), "cpu cgroup", Warning, "CONFIG_CFS_BANDWIDTH");
    check(|pi| pi.cgroups = without("pids"), "pids cgroup", Warning, "systemd.unified_cgroup_hierarchy=1");
    check(
        |pi| (pi.cgroups, pi.kernel_arguments) = (without("pids"), "quiet cgroup_disable=pids".to_owned()),
        "pids cgroup",
        Warning,
        "take `cgroup_disable=pids` out of /boot/firmware/cmdline.txt",
    );
    for (controller, check_of, severity) in [
        ("memory", "memory cgroup", Problem),
        ("cpu", "cpu cgroup", Warning),
        ("pids", "pids cgroup", Warning),
    ] {
        let remedy = format!("echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control");
        check(|pi| pi.withheld_controllers = vec![controller.to_owned()], check_of, severity, &remedy);
    }
    check(|pi| pi.overlay = Overlay::Absent, "overlayfs", Warning, "CONFIG_OVERLAY_FS");
    check(|pi| pi.containers.runtimes.clear(), "container runtime", Warning, "apt install crun");
    check(|pi| pi.containers.capabilities = 0, "privileges", Warning, "sudo dunlin edge-node");
    check(|pi| pi.containers.namespaces.clear(), "namespaces", Warning, "CONFIG_PID_NS");
    check(|pi| pi.containers.seccomp = false, "seccomp", Warning, "CONFIG_SECCOMP_FILTER");
    check(|pi| pi.containers.nf_tables = NfTables::Absent, "nf_tables", Warning, "CONFIG_NF_TABLES");
    check(|pi| pi.clock.now = UnixMillis(0), "clock", Warning, "timedatectl set-ntp true");
    check(|pi| pi.clock.service = TimeService::Unreached, "clock", Warning, "/etc/systemd/timesyncd.conf");
    check(|pi| pi.clock.service = TimeService::Absent, "clock", Warning, "chrony");
    check(|pi| pi.clock.service = TimeService::Untold, "clock", Warning, "chronyc tracking");
    let swap = |path: &str| vec![Swap { path: path.to_owned(), kibibytes: 102_396 }];
    check(|pi| pi.swaps = swap("/var/swap"), "swap", Warning, "CONF_SWAPSIZE=0");
    check(|pi| pi.swaps = swap("/dev/sda3"), "swap", Warning, "swapoff /dev/sda3");
    for options in ["ro,noatime", "rw,noatime,ro", "rw,rw,abort,errors=remount-ro,emergency_ro"] {
        check(|pi| pi.state.options = options.to_owned(), "state folder", Problem, "remount,rw");
    }
    for kind in ["tmpfs", "overlay", "vfat", "nfs4", ""] {
        check(|pi| pi.state.filesystem = kind.to_owned(), "state folder", Problem, "--state-dir");
    }
    check(|pi| pi.state.free_bytes = 100 << 20, "disk space", Problem, "journalctl");
    check(|pi| pi.state.free_bytes = 2 << 30, "disk space", Warning, "journalctl");
    check(|pi| pi.state.files_free = 10, "disk space", Problem, "make room");
    check(|pi| pi.throttled = Some(0x50005), "power", Problem, "supply");
    check(|pi| pi.throttled = Some(0x50000), "power", Warning, "supply");
    check(|pi| pi.throttled = Some(0x4), "power", Problem, "fan");
    check(|pi| pi.throttled = Some(0x40000), "power", Warning, "fan");
    check(|pi| (pi.throttled, pi.voltage_alarm) = (None, Some(true)), "power", Problem, "supply");
    check(|pi| pi.temperature_milli_celsius = Some(84_300), "temperature", Warning, "fan");
    check(|pi| pi.limits.open_files = Some(1024), "open files", Warning, "LimitNOFILE=65536");
    check(|pi| pi.limits.mappings = Some(1000), "memory mappings", Warning, "vm.max_map_count=65530");
    check(|pi| pi.limits.memory_bytes = Some(256 << 20), "memory", Warning, "gpu_mem=16");
    check(|pi| pi.limits.address_bits = Some(39), "address space", Warning, "CONFIG_ARM64_VA_BITS_48");
}

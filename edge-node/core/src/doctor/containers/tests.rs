//! What a node says that it lacks, one thing after the other.

use super::*;

/// What a machine has that runs containers.
pub(in crate::doctor) fn able() -> Containers {
    let crun =
        OciRuntime { name: "crun".to_owned(), path: "/usr/bin/crun".to_owned(), version: "1.8.1".to_owned() };
    Containers {
        capabilities: u64::MAX,
        runtimes: vec![crun],
        wanted: Wanted::Any,
        namespaces: ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map(str::to_owned).into(),
        seccomp: true,
        nf_tables: NfTables::Ready,
        ip_forward: Some(true),
        recursive_read_only: true,
        app_armor: true,
        app_armor_parser: true,
    }
}

fn machine() -> Machine {
    let cgroups = Cgroups::V2(["cpu", "memory"].map(str::to_owned).into());
    Machine { cgroups, containers: able(), ..Machine::default() }
}

#[test]
fn a_machine_with_everything_runs_containers() {
    let support = container_support(&machine());
    let ContainerSupport::Runs { runtime, version, recursive_read_only } = support else {
        panic!("{support:?}")
    };
    assert_eq!((&*runtime, &*version, recursive_read_only), ("crun", "1.8.1", true));
}

#[test]
fn a_runtime_that_does_not_run_is_passed_over() {
    let mut machine = machine();
    let runc = OciRuntime { name: "runc".to_owned(), ..machine.containers.runtimes[0].clone() };
    machine.containers.runtimes[0].version.clear();
    machine.containers.runtimes.push(runc);
    assert_eq!(usable_runtime(&machine).unwrap().name, "runc");
}

#[test]
fn what_is_lacking_is_named_with_what_to_change() {
    let check = |change: &dyn Fn(&mut Machine), expected: &str, remedy: &str| {
        let mut machine = machine();
        change(&mut machine);
        let support = container_support(&machine);
        let ContainerSupport::Lacks { reason, message } = support else { panic!("{support:?}") };
        assert_eq!(reason, expected);
        assert!(message.contains(remedy), "{message}");
    };
    check(&|it| it.containers.runtimes.clear(), "NoRuntime", "apt install crun");
    check(&|it| it.containers.runtimes[0].version.clear(), "NoRuntime", "/usr/bin/crun --version");
    check(&|it| it.containers.wanted = Wanted::None, "NoRuntime", "runtime: auto");
    let missing = Wanted::This("/opt/youki".to_owned());
    check(
        &|it| (it.containers.wanted, it.containers.runtimes) = (missing.clone(), Vec::new()),
        "NoRuntime",
        "/opt/youki",
    );
    check(&|it| it.containers.capabilities = !(1 << 21), "NotPrivileged", "lacks CAP_SYS_ADMIN;");
    check(&|it| it.containers.capabilities = 0, "NotPrivileged", "sudo dunlin edge-node");
    check(&|it| it.containers.namespaces.retain(|name| name != "net"), "NoNamespaces", "CONFIG_NET_NS");
    let pi = Cgroups::V1(vec!["cpu".to_owned()]);
    check(
        &|it| (it.cgroups, it.arguments_file) = (pi.clone(), Some("/boot/firmware/cmdline.txt".to_owned())),
        "NoMemoryCgroup",
        "append to the one line of /boot/firmware/cmdline.txt: `cgroup_enable=memory cgroup_memory=1`, then reboot",
    );
    check(&|it| it.cgroups = Cgroups::Absent, "NoCgroups", "/etc/fstab");
    let memory = Cgroups::V2(vec!["memory".to_owned()]);
    check(&|it| it.cgroups = memory.clone(), "NoCpuCgroup", "CONFIG_CFS_BANDWIDTH");
    check(
        &|it| it.withheld_controllers = vec!["cpu".to_owned()],
        "NoCpuCgroup",
        "`echo +cpu > /sys/fs/cgroup/cgroup.subtree_control`",
    );
    check(&|it| it.withheld_controllers = vec!["memory".to_owned()], "NoMemoryCgroup", "echo +memory");
    check(&|it| it.containers.seccomp = false, "NoSeccomp", "CONFIG_SECCOMP_FILTER");
}

#[test]
fn a_network_that_cannot_leave_the_machine_is_no_reason_to_run_nothing() {
    let mut machine = machine();
    (machine.containers.nf_tables, machine.containers.ip_forward) = (NfTables::Absent, Some(false));
    assert!(usable_runtime(&machine).is_ok());
}

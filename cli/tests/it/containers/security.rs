//! What an ordinary container cannot do, tried from inside; and that a privileged one can, or the trial would show nothing.

use std::{
    env::consts::ARCH,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::shore::{Berth, on_each_runtime, skipped};

/// What is tried: its name, a line that succeeds if it can be done, and whether a privileged container can.
const TRIES: &[(&str, &str, Privileged)] = &[
    ("mounting", "mount -t tmpfs x /tmp && umount /tmp", Privileged::Can),
    ("binding", "mount -o bind /var /tmp && umount /tmp", Privileged::Can),
    ("uncovering", "mount -t proc x /tmp && umount /tmp", Privileged::Can),
    ("remounting", "mount -o remount,rw /sys", Privileged::Can),
    ("namespaces", "unshare -m true", Privileged::Can),
    ("entering", "nsenter -t 1 -n true", Privileged::Can),
    ("devices", "[ $(find /dev -type b | wc -l) -gt 0 ]", Privileged::Can),
    ("messages", "[ -e /dev/kmsg ]", Privileged::Can),
    ("loops", "mknod /var/l c 10 237 && : < /var/l", Privileged::CanRead("/dev/loop-control")),
    ("disk", "mknod /var/d b DISK && : < /var/d", Privileged::CanRead("/dev/DISK")),
    ("memory", "mknod /var/m c 1 1 && : < /var/m", Privileged::CanRead("/dev/mem")),
    ("kcore", "[ \"$(head -c1 /proc/kcore | wc -c)\" = 1 ]", Privileged::CanRead("/proc/kcore")),
    ("timers", "[ \"$(head -c1 /proc/timer_list | wc -c)\" = 1 ]", Privileged::Can),
    ("sysctls", "f=/proc/sys/kernel/panic; cat $f > $f", Privileged::Can),
    ("interrupts", "f=/proc/irq/default_smp_affinity; cat $f > $f", Privileged::Can),
    ("sysfs", "f=/sys/module/kernel/parameters/panic; cat $f > $f", Privileged::Can),
    ("links", "ip address add 10.9.9.9/32 dev lo", Privileged::Can),
    ("name", "hostname $(hostname)", Privileged::Can),
    ("own-cgroup", "CGROUP; mkdir $c/x && rmdir $c/x", Privileged::Can),
    ("leaving-cgroup", "CGROUP; echo 0 > $c/cgroup.procs", Privileged::Can),
    (
        "more-memory",
        "CGROUP; f=$(ls $c/memory.max $c/memory.limit_in_bytes 2>/dev/null); cat $f > $f",
        Privileged::Can,
    ),
    // In namespaces of their own neither kind has these.
    ("release-agent", "CGROUP; echo /x > $c/release_agent", Privileged::Cannot),
    (
        "above-cgroup",
        "CGROUP; ls $c/../cgroup.procs && [ $(cat $c/../cgroup.procs | wc -l) -gt 9 ]",
        Privileged::Cannot,
    ),
    ("processes", "[ $(ls /proc | grep -c '^[0-9]') -gt 9 ]", Privileged::Cannot),
    ("signals", "kill -0 OUTSIDE", Privileged::Cannot),
    ("files", "[ -e MARK ] || [ -e /proc/1/rootMARK ]", Privileged::Cannot),
    ("interfaces", "ls /sys/class/net | grep -v -E '^(lo|eth0|bonding_masters)$'", Privileged::Cannot),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privileged {
    Can,
    /// If the machine's own root can read this: not every kernel has it, and a machine may itself be confined.
    CanRead(&'static str),
    Cannot,
}

impl Privileged {
    fn can(self) -> bool {
        match self {
            Self::Can => true,
            Self::CanRead(path) => File::open(path.replace("DISK", &disk().0)).is_ok(),
            Self::Cannot => false,
        }
    }
}

/// System calls that reach parts of the kernel which an ordinary container needs nothing of.
const CALLS: &[&str] = &[
    "add_key",
    "bpf",
    "clock_settime",
    "delete_module",
    "finit_module",
    "fsopen",
    "init_module",
    "io_uring_setup",
    "kcmp",
    "kexec_load",
    "keyctl",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_readv",
    "reboot",
    "request_key",
    "setns",
    // For the kernel's cryptography, and between a virtual machine and its host.
    "socket:38:5",
    "socket:40:1",
    "swapon",
    "umount2",
    "unshare",
    "userfaultfd",
];

#[test]
fn an_ordinary_container_reaches_nothing_of_the_machine_and_a_privileged_one_does() {
    on_each_runtime("security", |berth| {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let script: String = TRIES.iter().map(|(name, line, _)| attempt(name, line, mark.path())).collect();
        let pod = |security: &str| {
            let head = "restartPolicy: Never\ncontainers:\n- name: c\n  image: BUSYBOX\n";
            format!("{head}  securityContext: {{{security}}}\n  command: [sh, -c]\n  args:\n  - |\n{script}")
        };
        berth.pod("plain", &pod(""));
        berth.pod("privileged", &pod("privileged: true"));
        for kind in ["plain", "privileged"] {
            berth.wait_for(kind, "phase", "Succeeded");
            let expected: String = TRIES
                .iter()
                .map(|(name, _, privileged)| {
                    let is_done = kind == "privileged" && privileged.can();
                    format!("{name} {}\n", if is_done { "done" } else { "refused" })
                })
                .collect();
            assert_lines(&berth.ok(&["logs", kind]), &expected, &format!("{kind} by {}", berth.runtime));
        }
    });
}

/// A line of the script, which says whether something can be done.
fn attempt(name: &str, line: &str, mark: &Path) -> String {
    let line = line
        .replace("CGROUP", "c=/sys/fs/cgroup; [ -d $c/memory ] && c=$c/memory")
        .replace("DISK", &disk().1)
        .replace("OUTSIDE", &std::process::id().to_string())
        .replace("MARK", mark.to_str().unwrap());
    format!("    if ({line}) >/dev/null 2>&1; then echo {name} done; else echo {name} refused; fi\n")
}

/// A disk of this machine, and its numbers as `mknod` takes them.
fn disk() -> (String, String) {
    let disks = fs::read_dir("/sys/block").unwrap().flatten();
    let disks = disks.filter_map(|disk| {
        let name = disk.file_name().to_str()?.to_owned();
        let [size, numbers] =
            ["size", "dev"].map(|file| fs::read_to_string(disk.path().join(file)).unwrap_or_default());
        (size.trim() != "0").then(|| (name, numbers.trim().replace(':', " ")))
    });
    disks.min().unwrap_or_else(|| ("loop0".to_owned(), "7 0".to_owned()))
}

fn assert_lines(found: &str, expected: &str, what: &str) {
    let wrong: Vec<_> =
        found.lines().zip(expected.lines()).filter(|(found, expected)| found != expected).collect();
    assert!(
        wrong.is_empty() && found.lines().count() == expected.lines().count(),
        "{what}: {wrong:?}\n{found}"
    );
}

#[test]
fn system_calls_of_the_deep_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path()) else { return };
    on_each_runtime("calls", |berth| {
        berth.pod("plain", &calling(&program, "", "", CALLS));
        berth.pod("unconfined", &calling(&program, "", "seccompProfile: {type: Unconfined}", CALLS));
        berth.pod("privileged", &calling(&program, "", "privileged: true", CALLS));
        let outside = std::process::id().to_string();
        let others = [&*format!("ptrace:16:{outside}"), &*format!("kcmp:1:{outside}")];
        berth.pod("others", &calling(&program, "hostPID: true\n", "", &others));
        escalates(berth, &program);
        let names = |call: &&str| call.split(':').next().unwrap().to_owned();
        let refused: String = CALLS.iter().map(|call| format!("{} EPERM\n", names(call))).collect();
        let said = |pod: &str| {
            berth.wait_for(pod, "phase", "Succeeded");
            berth.ok(&["logs", pod, "-c", "c"])
        };
        assert_lines(&said("plain"), &refused, &format!("plain by {}", berth.runtime));
        let others = said("others");
        assert_eq!(others, "ptrace EPERM\nkcmp EPERM\n", "{}", berth.runtime);
        // Capabilities alone refuse less.
        let unconfined = said("unconfined");
        assert!(unconfined.matches("EPERM").count() < CALLS.len() - 5, "{unconfined}");
        let privileged = said("privileged");
        assert!(privileged.matches("EPERM").count() <= 1, "{privileged}");
    });
}

/// A program that becomes root for everybody does not where that is not allowed.
fn escalates(berth: &Berth, program: &Path) {
    let pod = |more: &str| {
        let prepare = "volumes: [{name: v, emptyDir: {}}, {name: p, hostPath: {path: 'PROGRAM', type: File}}]\ninitContainers:\n\
             - name: i\n  image: BUSYBOX\n  volumeMounts: [{name: v, mountPath: /v}, {name: p, mountPath: /calls}]\n  \
             command: [sh, -c, 'cp /calls /v/calls && chmod 4755 /v/calls']\n";
        let main = "containers:\n- name: c\n  image: BUSYBOX\n  volumeMounts: [{name: v, mountPath: /v}]\n  command: [/v/calls, geteuid]\n";
        let prepare = prepare.replace("PROGRAM", program.to_str().unwrap());
        format!("restartPolicy: Never\n{prepare}{main}  securityContext: {{runAsUser: 1000{more}}}\n")
    };
    berth.pod("climbs", &pod(""));
    berth.pod("stays", &pod(", allowPrivilegeEscalation: false"));
    for (name, expected) in [("climbs", "geteuid 0\n"), ("stays", "geteuid 1000\n")] {
        berth.wait_for(name, "phase", "Succeeded");
        assert_eq!(berth.ok(&["logs", name, "-c", "c"]), expected, "{name} by {}", berth.runtime);
    }
}

/// A pod that makes system calls.
fn calling(program: &Path, before: &str, security: &str, calls: &[&str]) -> String {
    let program = program.to_str().unwrap();
    format!(
        "{before}restartPolicy: Never\nvolumes: [{{name: p, hostPath: {{path: '{program}', type: File}}}}]\ncontainers:\n- name: c\n  \
         image: BUSYBOX\n  volumeMounts: [{{name: p, mountPath: /calls}}]\n  securityContext: {{{security}}}\n  \
         command: [/calls, '{}']\n",
        calls.join("', '")
    )
}

/// Builds the program that makes them; `None`, said aloud, where that cannot be.
fn build(folder: &Path) -> Option<PathBuf> {
    if !["x86_64", "aarch64"].contains(&ARCH) {
        skipped(&format!("system calls have numbers that this test does not know on {ARCH}"));
        return None;
    }
    let (source, program) = (folder.join("calls.rs"), folder.join("calls"));
    fs::write(&source, include_str!("calls.rs")).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"]);
    match rustc.args([&program, &source]).output() {
        Ok(output) if output.status.success() => Some(program),
        failed => {
            skipped(&format!("no static program can be built here: {failed:?}"));
            None
        }
    }
}

#[test]
fn a_pod_that_asks_for_apparmor_is_refused_where_there_is_none() {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|text| text.trim() == "Y") {
        // `cargo xtask vm` looks at profiles that are applied.
        return;
    }
    on_each_runtime("apparmor", |berth| {
        let context =
            "securityContext: {appArmorProfile: {type: RuntimeDefault}}\nrestartPolicy: Never\ncontainers:\n";
        berth.pod("refused", &format!("{context}- {{name: c, image: BUSYBOX, command: ['true']}}\n"));
        berth.wait_for("refused", "phase", "Failed");
        assert_eq!(berth.status("refused", "reason"), "AppArmor");
        let message = "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host";
        assert_eq!(berth.status("refused", "message"), message);
        assert_eq!(berth.status("refused", "containerStatuses"), "", "as of any that a node refuses");
        // A guest has nothing that a profile could keep it from.
        berth.pod("guest", &format!("{context}- {{name: c, image: dunlin.local/ticker}}\n"));
        berth.wait_for("guest", "phase", "Running");
        let own = "  securityContext: {appArmorProfile: {type: Unconfined}}\n";
        berth.pod("unconfined", &format!("{context}- name: c\n  image: BUSYBOX\n  command: ['true']\n{own}"));
        berth.wait_for("unconfined", "phase", "Succeeded");
    });
}

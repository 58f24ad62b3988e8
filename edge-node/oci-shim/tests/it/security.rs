//! What a container cannot do, tried from inside.

use dunlin_edge_node_core::sandbox::{
    ExitCause,
    linux::{LinuxDevice, Security},
};
use dunlin_link::volumes::Access;

use crate::pod::{Pod, runtimes};

/// Runs a line and returns what it wrote.
fn output(pod: &mut Pod, id: &str, line: &str, security: Security) -> String {
    let mut spec = pod.spec(id, line);
    spec.security = security;
    let exit = pod.run(spec);
    assert_eq!(exit.cause, ExitCause::Code(0), "{exit:?} {}", pod.output(id));
    pod.output(id)
}

#[test]
fn an_ordinary_container_reaches_nothing_of_the_machine() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let tries = [
            ("mount", "mount -t tmpfs x /tmp"),
            ("remount", "mount -o remount,rw /proc/sys"),
            ("namespace", "unshare -n true"),
            ("module", "insmod /bin/busybox"),
            ("sysctl", "echo 1 > /proc/sys/kernel/panic"),
            ("trigger", "echo h > /proc/sysrq-trigger"),
            ("kcore", "[ \"$(head -c1 /proc/kcore | wc -c)\" = 1 ]"),
            ("disk", "mknod /tmp/d b 254 0 && head -c1 /tmp/d"),
            ("memory", "mknod /tmp/m c 1 1 && head -c1 /tmp/m"),
            ("cgroup", "c=/sys/fs/cgroup; [ -d $c/memory ] && c=$c/memory; echo 0 > $c/cgroup.procs"),
            ("sys", "touch /sys/x"),
            ("processes", "[ $(ls /proc | grep -c '^[0-9]*$') -gt 5 ]"),
        ];
        for (id, line) in tries {
            let line = format!("if ({line}) 2>/dev/null; then echo done; else echo refused; fi");
            let found = output(&mut pod, id, &line, Security::default());
            assert_eq!(found, "stdout: refused\n", "{}: {id}", runtime.display());
        }
        let status = "grep -E 'Seccomp:|NoNewPrivs|CapEff|CapInh' /proc/self/status | tr '\\t' ' '";
        let found = output(&mut pod, "status", status, Security::default());
        for line in ["CapInh: 0000000000000000", "CapEff: 00000000a80425fb", "NoNewPrivs: 0", "Seccomp: 2"] {
            assert!(found.contains(line), "{line} is not in {found}");
        }
        pod.shut_down();
    }
}

#[test]
fn what_is_taken_away_or_given_is_so() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let read_only = Security { read_only_root: true, ..Security::default() };
        let line = "for f in /x /etc/hosts /etc/hostname /etc/resolv.conf; do (echo > $f) 2>/dev/null || echo refused; done";
        let found = output(&mut pod, "read-only", line, read_only);
        assert_eq!(found, "stdout: refused\n".repeat(4));
        let found =
            output(&mut pod, "writable", "echo 127.0.0.1 me >> /etc/hosts && echo done", Security::default());
        assert_eq!(found, "stdout: done\n");
        let status = "grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status | tr '\\t' ' '";
        let less = Security {
            drop_capabilities: vec!["ALL".into()],
            add_capabilities: vec!["NET_BIND_SERVICE".into()],
            no_new_privileges: true,
            ..Security::default()
        };
        let found = output(&mut pod, "less", status, less);
        for line in ["CapEff: 0000000000000400", "NoNewPrivs: 1", "Seccomp: 2"] {
            assert!(found.contains(line), "{line} is not in {found}");
        }
        let all = Security { privileged: true, ..Security::default() };
        let found = output(
            &mut pod,
            "all",
            "mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status | tr '\\t' ' '",
            all,
        );
        assert_eq!(found, "stdout: mounted\nstdout: Seccomp: 0\n");
        let all = Security { privileged: true, ..Security::default() };
        let found =
            output(&mut pod, "devices", "[ -c /dev/kmsg ] && [ -c /dev/loop-control ] && echo there", all);
        assert_eq!(found, "stdout: there\n");
        pod.shut_down();
    }
}

#[test]
fn a_device_that_is_given_can_be_used_and_no_other() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        // The machine's own messages: a device that no container has by itself. The other one is that of loops.
        let line = "try() { (sh -c \"$1\") 2>/dev/null && echo done || echo refused; }; \
                    try ': < /dev/given'; try ': > /dev/given'; mknod /tmp/m c 1 11; try ': > /tmp/m'; \
                    mknod /tmp/p c 10 237; try ': < /tmp/p'";
        for (id, access, expected) in [
            ("rw", Access::ReadWrite, "done done done refused "),
            ("ro", Access::ReadOnly, "done refused refused refused "),
        ] {
            let mut spec = pod.spec(id, line);
            spec.security.add_capabilities = vec!["SYSLOG".into()];
            spec.devices =
                vec![LinuxDevice { path_on_machine: "/dev/kmsg".into(), path: "/dev/given".into(), access }];
            let exit = pod.run(spec);
            assert_eq!(exit.cause, ExitCause::Code(0), "{exit:?} {}", pod.output(id));
            let found = pod.output(id).replace("stdout: ", "").replace('\n', " ");
            assert_eq!(found, expected, "{} {id} {}", runtime.display(), pod.output(id));
        }
        pod.shut_down();
    }
}

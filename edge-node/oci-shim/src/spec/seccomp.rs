//! Which system calls a container may make.
//!
//! The default profile lets through what programs need and no more: what is not named is refused with `EPERM`. Calls that only make
//! sense with a capability come with it.

use dunlin_edge_node_core::sandbox::linux::{Seccomp, Security};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator,
    LinuxSyscall,
};

/// The profile of a container; `localhost` is what was read of a file that it names.
pub(super) fn build(security: &Security, localhost: Option<&LinuxSeccomp>) -> Option<LinuxSeccomp> {
    match &security.seccomp {
        // As everywhere: there is nothing to keep from it.
        _ if security.privileged => None,
        Seccomp::Unconfined => None,
        Seccomp::Localhost(_) => localhost.cloned(),
        Seccomp::RuntimeDefault => Some(default_profile(&security.add_capabilities)),
    }
}

/// Reads a profile of the machine.
///
/// # Errors
/// When it is none.
pub(crate) fn parse_profile(text: &[u8]) -> Result<LinuxSeccomp, serde_json::Error> {
    serde_json::from_slice(text)
}

fn default_profile(added: &[String]) -> LinuxSeccomp {
    let has = |capability: &str| {
        added.iter().any(|added| {
            let added = added.to_ascii_uppercase();
            added == "ALL" || added.strip_prefix("CAP_").unwrap_or(&added) == capability
        })
    };
    let mut rules = vec![allow(ALLOWED)];
    rules.extend(PERSONALITIES.map(|value| {
        let mut rule = allow(&["personality"]);
        rule.set_args(Some(vec![argument(LinuxSeccompOperator::ScmpCmpEq, value, 0)]));
        rule
    }));
    // Sockets of all families but two: one has its way into the kernel's cryptography, the other reaches the host of a virtual machine.
    let families = [
        (LinuxSeccompOperator::ScmpCmpLt, AF_ALG),
        (LinuxSeccompOperator::ScmpCmpEq, BETWEEN),
        (LinuxSeccompOperator::ScmpCmpGt, AF_VSOCK),
    ];
    rules.extend(families.map(|(operator, value)| {
        let mut rule = allow(&["socket"]);
        rule.set_args(Some(vec![argument(operator, value, 0)]));
        rule
    }));
    rules.extend(
        WITH_CAPABILITY.iter().filter(|(capability, _)| has(capability)).map(|(_, names)| allow(names)),
    );
    if !has("SYS_ADMIN") {
        // New processes, but no new namespaces: those reach parts of the kernel that nothing else does.
        let mut clone = allow(&["clone"]);
        let flags = argument(LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACES, 0);
        clone.set_args(Some(vec![flags]));
        // The flags of this one are in memory, where no filter sees them; libraries fall back when it is unknown.
        let mut clone3 = allow(&["clone3"]);
        clone3.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(u32::try_from(libc::ENOSYS).ok());
        rules.extend([clone, clone3]);
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(u32::try_from(libc::EPERM).ok())
        .set_architectures(Some(ARCHITECTURES.to_vec()))
        .set_syscalls(Some(rules));
    profile
}

fn allow(names: &[&str]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow);
    rule
}

/// A condition on the first argument.
fn argument(operator: LinuxSeccompOperator, value: u64, second: u64) -> LinuxSeccompArg {
    let argument =
        LinuxSeccompArgBuilder::default().index(0_usize).value(value).value_two(second).op(operator);
    argument.build().expect("every field has a default")
}

/// What this machine's programs are made for: 32 bits, too.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Arch; 3] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Arch; 2] = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURES: [Arch; 0] = [];

/// `CLONE_NEW*` of mounts, cgroups, names, IPC, users, processes and network.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The family of sockets for the kernel's cryptography.
const AF_ALG: u64 = 38;
/// The one family between those two.
const BETWEEN: u64 = 39;
/// The family of sockets between a virtual machine and its host.
const AF_VSOCK: u64 = 40;

/// Linux, that of 32 bits, both with 4 GiB of addresses as Wine needs it, and the question which it is.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls that only who has the capability can do something with.
const WITH_CAPABILITY: &[(&str, &[&str])] = &[
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"]),
    ("SYS_RAWIO", &["ioperm", "iopl"]),
    ("SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
];

/// What programs need. Names that a kernel or an architecture does not know are passed over by runtimes.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    "accept", "accept4", "access", "adjtimex", "alarm", "arch_prctl", "arm_fadvise64_64", "arm_sync_file_range", "bind",
    "breakpoint", "brk", "cachestat", "cacheflush", "capget", "capset", "chdir", "chmod", "chown", "chown32", "chroot", "clock_adjtime",
    "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "close", "close_range", "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd",
    "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
    "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync",
    "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64",
    "fsync", "ftruncate", "ftruncate64", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake",
    "futimesat", "get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid", "getegid32",
    "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp",
    "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage",
    "getsid", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr", "getxattrat",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents",
    "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioctl", "ioprio_get", "ioprio_set", "ipc", "kill",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link", "linkat",
    "listen", "listmount", "listxattr", "listxattrat", "llistxattr", "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat",
    "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod",
    "mknodat", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "modify_ldt", "mprotect", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "mremap", "mseal", "msgctl",
    "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap", "name_to_handle_at", "nanosleep", "newfstatat",
    "_newselect", "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free",
    "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl", "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease",
    "pselect6", "pselect6_time64", "ptrace", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat",
    "readv", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr", "removexattrat",
    "rename", "renameat", "renameat2", "restart_syscall", "riscv_flush_icache", "rmdir", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity",
    "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget", "semop",
    "semtimedop", "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
    "set_thread_area", "set_tid_address", "set_tls", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32", "setresgid", "setresgid32",
    "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setsockopt", "setuid", "setuid32", "setxattr",
    "setxattrat", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "sigprocmask",
    "sigreturn", "socketcall", "socketpair", "splice", "stat", "stat64", "statfs", "statfs64", "statmount", "statx",
    "symlink", "symlinkat", "sync", "sync_file_range", "sync_file_range2", "syncfs", "sysinfo", "tee", "tgkill", "time",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
    "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64", "times", "tkill", "truncate",
    "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat", "uretprobe", "utime", "utimensat", "utimensat_time64",
    "utimes", "vfork", "vmsplice", "wait4", "waitid", "waitpid", "write", "writev",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(profile: &LinuxSeccomp) -> Vec<String> {
        let rules = profile.syscalls().iter().flatten();
        let allowed = rules.filter(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow);
        allowed.flat_map(|rule| rule.names().clone()).collect()
    }

    fn check(security: &Security, allowed: &[&str], refused: &[&str]) {
        let profile = build(security, None).unwrap();
        assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActErrno);
        let names = names(&profile);
        for name in allowed {
            assert!(names.iter().any(|known| known == name), "{name} is refused");
        }
        for name in refused {
            assert!(!names.iter().any(|known| known == name), "{name} is allowed");
        }
    }

    #[test]
    fn dangerous_calls_come_with_their_capability_only() {
        let dangerous =
            ["mount", "unshare", "setns", "bpf", "init_module", "kexec_load", "keyctl", "userfaultfd"];
        let usual = ["openat", "clone", "execve", "socket", "futex", "rseq"];
        check(&Security::default(), &usual, &dangerous);
        let admin = Security { add_capabilities: vec!["SYS_ADMIN".into()], ..Security::default() };
        check(&admin, &["mount", "unshare", "setns", "clone3"], &["init_module", "kexec_load"]);
        let module = Security { add_capabilities: vec!["CAP_SYS_MODULE".into()], ..Security::default() };
        check(&module, &["init_module"], &["mount"]);
        let all = Security { add_capabilities: vec!["ALL".into()], ..Security::default() };
        check(&all, &["init_module", "mount", "reboot"], &["kexec_load"]);
    }

    #[test]
    fn two_families_of_sockets_are_refused() {
        let profile = build(&Security::default(), None).unwrap();
        let rules = profile
            .syscalls()
            .iter()
            .flatten()
            .filter(|rule| rule.names().iter().any(|name| name == "socket"));
        let conditions: Vec<_> = rules.map(|rule| rule.args().clone().unwrap_or_default()).collect();
        assert!(conditions.iter().all(|arguments| arguments.len() == 1 && arguments[0].index() == 0));
        let is_allowed = |family: u64| {
            conditions.iter().flatten().any(|argument| match argument.op() {
                LinuxSeccompOperator::ScmpCmpLt => family < argument.value(),
                LinuxSeccompOperator::ScmpCmpEq => family == argument.value(),
                LinuxSeccompOperator::ScmpCmpGt => family > argument.value(),
                other => panic!("{other:?}"),
            })
        };
        let refused: Vec<u64> = (0..64).filter(|family| !is_allowed(*family)).collect();
        assert_eq!(refused, [38, 40]);
    }

    #[test]
    fn whoever_is_not_confined_has_no_profile() {
        let unconfined = Security { seccomp: Seccomp::Unconfined, ..Security::default() };
        let privileged = Security { privileged: true, ..Security::default() };
        assert_eq!((build(&unconfined, None), build(&privileged, None)), (None, None));
    }

    #[test]
    fn a_profile_of_the_machine_is_taken_as_it_is() {
        let text =
            br#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let profile = parse_profile(text).unwrap();
        let security = Security { seccomp: Seccomp::Localhost("p.json".into()), ..Security::default() };
        assert_eq!(build(&security, Some(&profile)).as_ref(), Some(&profile));
        assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActLog);
        assert!(parse_profile(b"{}").is_err(), "it says nothing");
    }
}

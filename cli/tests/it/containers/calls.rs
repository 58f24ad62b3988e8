//! A program for containers, which the test builds: makes the system calls it is told to, each `NAME[:ARGUMENT..]`, and says how they end.
//! What is not said is 0, so that no call does anything: whoever may make it is told that its arguments are wrong.

use std::{env, ffi::c_long, io};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

fn main() {
    for word in env::args().skip(1) {
        let mut parts = word.split(':');
        let name = parts.next().unwrap_or_default();
        let Some((_, x86, arm)) = CALLS.iter().find(|(known, ..)| *known == name) else {
            panic!("{name} is not known");
        };
        let mut arguments = [0; 5];
        arguments.iter_mut().zip(parts).for_each(|(argument, part)| *argument = part.parse().unwrap());
        let [a, b, c, d, e] = arguments;
        let number = if cfg!(target_arch = "x86_64") { *x86 } else { *arm };
        // SAFETY: null pointers, and numbers of no processes and files but those that the test names.
        let result = unsafe { syscall(number, a, b, c, d, e) };
        match io::Error::last_os_error().raw_os_error() {
            _ if result >= 0 => println!("{name} {result}"),
            Some(1) => println!("{name} EPERM"),
            error => println!("{name} error {}", error.unwrap_or_default()),
        }
    }
}

/// With their numbers on x86-64 and on 64-bit ARM.
const CALLS: &[(&str, c_long, c_long)] = &[
    ("add_key", 248, 217),
    ("bpf", 321, 280),
    ("clock_settime", 227, 112),
    ("delete_module", 176, 106),
    ("finit_module", 313, 273),
    ("fsopen", 430, 430),
    ("geteuid", 107, 175),
    ("init_module", 175, 105),
    ("io_uring_setup", 425, 425),
    ("kcmp", 312, 272),
    ("kexec_load", 246, 104),
    ("keyctl", 250, 219),
    ("mount", 165, 40),
    ("mount_setattr", 442, 442),
    ("move_mount", 429, 429),
    ("open_by_handle_at", 304, 265),
    ("open_tree", 428, 428),
    ("perf_event_open", 298, 241),
    ("pidfd_getfd", 438, 438),
    ("pivot_root", 155, 41),
    ("process_vm_readv", 310, 270),
    ("ptrace", 101, 117),
    ("reboot", 169, 142),
    ("request_key", 249, 218),
    ("setns", 308, 268),
    ("socket", 41, 198),
    ("swapon", 167, 224),
    ("umount2", 166, 39),
    ("unshare", 272, 97),
    ("userfaultfd", 323, 282),
];

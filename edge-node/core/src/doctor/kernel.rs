//! What the kernel must offer to containers: the memory controller and overlayfs.

use super::{Cgroups, Finding, Machine, Overlay};

/// Without the memory controller no container can be kept from taking all of a small board's memory. Raspberry Pi's firmware
/// switches it off unless the kernel's arguments say otherwise.
pub(super) fn memory_cgroup(machine: &Machine) -> Finding {
    let (Cgroups::V1(controllers) | Cgroups::V2(controllers)) = &machine.cgroups else {
        return Finding::problem(
            MEMORY,
            "no control groups are mounted: CPU and memory limits of containers cannot be enforced (those of WASM modules can)",
            "mount them at boot: add to /etc/fstab the line `cgroup2 /sys/fs/cgroup cgroup2 defaults 0 0`, or run under systemd",
        );
    };
    if controllers.iter().any(|name| name == "memory") {
        return Finding::good(MEMORY, "the memory controller is on");
    }
    let message = "the memory controller is off: memory limits of containers cannot be enforced (those of WASM modules can)";
    let already = machine.kernel_arguments.split_whitespace().any(|argument| argument == ENABLE[0]);
    if already {
        return Finding::problem(
            MEMORY,
            message,
            "the kernel was told to switch it on and has not: this kernel is built without CONFIG_MEMCG; install another one",
        );
    }
    Finding::problem(MEMORY, message, enable_memory(machine.arguments_file.as_deref()))
}

fn enable_memory(arguments_file: Option<&str>) -> String {
    let arguments = ENABLE.join(" ");
    match arguments_file {
        Some(file) => format!("append to the one line of {file}: `{arguments}`, then reboot"),
        None => format!(
            "add `{arguments}` to GRUB_CMDLINE_LINUX in /etc/default/grub, run `update-grub`, then reboot"
        ),
    }
}

/// Container images are stacked from layers by overlayfs; without it each container would have a copy of its own.
pub(super) fn overlay(machine: &Machine) -> Finding {
    match machine.overlay {
        Overlay::Ready => Finding::good(OVERLAY, "overlayfs is there"),
        Overlay::Loadable => Finding::warning(
            OVERLAY,
            "overlayfs is a module that is not loaded; container images need it, WASM modules do not",
            "put the line `overlay` into /etc/modules-load.d/dunlin.conf, and run `modprobe overlay` for now",
        ),
        Overlay::Absent => Finding::warning(
            OVERLAY,
            "this kernel has no overlayfs; container images need it, WASM modules do not",
            "install the distribution's standard kernel with its modules (CONFIG_OVERLAY_FS)",
        ),
    }
}

const MEMORY: &str = "memory cgroup";
const OVERLAY: &str = "overlayfs";

/// What Raspberry Pi's kernels and Debian's want to hear.
const ENABLE: [&str; 2] = ["cgroup_enable=memory", "cgroup_memory=1"];

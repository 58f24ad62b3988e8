//! What the kernel must offer to containers: controllers of control groups, and overlayfs.

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
    let message = "the memory controller is off: memory limits of containers cannot be enforced (those of WASM modules can)";
    if is_withheld(machine, "memory") {
        return Finding::problem(MEMORY, message, hand_down("memory"));
    }
    if controllers.iter().any(|name| name == "memory") {
        return Finding::good(MEMORY, "the memory controller is on");
    }
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

/// What containers ask for of the processor is weighed and bounded by its controller.
pub(super) fn cpu_cgroup(machine: &Machine) -> Finding {
    let message = "the cpu controller is off: CPU requests and limits of containers cannot be enforced (those of WASM modules can)";
    controller(machine, "cpu", (CPU, message, "CONFIG_CGROUP_SCHED, CONFIG_CFS_BANDWIDTH"))
}

/// Nothing bounds by itself how many processes a container makes.
pub(super) fn pids_cgroup(machine: &Machine) -> Finding {
    let message =
        "the pids controller is off: how many processes a container has is neither counted nor bounded";
    controller(machine, "pids", (PIDS, message, "CONFIG_CGROUP_PIDS"))
}

fn controller(
    machine: &Machine,
    name: &str,
    (check, message, options): (&'static str, &str, &str),
) -> Finding {
    let (Cgroups::V1(controllers) | Cgroups::V2(controllers)) = &machine.cgroups else {
        return Finding::warning(check, message, "mount control groups, as is said of the memory controller");
    };
    if is_withheld(machine, name) {
        return Finding::warning(check, message, hand_down(name));
    }
    if controllers.iter().any(|known| known == name) {
        return Finding::good(check, format!("the {name} controller is on"));
    }
    let disable = format!("cgroup_disable={name}");
    let is_disabled = machine.kernel_arguments.split_whitespace().any(|argument| argument == disable);
    let remedy = match (is_disabled, &machine.cgroups) {
        (true, _) => {
            let file = machine.arguments_file.as_deref().unwrap_or("/etc/default/grub");
            format!("take `{disable}` out of {file} (and run `update-grub` if that is there), then reboot")
        }
        (false, Cgroups::V2(_)) => format!(
            "append `systemd.unified_cgroup_hierarchy=1` to the kernel's arguments and reboot, if `grep {name} /proc/mounts` shows that version \
             1 has it; else install the distribution's standard kernel ({options})"
        ),
        (false, _) => format!("install the distribution's standard kernel ({options})"),
    };
    Finding::warning(check, message, remedy)
}

fn is_withheld(machine: &Machine, name: &str) -> bool {
    machine.withheld_controllers.iter().any(|withheld| withheld == name)
}

fn hand_down(name: &str) -> String {
    format!(
        "the machine has it, but it could not be handed down to the containers' groups; run `echo +{name} > \
         /sys/fs/cgroup/cgroup.subtree_control` as root, whose error says what is in the way"
    )
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
        Overlay::Loadable => {
            Finding::good(OVERLAY, "overlayfs is a module, which the kernel loads with the first container")
        }
        Overlay::Absent => Finding::warning(
            OVERLAY,
            "this kernel has no overlayfs; container images need it, WASM modules do not",
            "install the distribution's standard kernel with its modules (CONFIG_OVERLAY_FS)",
        ),
    }
}

const MEMORY: &str = "memory cgroup";
const CPU: &str = "cpu cgroup";
const PIDS: &str = "pids cgroup";
const OVERLAY: &str = "overlayfs";

/// What Raspberry Pi's kernels and Debian's want to hear.
const ENABLE: [&str; 2] = ["cgroup_enable=memory", "cgroup_memory=1"];

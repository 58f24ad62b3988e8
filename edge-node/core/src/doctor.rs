//! What keeps a small board from being a good node, found in what the machine tells about itself, with the line to change.
//!
//! Pure: [`examine`] turns what was read into findings. It never guesses from a model's name; the model only chooses between two
//! ways to say where a setting lives.

mod clock;
mod containers;
mod kernel;
mod limits;
mod power;
mod storage;

#[cfg(test)]
mod tests;

use dunlin_link::UnixMillis;

pub use containers::{Containers, NfTables, OciRuntime, Wanted, container_support, usable_runtime};

/// What was read of a machine. Text is as the kernel gives it; what could not be read is empty or `None`.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `/proc/device-tree/model`; empty on machines without a device tree.
    pub model: String,
    /// `/proc/cmdline`.
    pub kernel_arguments: String,
    /// Where the boot loader keeps the kernel's arguments as one line of text, if it does.
    pub arguments_file: Option<String>,
    /// The firmware's settings on boards that have such a file.
    pub firmware_file: Option<String>,
    /// Which controllers the machine offers.
    pub cgroups: Cgroups,
    /// Controllers that the machine offers in version 2 and that the group of all containers was not given, if there is one yet.
    pub withheld_controllers: Vec<String>,
    /// Whether overlayfs is there, built in or as a module.
    pub overlay: Overlay,
    /// What else containers need.
    pub containers: Containers,
    /// The machine's clock.
    pub clock: Clock,
    /// `/proc/swaps`, one for each.
    pub swaps: Vec<Swap>,
    /// Where the node's state is.
    pub state: Disk,
    /// The firmware's throttling bits, on boards that have them.
    pub throttled: Option<u32>,
    /// Whether the board's voltage alarm is up, on boards that have one.
    pub voltage_alarm: Option<bool>,
    /// The hottest thermal zone, in thousandths of a degree Celsius.
    pub temperature_milli_celsius: Option<i64>,
    /// Bounds of the kernel.
    pub limits: Limits,
}

/// What control groups offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// No hierarchy is mounted.
    #[default]
    Absent,
    /// `/proc/cgroups`: names of enabled controllers.
    V1(Vec<String>),
    /// `cgroup.controllers` of the root.
    V2(Vec<String>),
}

/// Where overlayfs is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// In the running kernel.
    Ready,
    /// A module that is not loaded.
    Loadable,
    /// Nowhere.
    #[default]
    Absent,
}

/// What is known of the machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What it says.
    pub now: UnixMillis,
    /// No honest clock is before this: the release.
    pub released_at: UnixMillis,
    /// What sets it.
    pub service: TimeService,
    /// Whether a battery keeps it while the power is off.
    pub battery: bool,
}

/// What is known of the machine's time service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeService {
    /// None that is known runs.
    #[default]
    Absent,
    /// It has set the clock.
    Reached,
    /// It has reached no server yet.
    Unreached,
    /// It runs and does not tell more here.
    Untold,
}

/// One swap area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// File or device.
    pub path: String,
    /// Size in KiB.
    pub kibibytes: u64,
}

/// The file system that holds a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The folder, or the nearest one above it that exists.
    pub folder: String,
    /// Type, such as `ext4`.
    pub filesystem: String,
    /// Device, such as `/dev/mmcblk0p2`.
    pub device: String,
    /// Options of the mount, and of its file system, comma-separated.
    pub options: String,
    /// In bytes.
    pub total_bytes: u64,
    /// In bytes, for users that are not root.
    pub free_bytes: u64,
    /// Files that can exist; zero when the file system has no such bound.
    pub files_total: u64,
    /// Files that can be made.
    pub files_free: u64,
}

impl Disk {
    /// Whether nothing can be written: it was mounted so, or has made itself so after an error.
    pub fn is_read_only(&self) -> bool {
        self.options.split(',').any(|option| matches!(option, "ro" | "emergency_ro"))
    }
}

/// Bounds that decide how many pods fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `vm.max_map_count`.
    pub mappings: Option<u64>,
    /// Hard limit on open files of this process.
    pub open_files: Option<u64>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Bits of a process's address space.
    pub address_bits: Option<u32>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Works, and could be better.
    Warning,
    /// Something will not work, or will be lost.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check, in one word or two.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is so, and what follows from it.
    pub message: String,
    /// What to change, to the letter; empty when there is nothing to do.
    pub remedy: String,
}

impl Finding {
    fn good(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, severity: Severity::Good, message: message.into(), remedy: String::new() }
    }

    fn warning(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warning, message: message.into(), remedy: remedy.into() }
    }

    fn problem(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Problem, message: message.into(), remedy: remedy.into() }
    }
}

/// All findings, the good ones too, in a fixed order.
pub fn examine(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![
        kernel::memory_cgroup(machine),
        kernel::cpu_cgroup(machine),
        kernel::pids_cgroup(machine),
        kernel::overlay(machine),
    ];
    findings.extend(containers::containers(machine));
    findings.push(clock::clock(&machine.clock));
    findings.push(storage::swap(&machine.swaps));
    findings.extend(storage::state(&machine.state));
    findings.extend(power::power(machine));
    findings.extend(power::temperature(machine.temperature_milli_celsius));
    findings.extend(limits::limits(&machine.limits));
    findings
}

//! Reads what `dunlin doctor` looks at. Nothing is changed, and nothing is run but OCI runtimes with `--version` and, on a machine with
//! chrony, `timedatectl`; what cannot be read counts as not there.

mod containers;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node_core::{
    doctor::{Cgroups, Clock, Disk, Limits, Machine, Overlay, Swap, TimeService, Wanted},
    launch::linux::CGROUP_ROOT,
};
use dunlin_link::UnixMillis;
use rustix::process::{Resource, getrlimit};

use crate::session::RELEASED_AT;

pub use dunlin_edge_node_core::doctor::{Finding, Severity, examine};

pub(crate) use containers::RUNTIMES;

/// Reads what says whether containers run on this machine, and nothing else.
pub(crate) fn read_for_containers(wanted: Wanted) -> Machine {
    let files = Files { root: Path::new("/") };
    Machine {
        kernel_arguments: files.text("proc/cmdline"),
        arguments_file: files.boot().0,
        cgroups: files.cgroups(),
        withheld_controllers: files.withheld_controllers(),
        containers: files.containers(wanted),
        ..Machine::default()
    }
}

/// Reads this machine. `root` is where its file system begins, `/` unless a test made another; `state_dir` is where the node's state
/// is or will be.
pub fn read(root: &Path, state_dir: &Path) -> Machine {
    let files = Files { root };
    let (arguments_file, firmware_file) = files.boot();
    Machine {
        model: files.text("proc/device-tree/model").trim_end_matches('\0').to_owned(),
        kernel_arguments: files.text("proc/cmdline"),
        arguments_file,
        firmware_file,
        cgroups: files.cgroups(),
        withheld_controllers: files.withheld_controllers(),
        overlay: files.overlay(),
        containers: files.containers(Wanted::Any),
        clock: files.clock(),
        swaps: swaps(&files.text("proc/swaps")),
        state: files.disk(state_dir),
        throttled: u32::from_str_radix(files.text(THROTTLED).trim(), 16).ok(),
        voltage_alarm: files.voltage_alarm(),
        temperature_milli_celsius: files.temperature(),
        limits: files.limits(),
    }
}

/// The files of a machine.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path).trim().parse().ok()
    }

    fn is_there(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Paths of the entries of a folder, sorted.
    fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths
    }

    /// Kernel arguments and firmware settings as the person who edits them sees them.
    fn boot(&self) -> (Option<String>, Option<String>) {
        let first = |name: &str| {
            let mut places = ["boot/firmware", "boot"].iter().map(|folder| format!("{folder}/{name}"));
            places.find(|place| self.is_there(place)).map(|place| format!("/{place}"))
        };
        (first("cmdline.txt"), first("config.txt"))
    }

    fn cgroups(&self) -> Cgroups {
        let unified = self.root.join("sys/fs/cgroup/cgroup.controllers");
        if let Ok(text) = fs::read_to_string(unified) {
            return Cgroups::V2(text.split_whitespace().map(str::to_owned).collect());
        }
        if self.entries("sys/fs/cgroup").is_empty() {
            return Cgroups::Absent;
        }
        let table = self.text("proc/cgroups");
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        let enabled = rows.filter_map(|row| {
            let mut fields = row.split_whitespace();
            let name = fields.next()?;
            (fields.last()? == "1").then(|| name.to_owned())
        });
        Cgroups::V1(enabled.collect())
    }

    /// What the group of all containers was not given of what the root of version 2 has.
    fn withheld_controllers(&self) -> Vec<String> {
        let of = |folder: &str| {
            let text = fs::read_to_string(self.root.join(folder).join("cgroup.controllers")).ok()?;
            Some(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let root = "sys/fs/cgroup";
        let group = format!("{root}/{CGROUP_ROOT}");
        // One without pods may be about to be given them, or to go.
        if !self.text(&format!("{group}/cgroup.events")).contains("populated 1") {
            return Vec::new();
        }
        let (Some(all), Some(given)) = (of(root), of(&group)) else { return Vec::new() };
        all.into_iter().filter(|controller| !given.contains(controller)).collect()
    }

    fn overlay(&self) -> Overlay {
        let known = self.text("proc/filesystems");
        if known.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
            return Overlay::Ready;
        }
        let release = self.text("proc/sys/kernel/osrelease");
        let modules = format!("lib/modules/{}/kernel/fs/overlayfs", release.trim());
        if self.entries(&modules).is_empty() { Overlay::Absent } else { Overlay::Loadable }
    }

    fn clock(&self) -> Clock {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Clock {
            now: UnixMillis(millis(now)),
            released_at: UnixMillis(millis(RELEASED_AT)),
            service: self.time_service(),
            battery: self.is_there("sys/class/rtc/rtc0"),
        }
    }

    fn time_service(&self) -> TimeService {
        if self.is_there("run/systemd/timesync/synchronized") {
            return TimeService::Reached;
        }
        // A process that runs has not reached anybody by that; the kernel knows whether somebody disciplines its clock.
        let runs = ["run/chrony/chronyd.pid", "run/chronyd.pid"].iter().any(|pid| self.is_there(pid));
        match (runs, self.is_there("run/systemd/timesync")) {
            // Of another root this machine's kernel knows nothing.
            (true, _) if self.root == Path::new("/") => ask_kernel(),
            (true, _) => TimeService::Untold,
            (false, true) => TimeService::Unreached,
            (false, false) => TimeService::Absent,
        }
    }

    fn voltage_alarm(&self) -> Option<bool> {
        let monitors = self.entries("sys/class/hwmon");
        let ours = monitors.iter().find(|monitor| {
            fs::read_to_string(monitor.join("name")).is_ok_and(|name| name.trim() == VOLTAGE_MONITOR)
        })?;
        let alarm = fs::read_to_string(ours.join("in0_lcrit_alarm")).ok()?;
        Some(alarm.trim() == "1")
    }

    fn temperature(&self) -> Option<i64> {
        let zones = self.entries("sys/class/thermal");
        let readings = zones.iter().filter_map(|zone| fs::read_to_string(zone.join("temp")).ok());
        readings.filter_map(|text| text.trim().parse().ok()).max()
    }

    fn limits(&self) -> Limits {
        let memory = self.text("proc/meminfo");
        let total =
            memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
        Limits {
            mappings: self.number("proc/sys/vm/max_map_count"),
            open_files: Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
            memory_bytes: total.and_then(|number| number.trim().parse::<u64>().ok()).map(|kib| kib << 10),
            address_bits: address_bits(&self.text("proc/self/maps")),
        }
    }

    /// The file system of the nearest folder that exists, which is where a new one would be made.
    fn disk(&self, state_dir: &Path) -> Disk {
        let inside = |path: &Path| self.root.join(path.strip_prefix("/").unwrap_or(path));
        let absolute = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        let Some(existing) = absolute.ancestors().find(|path| inside(path).exists()) else {
            return Disk::default();
        };
        let folder = fs::canonicalize(inside(existing)).unwrap_or_else(|_| existing.to_owned());
        let folder = Path::new("/").join(folder.strip_prefix(self.root).unwrap_or(&folder));
        let mut disk = mount_of(&self.text("proc/self/mountinfo"), &folder).unwrap_or_default();
        disk.folder = existing.display().to_string();
        if let Ok(stat) = rustix::fs::statvfs(inside(existing)) {
            disk.total_bytes = stat.f_blocks.saturating_mul(stat.f_frsize);
            disk.free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
            (disk.files_total, disk.files_free) = (stat.f_files, stat.f_favail);
        }
        disk
    }
}

/// `/proc/swaps`: a heading, then path, type, size and use in KiB, priority.
fn swaps(table: &str) -> Vec<Swap> {
    let rows = table.lines().skip(1).filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        Some(Swap { path: (*fields.first()?).to_owned(), kibibytes: fields.get(2)?.parse().ok()? })
    });
    rows.collect()
}

/// Whether nothing can be written in a folder that is there, as far as the kernel says.
pub(crate) fn is_read_only(folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else { return false };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mount_of(&table, &folder).is_some_and(|disk| disk.is_read_only())
}

/// The mount that holds `folder`, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Later mounts hide earlier ones.
fn mount_of(table: &str, folder: &Path) -> Option<Disk> {
    let mounts = table.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        let point = PathBuf::from(unescaped(before.get(4)?));
        let disk = Disk {
            filesystem: (*after.first()?).to_owned(),
            device: unescaped(after.get(1)?),
            options: format!("{},{}", before.get(5)?, after.get(2)?),
            ..Disk::default()
        };
        folder.starts_with(&point).then(|| (point.components().count(), disk))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, disk)| disk)
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(field: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Bits of the highest address that this process uses: that of its stack, near the end of its space.
fn address_bits(maps: &str) -> Option<u32> {
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (_, end) = stack.split(' ').next()?.split_once('-')?;
    Some(u64::BITS - u64::from_str_radix(end, 16).ok()?.leading_zeros())
}

/// What the kernel says of its clock. It tells by a system call that only unsafe code could make here, so another program makes it.
fn ask_kernel() -> TimeService {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null());
    let answer = command.output().map(|output| output.stdout).unwrap_or_default();
    time_service_of(&answer)
}

fn time_service_of(answer: &[u8]) -> TimeService {
    match answer.trim_ascii() {
        b"yes" => TimeService::Reached,
        b"no" => TimeService::Unreached,
        _ => TimeService::Untold,
    }
}

/// Of Raspberry Pi's firmware driver, in hexadecimal.
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

/// Name of the hardware monitor of Raspberry Pi's firmware.
const VOLTAGE_MONITOR: &str = "rpi_volt";

#[cfg(test)]
mod tests {
    use dunlin_edge_node_core::doctor::NfTables;

    use super::*;

    /// A board's files as far as they are read.
    fn board() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("proc/device-tree/model", "Raspberry Pi 4 Model B\0"),
            ("proc/cmdline", "console=tty1 root=PARTUUID=1 cgroup_disable=memory\n"),
            ("boot/firmware/cmdline.txt", "console=tty1\n"),
            ("boot/firmware/config.txt", "arm_64bit=1\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
            ("sys/fs/cgroup/dunlin/cgroup.controllers", "cpuset pids\n"),
            ("sys/fs/cgroup/dunlin/cgroup.events", "populated 1\nfrozen 0\n"),
            ("proc/filesystems", "nodev\tproc\n\text4\n"),
            ("proc/sys/kernel/osrelease", "6.12.20+rpt-rpi-v8\n"),
            ("lib/modules/6.12.20+rpt-rpi-v8/kernel/fs/overlayfs/overlay.ko.xz", ""),
            ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/var/swap file\t\t102396\t0\t-2\n"),
            ("run/systemd/timesync/unused", ""),
            (THROTTLED, "50005\n"),
            ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
            ("sys/class/thermal/thermal_zone0/temp", "61322\n"),
            ("proc/sys/vm/max_map_count", "65530\n"),
            ("proc/meminfo", "MemTotal:         931132 kB\n"),
            ("proc/self/maps", "7fc0000000-7fc0021000 rw-p 00000000 00:00 0 [stack]\n"),
            (
                "proc/self/mountinfo",
                "23 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n\
                 40 23 0:30 / /var/lib rw - tmpfs tmpfs rw\n\
                 41 23 8:1 / /mnt/a\\040disk rw - ext4 /dev/sda1 rw\n",
            ),
            ("var/lib/dunlin/x", ""),
            ("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n"),
            ("proc/self/ns/net", ""),
            ("proc/sys/kernel/seccomp/actions_avail", "kill_process\n"),
            ("proc/sys/net/ipv4/ip_forward", "0\n"),
            ("lib/modules/6.12.20+rpt-rpi-v8/modules.dep", "kernel/net/netfilter/nf_tables.ko.xz: x\n"),
        ];
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn a_board_is_read_as_it_is() {
        let dir = board();
        let machine = read(dir.path(), Path::new("/var/lib/dunlin/node"));
        assert_eq!(machine.model, "Raspberry Pi 4 Model B");
        assert_eq!(machine.arguments_file.as_deref(), Some("/boot/firmware/cmdline.txt"));
        assert_eq!(machine.firmware_file.as_deref(), Some("/boot/firmware/config.txt"));
        assert_eq!(machine.cgroups, Cgroups::V2(["cpuset", "cpu", "io", "pids"].map(str::to_owned).into()));
        assert_eq!(machine.withheld_controllers, ["cpu", "io"]);
        let events = dir.path().join("sys/fs/cgroup/dunlin/cgroup.events");
        fs::write(events, "populated 0\nfrozen 0\n").unwrap();
        let again = read(dir.path(), Path::new("/var/lib/dunlin/node"));
        assert_eq!(again.withheld_controllers, Vec::<String>::new());
        assert_eq!(machine.overlay, Overlay::Loadable);
        let containers = &machine.containers;
        assert_eq!(
            (containers.capabilities, containers.seccomp, containers.ip_forward),
            (0x1ff_ffff_ffff, true, Some(false))
        );
        assert_eq!(
            (containers.nf_tables, &*containers.namespaces),
            (NfTables::Loadable, &["net".to_owned()][..])
        );
        assert!(containers.runtimes.is_empty());
        assert_eq!((machine.clock.service, machine.clock.battery), (TimeService::Unreached, false));
        assert_eq!(machine.swaps, [Swap { path: "/var/swap".to_owned(), kibibytes: 102_396 }]);
        assert_eq!((machine.throttled, machine.voltage_alarm), (Some(0x50005), Some(true)));
        assert_eq!(machine.temperature_milli_celsius, Some(61_322));
        assert_eq!(machine.limits.memory_bytes, Some(931_132 << 10));
        assert_eq!(machine.limits.address_bits, Some(39));
        assert_eq!(
            (machine.state.folder.as_str(), machine.state.filesystem.as_str()),
            ("/var/lib/dunlin", "tmpfs")
        );
    }

    #[test]
    fn a_chrony_that_runs_has_not_set_the_clock_by_that() {
        let dir = board();
        fs::create_dir(dir.path().join("run/chrony")).unwrap();
        fs::write(dir.path().join("run/chrony/chronyd.pid"), "7\n").unwrap();
        let service = |dir: &Path| read(dir, Path::new("/var/lib/dunlin/node")).clock.service;
        assert_eq!(service(dir.path()), TimeService::Untold);
        fs::write(dir.path().join("run/systemd/timesync/synchronized"), "").unwrap();
        assert_eq!(service(dir.path()), TimeService::Reached);
        for (answer, expected) in [
            ("yes\n", TimeService::Reached),
            ("no\n", TimeService::Unreached),
            ("Failed to connect to bus\n", TimeService::Untold),
            ("", TimeService::Untold),
        ] {
            assert_eq!(time_service_of(answer.as_bytes()), expected, "{answer:?}");
        }
    }

    #[test]
    fn mounts_are_told_apart() {
        let table = fs::read_to_string(board().path().join("proc/self/mountinfo")).unwrap();
        let check = |folder: &str, device: &str| {
            assert_eq!(mount_of(&table, Path::new(folder)).unwrap().device, device, "{folder}");
        };
        check("/home", "/dev/mmcblk0p2");
        check("/var/lib/dunlin", "tmpfs");
        check("/var/library", "/dev/mmcblk0p2");
        check("/mnt/a disk/node", "/dev/sda1");
        // A file system that had an error is read-only, whatever its mount is.
        for (options, is_read_only) in
            [("rw", false), ("ro,errors=remount-ro", true), ("rw,emergency_ro", true)]
        {
            let table = format!("23 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 {options}\n");
            let disk = mount_of(&table, Path::new("/var")).unwrap();
            assert_eq!(disk.is_read_only(), is_read_only, "{options}");
        }
    }

    #[test]
    fn this_machine_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let machine = read(Path::new("/"), &dir.path().join("not/yet/there"));
        assert!(!machine.state.filesystem.is_empty() && machine.state.total_bytes > 0, "{:?}", machine.state);
        assert!(machine.limits.mappings.is_some() && machine.limits.address_bits.is_some());
        assert!(examine(&machine).len() >= 14);
    }
}

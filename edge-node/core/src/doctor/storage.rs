//! What lies on flash: swap, and the node's own state.

use super::{Disk, Finding, Swap};

/// Swap on a card wears it out and stalls everything; compressed memory does not.
pub(super) fn swap(swaps: &[Swap]) -> Finding {
    let on_disk: Vec<&Swap> = swaps.iter().filter(|swap| !swap.path.contains("zram")).collect();
    let Some(first) = on_disk.first() else {
        let message = if swaps.is_empty() { "no swap" } else { "swap is compressed memory (zram)" };
        return Finding::good(SWAP, message);
    };
    let mebibytes: u64 = on_disk.iter().map(|swap| swap.kibibytes >> 10).sum();
    let path = &first.path;
    let remedy = if path == RASPBERRY_SWAP_FILE {
        "put the line `CONF_SWAPSIZE=0` into /etc/dphys-swapfile, then run `systemctl disable --now dphys-swapfile`".to_owned()
    } else {
        format!("run `swapoff {path}` and remove its line from /etc/fstab; for more room install zram-tools")
    };
    Finding::warning(
        SWAP,
        format!(
            "{mebibytes} MiB of swap on {path}: it wears out flash, and guests stall while memory is read back"
        ),
        remedy,
    )
}

/// Where the node's state is must keep it over a reboot, and take writes.
pub(super) fn state(disk: &Disk) -> Vec<Finding> {
    let mut findings = vec![kept(disk)];
    findings.extend(room(disk));
    findings
}

fn kept(disk: &Disk) -> Finding {
    let Disk { folder, filesystem, device, .. } = disk;
    if disk.is_read_only() {
        return Finding::problem(
            STATE,
            format!("{folder} is on a file system that is read-only ({device})"),
            "a card that turned read-only is often worn out: look at `dmesg`; otherwise remount it: `mount -o remount,rw /`",
        );
    }
    match filesystem.as_str() {
        "" => Finding::problem(
            STATE,
            format!("{folder} cannot be looked at"),
            "give another folder with --state-dir",
        ),
        "tmpfs" | "ramfs" => volatile(folder, filesystem),
        "overlay" => Finding::problem(
            STATE,
            format!(
                "{folder} is on an overlay, whose changes are usually gone after a reboot; all pods would be too"
            ),
            "on Raspberry Pi OS switch the overlay file system off in `raspi-config` (Performance), or give a folder on a disk with \
             --state-dir",
        ),
        "vfat" | "exfat" | "msdos" => Finding::problem(
            STATE,
            format!("{folder} is on {filesystem}, which keeps no owners and is damaged by power cuts"),
            "give a folder on ext4, f2fs, xfs or btrfs with --state-dir",
        ),
        "nfs" | "nfs4" | "cifs" | "9p" | "fuse.sshfs" => Finding::problem(
            STATE,
            format!("{folder} is on {filesystem}: without the network the node would have no state"),
            "give a folder on a local disk with --state-dir",
        ),
        _ => Finding::good(STATE, format!("{folder} is on {filesystem} ({device})")),
    }
}

fn volatile(folder: &str, filesystem: &str) -> Finding {
    Finding::problem(
        STATE,
        format!("{folder} is on {filesystem}, which is gone after a reboot; all pods would be too"),
        "give a folder on a disk with --state-dir",
    )
}

fn room(disk: &Disk) -> Option<Finding> {
    if disk.total_bytes == 0 {
        return None;
    }
    let (free, total) = (disk.free_bytes >> 20, disk.total_bytes >> 20);
    let share = disk.free_bytes.saturating_mul(100) / disk.total_bytes;
    let clear = format!("make room under {}: `apt-get clean`, `journalctl --vacuum-size=50M`", disk.folder);
    if disk.files_total > 0 && disk.files_free < FILES_FREE_MIN {
        let free = disk.files_free;
        return Some(Finding::problem(ROOM, format!("only {free} more files can be made"), clear));
    }
    Some(if disk.free_bytes < FREE_BYTES_MIN {
        Finding::problem(
            ROOM,
            format!(
                "{free} MiB of {total} MiB are free: modules and logs will not fit, and state cannot be written"
            ),
            clear,
        )
    } else if share < FREE_PERCENT_MIN {
        Finding::warning(ROOM, format!("{free} MiB of {total} MiB are free ({share} %)"), clear)
    } else {
        Finding::good(ROOM, format!("{free} MiB of {total} MiB are free"))
    })
}

const SWAP: &str = "swap";
const STATE: &str = "state folder";
const ROOM: &str = "disk space";

/// Raspberry Pi OS makes this file unless told otherwise.
const RASPBERRY_SWAP_FILE: &str = "/var/swap";

/// State, a few modules and their logs.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// As kubelet's `nodefs.available` threshold.
const FREE_PERCENT_MIN: u64 = 10;

/// A node makes a few files for each container.
const FILES_FREE_MIN: u64 = 1000;

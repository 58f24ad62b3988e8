//! What is left of a pod when its shim did not end by itself, and the end of a pod.
//!
//! Mounts need no cleaning: they are in the shim's own mount namespace and go with the last process in it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use dunlin_link::ContainerId;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
    time::Timespec,
};

use crate::{
    cgroup::{CgroupPath, Cgroups},
    container::Held,
    rootfs,
    runtime::{Operation, Runtime},
    say,
    shim::{CONTAINERS, HOSTNAME, HOSTS, RESOLV_CONF, SHARED_MEMORY},
    sys,
};

/// Ends what an earlier shim's containers still do, and takes away what it knew of them.
pub(crate) fn leftovers(dir: &Path, runtime: &Runtime, cgroups: &Cgroups) {
    // Without a word of it nothing else was begun.
    let Some(cgroup) = read_cgroup(dir) else { return folder(dir) };
    // First whoever could put more into the cgroup.
    commands(&runtime.root);
    match &cgroup {
        Ok(cgroup) => processes(cgroups, cgroup),
        // What the runtime knows ends by it, further down; nobody else is killed by mistake.
        Err(why) => say(&format!("nothing is killed by the cgroup of an earlier shim: {why}")),
    }
    for entry in fs::read_dir(&runtime.root).into_iter().flatten().flatten() {
        let id = ContainerId::new(entry.file_name().to_string_lossy().into_owned());
        let mut command = runtime.command(&id, Operation::Delete, Path::new("/dev/null"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match child.and_then(|child| Held::new(Pid::from_child(&child))) {
            Ok(held) => wait_for(&held),
            Err(error) => say(&format!("failed to have the runtime delete {id}: {error}")),
        }
    }
    if let Ok(cgroup) = &cgroup {
        cgroups.remove(cgroup);
        cgroups.weigh_above(cgroup);
    }
    folder(dir);
}

/// Writes down which cgroup is the pod's: whole, or not at all. It need not outlast a loss of power, which leaves no cgroup.
pub(crate) fn write_cgroup(dir: &Path, cgroup: &CgroupPath) -> io::Result<()> {
    let new = dir.join(NEW_CGROUP);
    fs::write(&new, cgroup.to_string())?;
    fs::rename(new, dir.join(CGROUP))
}

/// Which cgroup was the pod's, or why that cannot be told; `None` where it was not written down.
fn read_cgroup(dir: &Path) -> Option<Result<CgroupPath, String>> {
    let mut text = String::new();
    let read =
        File::open(dir.join(CGROUP)).and_then(|file| file.take(CGROUP_BYTES_MAX).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
        Ok(_) => Some(CgroupPath::parse(&text).map_err(|error| error.to_string())),
    }
}

/// Takes away what a pod has in its folder, but for the sockets.
pub(crate) fn folder(dir: &Path) {
    for name in [CONTAINERS, "runtime", SHARED_MEMORY] {
        rootfs::remove(&dir.join(name));
    }
    for name in [CGROUP, NEW_CGROUP, HOSTS, HOSTNAME, RESOLV_CONF] {
        // Not all need be there.
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Kills all processes of a cgroup, those below it included, and waits until they are gone.
pub(crate) fn processes(cgroups: &Cgroups, cgroup: &CgroupPath) {
    let until = Instant::now() + KILL_MAX;
    loop {
        let held = cgroups.kill(cgroup);
        if held.is_empty() {
            return;
        }
        // Some are children of this one by now, and nobody else waits for them.
        held.iter().for_each(|held| wait_until(held, until));
        if Instant::now() > until {
            return say(&format!("some processes of {cgroup} do not end"));
        }
    }
}

/// Kills commands of the runtime that outlived the shim which began them, by the folder that is named in each.
fn commands(root: &Path) {
    let root = root.as_os_str().as_encoded_bytes();
    let mut killed = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        // Held before it is looked at, so that it cannot be another one by then.
        let Ok(held) = Held::new(pid) else { continue };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if words.split(|byte| *byte == 0).any(|word| word == root) {
            let _ = pidfd_send_signal(&held.fd, Signal::KILL);
            killed.push(held);
        }
    }
    let until = Instant::now() + KILL_MAX;
    killed.iter().for_each(|held| wait_until(held, until));
}

/// Waits for the end of a process, and takes it where it is a child; not for ever.
pub(crate) fn wait_for(held: &Held) {
    wait_until(held, Instant::now() + KILL_MAX);
}

fn wait_until(held: &Held, until: Instant) {
    let limit = until.saturating_duration_since(Instant::now());
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    let mut fds = [PollFd::new(&held.fd, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&limit));
    // One that is no child has been taken by somebody else.
    let _ = waitid(WaitId::Pid(held.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// Memory that the containers of a pod share.
pub(crate) fn mount_shared_memory(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount(Path::new("shm"), dir, c"tmpfs", flags, c"mode=1777,size=65536k")
}

/// Name of the file that says which cgroup is the pod's.
const CGROUP: &str = "cgroup";
/// And before it is complete.
const NEW_CGROUP: &str = "cgroup.new";
/// More than the longest.
const CGROUP_BYTES_MAX: u64 = 4096;

/// How long a process may take to die: one that waits for a disk does when the disk answers.
pub(crate) const KILL_MAX: Duration = Duration::from_secs(10);

//! The namespaces that a pod's containers share, held open by the shim: they need no process of their own, leave no mount behind, and
//! are gone with the last who is in them.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    process,
};

use dunlin_edge_node_core::sandbox::linux::LinuxPod;
use oci_spec::runtime::LinuxNamespaceType;
use rustix::process::Pid;

use crate::{spec::shared_namespaces, sys, sysctl};

/// A pod's namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    held: Vec<(LinuxNamespaceType, File)>,
}

impl Namespaces {
    /// Makes what the pod has of its own, but for that of processes. This process is where it was afterwards.
    pub(crate) fn new(pod: &LinuxPod) -> io::Result<Self> {
        let kinds = shared_namespaces(pod.network, pod.ipc);
        let back = Entered::new(&kinds)?;
        let made = inside(pod, &kinds);
        drop(back);
        Ok(Self { held: made? })
    }

    /// Takes that of the pod's first process for its processes.
    pub(crate) fn hold_processes_of(&mut self, first: Pid) -> io::Result<()> {
        let namespace = File::open(format!("/proc/{}/ns/pid", first.as_raw_nonzero()))?;
        self.held.retain(|(kind, _)| *kind != LinuxNamespaceType::Pid);
        self.held.push((LinuxNamespaceType::Pid, namespace));
        Ok(())
    }

    /// Their kinds, and names for them that hold as long as this process lives.
    pub(crate) fn paths(&self) -> Vec<(LinuxNamespaceType, PathBuf)> {
        let path = |file: &File| PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
        self.held.iter().map(|(kind, file)| (*kind, path(file))).collect()
    }

    /// A name for that of the network, where the pod has one.
    pub(crate) fn network(&self) -> Option<String> {
        let mut paths = self.paths().into_iter();
        let (_, path) = paths.find(|(kind, _)| *kind == LinuxNamespaceType::Network)?;
        Some(path.display().to_string())
    }

    /// Those that a process goes into that is no container of its own.
    pub(crate) fn without_processes(&self) -> io::Result<Vec<(LinuxNamespaceType, File)>> {
        let held = self.held.iter().filter(|(kind, _)| *kind != LinuxNamespaceType::Pid);
        held.map(|(kind, file)| Ok((*kind, file.try_clone()?))).collect()
    }
}

/// For as long as it is there, this process, or what it forks, is in new namespaces.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Vec<(LinuxNamespaceType, File)>,
}

impl Entered {
    fn new(kinds: &[LinuxNamespaceType]) -> io::Result<Self> {
        let before = kinds.iter().map(|kind| Ok((*kind, current(*kind)?))).collect::<io::Result<Vec<_>>>()?;
        sys::unshare(kinds.iter().fold(0, |flags, kind| flags | flag(*kind)))?;
        Ok(Self { before })
    }

    /// The next child is the first in a new namespace of processes.
    pub(crate) fn new_for_children() -> io::Result<Self> {
        Self::new(&[LinuxNamespaceType::Pid])
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        for (kind, namespace) in &self.before {
            if let Err(error) = sys::enter(namespace.as_fd(), flag(*kind)) {
                // In the wrong place everything else would go wrong, and into others' hands.
                crate::say(&format!("failed to go back to the machine's namespace: {error}"));
                sys::exit_now(1);
            }
        }
    }
}

/// What is to be done in the new ones.
fn inside(pod: &LinuxPod, kinds: &[LinuxNamespaceType]) -> io::Result<Vec<(LinuxNamespaceType, File)>> {
    for kind in kinds {
        match kind {
            LinuxNamespaceType::Uts => rustix::system::sethostname(pod.hostname.as_bytes())?,
            LinuxNamespaceType::Network => sys::raise_loopback()?,
            _ => {}
        }
    }
    sysctl::set(pod)?;
    kinds.iter().map(|kind| Ok((*kind, current(*kind)?))).collect()
}

/// Gives this process mounts of its own: what is mounted for the pod is seen by nobody else and gone with it; what the machine mounts
/// later is still seen here.
pub(crate) fn own_mounts() -> io::Result<()> {
    sys::unshare(libc::CLONE_NEWNS)?;
    sys::change_mount(Path::new("/"), libc::MS_SLAVE | libc::MS_REC)?;
    hide_second_hierarchy();
    Ok(())
}

/// On a machine with version 1 of cgroups, systemd mounts a nearly empty version 2 beside it, over which runtimes stumble. It has
/// nothing that a container needs.
fn hide_second_hierarchy() {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if rustix::fs::statfs(unified).is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC) {
        // Where it stays, runtimes that get along with it go on doing so.
        let _ = sys::unmount(unified);
    }
}

/// Of version 2 of cgroups, in `statfs`.
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

fn current(kind: LinuxNamespaceType) -> io::Result<File> {
    File::open(format!("/proc/self/ns/{kind}"))
}

pub(crate) const fn flag(kind: LinuxNamespaceType) -> libc::c_int {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Time => 0x80,
    }
}

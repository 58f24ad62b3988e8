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

use crate::{netlink, spec::shared_namespaces, sys};

/// A pod's namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    held: Vec<(LinuxNamespaceType, File)>,
}

impl Namespaces {
    /// Makes what the pod has of its own. This process is where it was afterwards.
    pub(crate) fn new(pod: &LinuxPod) -> io::Result<Self> {
        let kinds = shared_namespaces(pod.network, pod.ipc);
        let own = kinds.iter().map(|kind| Ok((*kind, current(*kind)?))).collect::<io::Result<Vec<_>>>()?;
        let flags = kinds.iter().fold(0, |flags, kind| flags | flag(*kind));
        sys::unshare(flags)?;
        let made = inside(pod, &kinds);
        for (kind, namespace) in &own {
            // Where this fails the shim is in the wrong place for everything else, and must not go on.
            sys::enter(namespace.as_fd(), flag(*kind))?;
        }
        Ok(Self { held: made? })
    }

    /// Their kinds, and names for them that hold as long as this process lives.
    pub(crate) fn paths(&self) -> Vec<(LinuxNamespaceType, PathBuf)> {
        let path = |file: &File| PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
        self.held.iter().map(|(kind, file)| (*kind, path(file))).collect()
    }
}

/// What is to be done in the new ones.
fn inside(pod: &LinuxPod, kinds: &[LinuxNamespaceType]) -> io::Result<Vec<(LinuxNamespaceType, File)>> {
    for kind in kinds {
        match kind {
            LinuxNamespaceType::Uts => rustix::system::sethostname(pod.hostname.as_bytes())?,
            LinuxNamespaceType::Network => netlink::raise_loopback()?,
            _ => {}
        }
    }
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

const fn flag(kind: LinuxNamespaceType) -> libc::c_int {
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

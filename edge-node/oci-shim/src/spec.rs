//! From a container as the agent describes it to the configuration that an OCI runtime reads.
//!
//! Pure: what only the machine can tell comes in a [`Place`].

mod capabilities;
mod mounts;
mod resources;
mod seccomp;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use dunlin_edge_node_core::sandbox::linux::{
    LinuxPod, LinuxSpec, PodNetwork, ProcessSharing, Propagation, Share, Stdio,
};
use dunlin_link::exec::ExecRequest;
use oci_spec::runtime::{
    Linux, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Process, Root, Spec, User,
    get_default_maskedpaths, get_default_readonly_paths,
};

pub(crate) use self::{capabilities::Available, resources::limits, seccomp::parse_profile};
use crate::{
    cgroup::{CgroupPath, ShortOfMemory, Swap, View},
    devices::Device,
};

/// What of the machine a container is put onto.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// What it shares with the others of its pod.
    pub(crate) pod: &'a LinuxPod,
    /// Its own cgroup.
    pub(crate) cgroup: &'a CgroupPath,
    /// Where its file system is.
    pub(crate) rootfs: &'a Path,
    /// The folder with what the containers of the pod share: `hosts`, `hostname`, `resolv.conf`, `shm`.
    pub(crate) shared: &'a Path,
    /// Namespaces that it goes into.
    pub(crate) namespaces: Vec<(LinuxNamespaceType, PathBuf)>,
    /// Who it is, by its own files.
    pub(crate) user: ResolvedUser,
    /// Where its mounts come from, in the order of the specification.
    pub(crate) sources: &'a [PathBuf],
    /// What of the image is mounted over itself, to be written: the path inside, and where it comes from.
    pub(crate) image_volumes: &'a [(String, PathBuf)],
    /// What this process itself may do: it cannot give more.
    pub(crate) available: Available,
    /// Devices of the machine that it has.
    pub(crate) devices: Vec<Device>,
    /// Whether it sees its cgroups.
    pub(crate) cgroup_view: View,
    /// Whether a limit of memory can be one of swap, too.
    pub(crate) swap: Swap,
    /// Who can be made to end when its memory is short.
    pub(crate) short_of_memory: ShortOfMemory,
    /// Sizes of large pages that can have a limit.
    pub(crate) page_sizes: &'a [String],
    /// The profile that the specification names as a file of the machine.
    pub(crate) seccomp: Option<LinuxSeccomp>,
}

/// A user by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<String>,
}

/// The configuration of a container.
pub(crate) fn build(container: &LinuxSpec, place: &Place<'_>) -> Spec {
    let mut root = Root::default();
    root.set_path(place.rootfs.to_owned()).set_readonly(Some(container.security.read_only_root));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_hostname(None)
        .set_mounts(Some(mounts::build(container, place)))
        .set_process(Some(process(container, place)))
        .set_linux(Some(linux(container, place)));
    spec
}

/// Another process in a container that runs: as its own, with another command.
pub(crate) fn exec_process(own: &Process, request: &ExecRequest) -> Process {
    let mut process = own.clone();
    process.set_args(Some(request.command.clone())).set_terminal(Some(request.tty));
    if request.tty {
        let env = process.env_mut().get_or_insert_default();
        if !env.iter().any(|entry| entry.starts_with("TERM=")) {
            env.push(TERM.to_owned());
        }
    }
    process
}

fn process(container: &LinuxSpec, place: &Place<'_>) -> Process {
    let security = &container.security;
    let mut user = User::default();
    user.set_uid(place.user.uid).set_gid(place.user.gid);
    if !place.user.groups.is_empty() {
        user.set_additional_gids(Some(place.user.groups.clone()));
    }
    let cwd = if container.working_dir.is_empty() { "/" } else { &container.working_dir };
    let mut process = Process::default();
    process
        .set_terminal(Some(container.stdio == Stdio::Terminal))
        .set_user(user)
        .set_args(Some(container.args.clone()))
        .set_env(Some(environment(container, place)))
        .set_cwd(PathBuf::from(cwd))
        .set_capabilities(Some(capabilities::build(security, place.available)))
        .set_rlimits(None)
        // Where it says `false`, youki loads the filter of system calls too late to be allowed to.
        .set_no_new_privileges(security.no_new_privileges.then_some(true))
        .set_apparmor_profile(security.apparmor.clone())
        .set_oom_score_adj(Some(place.available.oom_score_adj(container.resources.oom_score_adj)));
    process
}

/// What the pod declares, and what every program expects.
fn environment(container: &LinuxSpec, place: &Place<'_>) -> Vec<String> {
    let declared = &container.env;
    let mut env: Vec<String> = declared.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let has = |name: &str| declared.iter().any(|(known, _)| known == name);
    if !has("PATH") {
        env.push(PATH.to_owned());
    }
    if !has("HOSTNAME") {
        env.push(format!("HOSTNAME={}", place.pod.hostname));
    }
    if !has("HOME") {
        env.push(format!("HOME={}", place.user.home.as_deref().unwrap_or("/")));
    }
    if container.stdio == Stdio::Terminal && !has("TERM") {
        env.push(TERM.to_owned());
    }
    env
}

fn linux(container: &LinuxSpec, place: &Place<'_>) -> Linux {
    let security = &container.security;
    let mut linux = Linux::default();
    linux
        .set_cgroups_path(Some(place.cgroup.as_path().to_owned()))
        .set_resources(Some(resources::build(&container.resources, security, place)))
        .set_namespaces(Some(namespaces(place)))
        .set_devices(
            (!place.devices.is_empty())
                .then(|| place.devices.iter().map(|device| device.node.clone()).collect()),
        )
        .set_seccomp(seccomp::build(security, place.seccomp.as_ref()));
    let is_masked = !security.privileged && !security.unmasked_proc;
    linux
        .set_masked_paths(is_masked.then(masked_paths))
        .set_readonly_paths(is_masked.then(get_default_readonly_paths));
    let propagations = || container.mounts.iter().map(|mount| mount.propagation);
    if propagations().any(|propagation| propagation == Propagation::Bidirectional) {
        linux.set_rootfs_propagation(Some("shared".to_owned()));
    } else if propagations().any(|propagation| propagation == Propagation::HostToContainer) {
        linux.set_rootfs_propagation(Some("slave".to_owned()));
    }
    linux
}

/// What of `/proc` and `/sys` tells of the machine, or changes it.
fn masked_paths() -> Vec<String> {
    let more = ["/proc/interrupts", "/sys/devices/virtual/powercap"];
    get_default_maskedpaths().into_iter().chain(more.map(str::to_owned)).collect()
}

/// New ones for what is a container's alone, the pod's for the rest; none where it shares the machine's.
fn namespaces(place: &Place<'_>) -> Vec<LinuxNamespace> {
    let mut kinds = vec![LinuxNamespaceType::Mount, LinuxNamespaceType::Cgroup];
    let has_others = place.namespaces.iter().any(|(kind, _)| *kind == LinuxNamespaceType::Pid);
    if place.pod.processes == ProcessSharing::Container && !has_others {
        kinds.push(LinuxNamespaceType::Pid);
    }
    let namespace = |kind: LinuxNamespaceType, path: Option<PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path);
        namespace
    };
    let own = kinds.into_iter().map(|kind| namespace(kind, None));
    let shared = place.namespaces.iter().map(|(kind, path)| namespace(*kind, Some(path.clone())));
    own.chain(shared).collect()
}

/// Which namespaces the containers of a pod have together.
pub(crate) fn shared_namespaces(network: PodNetwork, ipc: Share) -> Vec<LinuxNamespaceType> {
    let network =
        (network == PodNetwork::Own).then_some([LinuxNamespaceType::Network, LinuxNamespaceType::Uts]);
    let ipc = (ipc == Share::Own).then_some(LinuxNamespaceType::Ipc);
    network.into_iter().flatten().chain(ipc).collect()
}

/// Which version of the specification this is; runtimes of Debian 12 know it.
const OCI_VERSION: &str = "1.0.2";
/// Where programs are, for an image that does not say it.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The least that a terminal can do.
const TERM: &str = "TERM=xterm";

//! What a pod says that only ordinary Linux containers can honour. Since version 6.
//!
//! It is a part of a [`crate::pod::PodAssignment`] that travels in a frame of its own, because a released struct never changes. A peer of
//! an older version is not told of it; it runs no Linux containers. Nobody knows what a container is before its image is here, so a pod
//! of WASM containers carries what it says, too.

mod signal;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes,
    pod::{Protocol, PullPolicy},
    volumes::VolumePart,
};

pub use signal::{BadSignal, Signal};

/// Of one pod, with all defaults applied. The default is that of a pod that says nothing, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLinux {
    /// `status.qosClass`.
    pub qos: QosClass,
    /// `hostPID` and `shareProcessNamespace`.
    pub processes: ProcessNamespace,
    /// `hostIPC`.
    pub host_ipc: bool,
    /// `securityContext.sysctls`, in order.
    pub sysctls: Vec<(String, String)>,
    /// `securityContext.fsGroup`.
    pub fs_group: Option<FsGroup>,
    /// `securityContext.supplementalGroups`.
    pub supplemental_groups: Vec<u32>,
    /// `securityContext.supplementalGroupsPolicy`.
    pub groups_policy: GroupsPolicy,
    /// `hostAliases`: lines of `/etc/hosts`.
    pub host_aliases: Vec<HostAlias>,
    /// `dnsPolicy` and `dnsConfig`.
    pub dns: PodDns,
    /// `subdomain`, or empty.
    pub subdomain: String,
    /// `setHostnameAsFQDN`.
    pub hostname_is_fqdn: bool,
    /// Volumes of the kind `image` that some container mounts.
    pub images: Vec<ImageVolume>,
    /// Init containers, then containers, each in the order of the spec; empty when none says anything.
    pub containers: Vec<ContainerLinux>,
}

/// Who goes first when a node runs out of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    /// Nothing is requested or limited.
    #[default]
    BestEffort,
    /// Something is.
    Burstable,
    /// Limits equal requests, for everything.
    Guaranteed,
}

/// Which processes a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessNamespace {
    /// Its own.
    #[default]
    Container,
    /// Those of its pod: `shareProcessNamespace`.
    Pod,
    /// The machine's: `hostPID`.
    Host,
}

/// Whose group the files of volumes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsGroup {
    /// The group, in which every container is, too.
    pub gid: u32,
    /// `fsGroupChangePolicy`.
    pub policy: FsGroupPolicy,
}

/// When the files of a volume are given to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FsGroupPolicy {
    /// Whenever the volume is made ready.
    Always,
    /// When the top of the volume is not the group's.
    OnRootMismatch,
}

/// Which groups of the image's `/etc/group` a container is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupsPolicy {
    /// Those that name its user, beside what the pod says.
    #[default]
    Merge,
    /// None.
    Strict,
}

/// An address with its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// `ip`.
    pub ip: String,
    /// `hostnames`.
    pub hostnames: Vec<String>,
}

/// What is in a pod's `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodDns {
    /// Where it begins.
    pub policy: DnsPolicy,
    /// `dnsConfig.nameservers`, behind those of the policy.
    pub nameservers: Vec<String>,
    /// `dnsConfig.searches`, likewise.
    pub searches: Vec<String>,
    /// `dnsConfig.options`: they replace those of the policy by name.
    pub options: Vec<(String, Option<String>)>,
}

/// Where a pod's `/etc/resolv.conf` begins: `dnsPolicy`, with what `hostNetwork` makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsPolicy {
    /// With the cluster's.
    #[default]
    ClusterFirst,
    /// With the machine's.
    Default,
    /// With nothing.
    None,
}

/// A volume that holds the files of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageVolume {
    /// `name`, unique in the pod.
    pub name: String,
    /// `image.reference`.
    pub reference: String,
    /// `image.pullPolicy`.
    pub pull_policy: PullPolicy,
}

/// Of one container. What it says itself counts before what its pod says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLinux {
    /// `runAsUser`; `None` for the image's.
    pub uid: Option<u32>,
    /// `runAsGroup`; `None` for the image's.
    pub gid: Option<u32>,
    /// `runAsNonRoot`: it does not start as user 0.
    pub refuse_root: bool,
    /// `privileged`.
    pub privileged: bool,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`, where that is possible.
    pub no_new_privileges: bool,
    /// `capabilities.add` in capitals and without `CAP_`; `ALL` is all.
    pub add_capabilities: Vec<String>,
    /// `capabilities.drop`, likewise.
    pub drop_capabilities: Vec<String>,
    /// `seccompProfile`.
    pub seccomp: SeccompProfile,
    /// `appArmorProfile`.
    pub app_armor: AppArmorProfile,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
    /// `stdin` and `stdinOnce`.
    pub stdin: Stdin,
    /// `tty`.
    pub tty: bool,
    /// `lifecycle.stopSignal`; `None` for the image's.
    pub stop_signal: Option<Signal>,
    /// `resources.limits` of huge pages: bytes of a page, bytes of all.
    pub huge_pages: Vec<(Bytes, Bytes)>,
    /// What there is to say of mounts of volumes, but for where they are.
    pub mounts: Vec<MountOptions>,
    /// `volumeMounts` of [`PodLinux::images`], in order.
    pub images: Vec<ImageMount>,
    /// `volumeDevices`.
    pub devices: Vec<VolumeDevice>,
    /// Where host ports are, if not on all addresses of the node.
    pub host_addresses: Vec<HostAddress>,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// The usual ones.
    #[default]
    RuntimeDefault,
    /// All.
    Unconfined,
    /// What this file of the node's folder of profiles says.
    Localhost(String),
}

/// What AppArmor lets a container do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmorProfile {
    /// The usual where the machine has AppArmor, else everything.
    #[default]
    Unset,
    /// The usual. It does not start where the machine has no AppArmor.
    RuntimeDefault,
    /// Everything.
    Unconfined,
    /// What the machine's profile of this name says.
    Localhost(String),
}

/// The standard input of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// It has none.
    #[default]
    None,
    /// `stdin`: what attached callers write.
    Open,
    /// `stdinOnce`: what the first attached caller writes.
    Once,
}

/// More about a volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    /// `mountPath`, by which it is known.
    pub path: String,
    /// `mountPropagation`.
    pub propagation: MountPropagation,
    /// `recursiveReadOnly`.
    pub recursive_read_only: RecursiveReadOnly,
}

/// Which mounts that are made later are seen on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// None.
    #[default]
    None,
    /// The container sees the machine's.
    HostToContainer,
    /// Both see the other's.
    Bidirectional,
}

/// Whether what is mounted below a read-only mount is read-only, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecursiveReadOnly {
    /// It is as it is.
    #[default]
    Disabled,
    /// It is, where the machine can do that.
    IfPossible,
    /// It is, or the container does not start.
    Enabled,
}

/// The files of an image in a container; it never may change them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMount {
    /// Name of the volume.
    pub volume: String,
    /// `mountPath`.
    pub path: String,
    /// What of the image.
    pub part: VolumePart,
}

/// A block device in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeDevice {
    /// Name of the volume.
    pub volume: String,
    /// `devicePath`.
    pub path: String,
}

/// The address of a host port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAddress {
    /// `hostPort`.
    pub host_port: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `hostIP`.
    pub address: String,
}

impl PodLinux {
    /// What is said of the container at a place, init containers first; `None` when nothing is.
    pub fn of(&self, index: usize) -> Option<&ContainerLinux> {
        self.containers.get(index)
    }

    /// The groups that every container is in, beside its own and those of its image.
    pub fn groups(&self) -> impl Iterator<Item = u32> {
        self.fs_group.iter().map(|group| group.gid).chain(self.supplemental_groups.iter().copied())
    }

    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

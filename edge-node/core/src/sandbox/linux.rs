//! An ordinary Linux container, as a pod's shim runs it with an OCI runtime.
//!
//! Everything is resolved by the agent but what only the image's files can tell: who a user's name is. `Debug` shows neither
//! arguments nor values of variables, which may be secret.

use std::fmt;

use dunlin_link::{Bytes, ContainerId, MilliCpu, linux::GroupsPolicy, volumes::Access};
use serde::{Deserialize, Serialize};

use super::Owner;

/// Everything a shim needs to run one container.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxSpec {
    /// Drawn by the agent, unique for ever.
    pub id: ContainerId,
    /// Whose it is.
    pub owner: Owner,
    /// Folders of unpacked layers, the lowest first; immutable, and others' too.
    pub layers: Vec<String>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Environment, resolved.
    pub env: Vec<(String, String)>,
    /// Where it starts; empty for the root.
    pub working_dir: String,
    /// As whom.
    pub user: LinuxUser,
    /// Its standard streams.
    pub stdio: Stdio,
    /// Log file (CRI format) that the shim appends to and rotates.
    pub log: String,
    /// A container of the pod that runs, whose processes it sees, instead of those that the pod says.
    pub processes_of: Option<ContainerId>,
    /// What it may use.
    pub resources: LinuxResources,
    /// What it may do.
    pub security: Security,
    /// What it sees of the machine; no path twice. An outer one is mounted before those inside it, whatever the order here.
    pub mounts: Vec<LinuxMount>,
    /// `VOLUME` of the image: folders that can be written to even where the rest of its files cannot; none of them is a mount's.
    pub volumes: Vec<String>,
    /// Devices of the machine that it may use.
    pub devices: Vec<LinuxDevice>,
    /// Text of `/etc/hosts`. The file is the pod's: the latest container's text is there for all.
    pub hosts: String,
    /// Text of `/etc/resolv.conf`, likewise.
    pub resolv_conf: String,
    /// File whose beginning is the message of the end, if the container wrote it. It is among the mounts.
    pub termination_message: Option<String>,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
}

/// What the containers of a pod share: made once, before them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxPod {
    /// Name of the machine, as they see it.
    pub hostname: String,
    /// Their network.
    pub network: PodNetwork,
    /// `hostIPC`.
    pub ipc: Share,
    /// Which processes its containers see.
    pub processes: ProcessSharing,
    /// Its cgroup, absolute below the root of each hierarchy, for instance `/dunlin/burstable/pod1234`.
    pub cgroup: String,
    /// What all of them together may use. `oom_score_adj` is each container's own and says nothing here.
    pub resources: LinuxResources,
    /// `securityContext.sysctls`, of the pod's own namespaces.
    pub sysctls: Vec<(String, String)>,
}

/// Which processes the containers of a pod see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessSharing {
    /// Each its own.
    Container,
    /// Those of the whole pod: `shareProcessNamespace`.
    Pod,
    /// The machine's: `hostPID`.
    Host,
}

/// How the runner of a pod's WASM containers is started: inside the pod's network, IPC and host name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerSpec {
    /// The program: as `/proc/PID/exe` of the agent that asks it is of the agent's own version, also where its file has been replaced.
    pub program: String,
    /// What follows the program's name, without `--socket`.
    pub args: Vec<String>,
    /// Where it serves the agent; given to it as `--socket`.
    pub socket: String,
    /// File that its own words are appended to.
    pub log: String,
}

/// The network of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodNetwork {
    /// The machine's: `hostNetwork`.
    Host,
    /// One of its own with loopback alone, until somebody gives it more.
    Own,
}

/// Whose namespace a pod is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// The machine's.
    Host,
    /// One of its own.
    Own,
}

/// As whom a container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxUser {
    /// What the image says: empty, or `USER[:GROUP]` with names or numbers of its own files.
    pub of_image: String,
    /// `runAsUser`.
    pub uid: Option<u32>,
    /// `runAsGroup`.
    pub gid: Option<u32>,
    /// `fsGroup` and `supplementalGroups`.
    pub groups: Vec<u32>,
    /// `supplementalGroupsPolicy`: which groups of the image's files it is in beside.
    pub groups_policy: GroupsPolicy,
    /// `runAsNonRoot`: it does not start as user 0.
    pub refuse_root: bool,
}

/// The standard streams of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// Output to the log, no input.
    Log,
    /// `stdin`: input of whoever attaches.
    Input,
    /// `tty`: a terminal.
    Terminal,
}

/// What a container, or a pod, may use; `None` is without a limit of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxResources {
    /// `requests.cpu`: its weight among others.
    pub cpu_request: Option<MilliCpu>,
    /// `limits.cpu`.
    pub cpu_limit: Option<MilliCpu>,
    /// `limits.memory`.
    pub memory_limit: Option<Bytes>,
    /// Processes and threads.
    pub pids_limit: Option<u32>,
    /// `limits` of `hugepages-*`: the size of a page, and how much memory in such pages. Of sizes that are not named there is none.
    pub hugepages: Vec<(Bytes, Bytes)>,
    /// Who is killed first when memory is short; -1000 to 1000.
    pub oom_score_adj: i32,
}

/// `securityContext`, with all defaults applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `privileged`: everything that the machine's root may do, and all devices.
    pub privileged: bool,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `capabilities.add`, without `CAP_`; `ALL` is all.
    pub add_capabilities: Vec<String>,
    /// `capabilities.drop`, without `CAP_`; `ALL` is all.
    pub drop_capabilities: Vec<String>,
    /// `seccompProfile`.
    pub seccomp: Seccomp,
    /// Name of the AppArmor profile, on machines that have it.
    pub apparmor: Option<String>,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The usual ones.
    RuntimeDefault,
    /// All.
    Unconfined,
    /// As this profile has it: a file of the machine, in the format that Kubernetes' nodes read.
    Localhost(String),
}

/// Something of the machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxMount {
    /// A folder or file that no container has made; of an image that is a volume nothing.
    pub source: String,
    /// Of an image that is a volume: folders of its unpacked layers, the lowest first. Nothing in them can be started or changed.
    pub layers: Vec<String>,
    /// What of it: relative, or empty for all of it. Containers may have had their hands in it, so no link on the way is followed.
    pub inside: String,
    /// Where the container sees it; absolute.
    pub path: String,
    /// Whether it may change what it sees.
    pub access: Access,
    /// `mountPropagation`.
    pub propagation: Propagation,
    /// Whether what is mounted below it cannot be changed, either.
    pub all_read_only: bool,
}

/// A device of the machine that a container may use: `volumeDevices`, and what device plugins give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxDevice {
    /// The device's file on the machine.
    pub path_on_machine: String,
    /// Where the container has it; absolute.
    pub path: String,
    /// Whether it may be written to.
    pub access: Access,
}

/// Which mounts that are made later are seen on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// None.
    None,
    /// The container sees the machine's.
    HostToContainer,
    /// Each sees the other's; for privileged ones.
    Bidirectional,
}

impl Default for Security {
    /// What a container has that says nothing.
    fn default() -> Self {
        Self {
            privileged: false,
            read_only_root: false,
            no_new_privileges: false,
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            seccomp: Seccomp::RuntimeDefault,
            apparmor: None,
            unmasked_proc: false,
        }
    }
}

impl fmt::Debug for LinuxSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxSpec")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("layers", &self.layers)
            .field("user", &self.user)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

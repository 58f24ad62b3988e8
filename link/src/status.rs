//! What a node tells about its pods and about itself. Times are the node's clock; the coordinator corrects them on entry.

use serde::{Deserialize, Serialize};

use crate::{Bytes, ContainerId, Digest, MilliCpu, PodUid, UnixMillis, container_support::ContainerSupport};

/// The node-owned part of one pod's status, whole. A later `sequence` replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatusReport {
    /// The pod.
    pub uid: PodUid,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Rises with every change of this pod's report, over restarts of the agent too.
    pub sequence: u64,
    /// `metadata.generation` of the assignment that this describes.
    pub observed_generation: i64,
    /// `status.phase`.
    pub phase: PodPhase,
    /// `status.reason`, or empty.
    pub reason: String,
    /// `status.message`, or empty.
    pub message: String,
    /// The condition types that the node owns.
    pub conditions: Vec<PodCondition>,
    /// `status.hostIP`, or empty.
    pub host_ip: String,
    /// `status.podIP`, or empty before one is assigned.
    pub pod_ip: String,
    /// `status.startTime`: when the node accepted the pod.
    pub start_time: Option<UnixMillis>,
    /// In the order of the spec.
    pub init_containers: Vec<ContainerStatus>,
    /// In the order of the spec, and behind them those of [`crate::ephemeral::PodEphemeral`].
    pub containers: Vec<ContainerStatus>,
    /// True once the pod's deletion is complete on the node: nothing of it runs or will run again.
    pub stopped: bool,
    /// Where the pod's ports can be reached on the node's machine itself; never enters an API object.
    pub local_endpoints: Vec<LocalEndpoint>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted; some container has not started yet.
    Pending,
    /// Bound and all containers were created.
    Running,
    /// All containers ended with exit code 0 and none is started again.
    Succeeded,
    /// All containers ended, one of them in failure, and none is started again.
    Failed,
}

/// One pod condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCondition {
    /// Which.
    pub kind: PodConditionKind,
    /// `status`.
    pub status: bool,
    /// `reason`, or empty.
    pub reason: String,
    /// `message`, or empty.
    pub message: String,
    /// When `status` last changed.
    pub last_transition: UnixMillis,
}

/// The condition types that a node owns; all others are the coordinator's or a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PodConditionKind {
    /// The sandbox is there and has its address.
    PodReadyToStartContainers,
    /// All init containers completed.
    Initialized,
    /// All containers are ready.
    ContainersReady,
    /// The pod can serve.
    Ready,
    /// A spec field is accepted but has no effect on this pod; the message names it.
    FieldsIgnored,
}

/// One container's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Container name.
    pub name: String,
    /// The image as written.
    pub image: String,
    /// Digest that runs or ran.
    pub image_digest: Option<Digest>,
    /// The current or last run.
    pub container_id: Option<ContainerId>,
    /// `ready`.
    pub ready: bool,
    /// `started`.
    pub started: bool,
    /// `restartCount`.
    pub restart_count: u32,
    /// `state`.
    pub state: ContainerState,
    /// `lastState`: the run before, always `Terminated`.
    pub last_state: Option<Terminated>,
}

/// `state` of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Not running yet, or between two runs.
    Waiting {
        /// For instance `ContainerCreating`, `ErrImagePull`, `CrashLoopBackOff`.
        reason: String,
        /// Why, for a person.
        message: String,
    },
    /// Running.
    Running {
        /// Since when.
        started_at: UnixMillis,
    },
    /// Ended.
    Terminated(Terminated),
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminated {
    /// Which run.
    pub container_id: Option<ContainerId>,
    /// Exit code: the guest's own, 134 for a trap, 137 when killed.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`, ...
    pub reason: String,
    /// Detail: the trap, or the termination message.
    pub message: String,
    /// When the run started.
    pub started_at: UnixMillis,
    /// When it ended.
    pub finished_at: UnixMillis,
}

/// A pod port's address on the node's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEndpoint {
    /// The declared container port.
    pub container_port: u16,
    /// For instance `127.42.0.5:8080`.
    pub address: String,
}

/// What a node is and has; sent when a session opens and again when something of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// `status.nodeInfo.architecture` in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// `linux`.
    pub operating_system: String,
    /// `status.nodeInfo.kernelVersion`.
    pub kernel_version: String,
    /// `status.nodeInfo.osImage`.
    pub os_image: String,
    /// `status.nodeInfo.machineID`.
    pub machine_id: String,
    /// `status.nodeInfo.bootID`.
    pub boot_id: String,
    /// Version of the dunlin binary: `status.nodeInfo.kubeletVersion`.
    pub version: String,
    /// `status.nodeInfo.containerRuntimeVersion`, for instance `wasmtime://48.0.8`.
    pub runtime_version: String,
    /// Host name and addresses.
    pub hostname: String,
    /// Addresses by which other machines may reach the node.
    pub addresses: Vec<String>,
    /// `status.capacity`.
    pub capacity: NodeResources,
    /// `status.allocatable`.
    pub allocatable: NodeResources,
    /// Labels the operator gave on the node's own configuration.
    pub labels: Vec<(String, String)>,
    /// Taints the operator gave on the node's own configuration: key, value, effect.
    pub taints: Vec<(String, String, String)>,
    /// Whether it runs Linux containers; `None` where nothing is told of that. No part of this struct's encoding: it travels in an
    /// extension of `Hello`, and does not change while a session lasts.
    #[serde(skip)]
    pub containers: Option<Box<ContainerSupport>>,
    /// Large pages that the machine keeps: bytes of a page, bytes of all. Likewise.
    #[serde(skip)]
    pub huge_pages: Vec<(Bytes, Bytes)>,
}

/// Amounts a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeResources {
    /// CPU.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Disk space of the node's state folder.
    pub ephemeral_storage: Bytes,
    /// Number of pods.
    pub pods: u32,
}

/// An event that a node saw, to become an Event object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// The pod it is about; `None` means the node itself.
    pub pod: Option<EventPod>,
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// For instance `Pulled`, `Started`, `BackOff`.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// When.
    pub at: UnixMillis,
}

/// The pod that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPod {
    /// Its uid.
    pub uid: PodUid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Container in it, or empty.
    pub container: String,
}

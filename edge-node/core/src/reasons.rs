//! Kubernetes' words for what happens to pods on a node, in one place: reasons of states, conditions and events.

/// Waiting: the container's turn has come, nothing runs yet.
pub const CONTAINER_CREATING: &str = "ContainerCreating";
/// Waiting: init containers have not completed.
pub const POD_INITIALIZING: &str = "PodInitializing";
/// Waiting: between two runs.
pub const CRASH_LOOP_BACK_OFF: &str = "CrashLoopBackOff";
/// Waiting: the last pull failed.
pub const ERR_IMAGE_PULL: &str = "ErrImagePull";
/// Waiting: between two pulls.
pub const IMAGE_PULL_BACK_OFF: &str = "ImagePullBackOff";
/// Waiting and event: the image is not here and must not be pulled.
pub const ERR_IMAGE_NEVER_PULL: &str = "ErrImageNeverPull";
/// Waiting: the image's name is not one.
pub const INVALID_IMAGE_NAME: &str = "InvalidImageName";
/// Waiting: environment or arguments cannot be put together.
pub const CREATE_CONTAINER_CONFIG_ERROR: &str = "CreateContainerConfigError";
/// Waiting: the container cannot be put together on this machine.
pub const CREATE_CONTAINER_ERROR: &str = "CreateContainerError";

/// Terminated with exit code 0.
pub const COMPLETED: &str = "Completed";
/// Terminated with another exit code.
pub const ERROR: &str = "Error";
/// Terminated by its memory limit.
pub const OOM_KILLED: &str = "OOMKilled";
/// Terminated before it ran: the module cannot run here.
pub const CONTAINER_CANNOT_RUN: &str = "ContainerCannotRun";
/// Terminated before it ran: the host failed.
pub const START_ERROR: &str = "StartError";
/// Terminated, nobody knows how.
pub const CONTAINER_STATUS_UNKNOWN: &str = "ContainerStatusUnknown";

/// Condition: some init container has not completed.
pub const CONTAINERS_NOT_INITIALIZED: &str = "ContainersNotInitialized";
/// Condition: some container is not ready.
pub const CONTAINERS_NOT_READY: &str = "ContainersNotReady";
/// Condition: the pod succeeded.
pub const POD_COMPLETED: &str = "PodCompleted";
/// Condition: the pod failed.
pub const POD_FAILED: &str = "PodFailed";
/// Condition: a port's protocol has no effect.
pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";

/// Pod: its `activeDeadlineSeconds` have passed.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// Pod: too little of something, whose name follows: `OutOfcpu`.
pub const OUT_OF: &str = "OutOf";
/// Pod: a host port is taken.
pub const NODE_PORTS: &str = "NodePorts";
/// Pod and event: it asks for a profile of AppArmor, which the machine does not have.
pub const APP_ARMOR: &str = "AppArmor";
/// Pod: a sysctl that not every pod may set.
pub const SYSCTL_FORBIDDEN: &str = "SysctlForbidden";
/// Pod: no address is left in the node's blocks.
pub const OUT_OF_ADDRESSES: &str = "OutOfaddresses";

/// Event: a pod's own sandbox cannot be made.
pub const FAILED_CREATE_POD_SANDBOX: &str = "FailedCreatePodSandBox";
/// Event: a Secret that images are to be pulled with is missing.
pub const FAILED_TO_RETRIEVE_IMAGE_PULL_SECRET: &str = "FailedToRetrieveImagePullSecret";
/// Event: a pod's sandbox is gone; what the pod does begins anew.
pub const SANDBOX_CHANGED: &str = "SandboxChanged";
/// Event: a volume of a pod cannot be put in place.
pub const FAILED_MOUNT: &str = "FailedMount";
/// Pod, and event: the machine was short of something.
pub const EVICTED: &str = "Evicted";
/// A node ends pods, or drops what no pod needs, because it is short of something.
pub const EVICTION_THRESHOLD_MET: &str = "EvictionThresholdMet";
/// Pod: the machine went down.
pub const TERMINATED: &str = "Terminated";
/// Pod: the machine is going down.
pub const NODE_SHUTDOWN: &str = "NodeShutdown";

/// Event: a pull began.
pub const PULLING: &str = "Pulling";
/// Event: the image is here.
pub const PULLED: &str = "Pulled";
/// Event: the coordinator compiles the image's module.
pub const COMPILING: &str = "Compiling";
/// Event: the container exists.
pub const CREATED: &str = "Created";
/// Event: the container runs.
pub const STARTED: &str = "Started";
/// Event: waiting before the next try.
pub const BACK_OFF: &str = "BackOff";
/// Event: the container is being stopped.
pub const KILLING: &str = "Killing";
/// Event: a probe failed or could not be asked.
pub const UNHEALTHY: &str = "Unhealthy";
/// Event: requests to an HTTP handler failed.
pub const REQUEST_FAILED: &str = "RequestFailed";
/// Event: a guest was refused something of the network.
pub const DENIED: &str = "Denied";
/// Event: a probe went well, but for something that a person should know.
pub const PROBE_WARNING: &str = "ProbeWarning";
/// Event: the hook after the start failed.
pub const FAILED_POST_START_HOOK: &str = "FailedPostStartHook";
/// Event: the hook before the stop failed.
pub const FAILED_PRE_STOP_HOOK: &str = "FailedPreStopHook";
/// Event: a step failed.
pub const FAILED: &str = "Failed";
/// Event: the image's name could not be read.
pub const INSPECT_FAILED: &str = "InspectFailed";
/// Event: the node cannot write what it must remember.
pub const STATE_NOT_WRITTEN: &str = "StateNotWritten";
/// Event: an archive in the folder of images is of no use.
pub const IMAGES_NOT_LOADED: &str = "ImagesNotLoaded";
/// Event: it can again.
pub const STATE_WRITTEN: &str = "StateWritten";
/// Event: the disk of the node's state takes no writes; as node-problem-detector calls it.
pub const FILESYSTEM_READ_ONLY: &str = "FilesystemIsReadOnly";
/// Event: it does again.
pub const FILESYSTEM_WRITABLE: &str = "FilesystemIsNotReadOnly";
/// Event: a pod the coordinator does not name any more is kept.
pub const POD_HELD: &str = "PodHeld";

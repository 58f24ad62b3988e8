//! Messages between the agent and a sandbox (the WASM runner, or a pod's shim for Linux containers) over a unix socket.
//!
//! Each message is a frame: a little-endian `u32` length, at most [`MESSAGE_BYTES_MAX`], then its postcard encoding. The agent
//! sends [`Request`]s; the sandbox sends [`Event`]s. The sandbox outlives the agent: a new agent connects, says `Hello`, and is
//! told every container that exists, ended ones included, until it removes them. One agent at a time: a newer connection
//! replaces the older.

pub mod linux;
pub mod stream;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use dunlin_link::{
    Bytes, ContainerId, MilliCpu, UnixMillis, guest::GuestSettings, pod::Protocol, volumes::Access,
};
use serde::{Deserialize, Serialize};

/// Version of these messages; a sandbox of another version is drained and replaced, never spoken to by guesswork.
pub const PROTOCOL: u32 = 10;

/// Largest encoded message: a container spec with the largest environment Kubernetes accepts, with room.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What the agent asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First message of a connection; answered by `Welcome`, one `Container` per container, and `Synced`.
    Hello {
        /// [`PROTOCOL`] of the agent.
        protocol: u32,
    },
    /// Create and start a container. A container of the same id that exists already is left alone and reported again.
    Start(Box<ContainerSpec>),
    /// Ask the guest to stop by itself; after `grace_ms` it is interrupted. A second `Stop` may only shorten the grace.
    Stop {
        /// Which container.
        id: ContainerId,
        /// Milliseconds; 0 interrupts at once.
        grace_ms: u64,
    },
    /// Forget a container that has ended.
    Remove {
        /// Which container.
        id: ContainerId,
    },
    /// End all containers at once and exit.
    Shutdown,
    /// Create and start a Linux container; only shims can, and only when the pod is open. Otherwise as `Start`.
    StartLinux(Box<linux::LinuxSpec>),
    /// Make what the containers of a pod share; only shims can. Answered by `PodOpened` or `PodFailed`. When it is there already it
    /// is left as it is, and answered again.
    OpenPod(Box<linux::LinuxPod>),
    /// Start a runner of WASM inside the pod, which has to be open; only shims can. Answered by `RunnerOpened` or `RunnerEnded`. One that
    /// runs with a number beyond `after` is left alone, and answered again; an earlier one is ended first.
    OpenRunner {
        /// How it is started.
        spec: Box<linux::RunnerSpec>,
        /// The number of the latest that is known to be of no use any more; 0 for none.
        after: u64,
    },
}

/// What a sandbox tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Answer to `Hello`.
    Welcome {
        /// [`PROTOCOL`] of the sandbox.
        protocol: u32,
        /// Its process id.
        pid: u32,
        /// For instance `wasmtime://48.0.8`.
        runtime: String,
        /// Key of the target that it runs code of; empty when it runs none.
        target: String,
    },
    /// State of one container: after `Hello`, and whenever it changes.
    Container {
        /// Which container.
        id: ContainerId,
        /// Whose it is, so that an agent that lost its memory can still tell.
        owner: Owner,
        /// Its state now.
        state: State,
    },
    /// All containers have been told; changes follow.
    Synced,
    /// Requests to a container's HTTP handler failed since it was told last.
    RequestsFailed {
        /// Which container.
        id: ContainerId,
        /// Whose it is.
        owner: Owner,
        /// How many since it began.
        count: u64,
        /// What is said of the last.
        message: String,
    },
    /// What the containers of the pod share is there. After `Hello` it is told again, before `Synced`.
    PodOpened {
        /// The pod's network namespace, as a path that others on the machine can open while the shim lives; `None` for the machine's.
        netns: Option<String>,
    },
    /// What the containers of the pod share could not be made. Nothing of it is left; it may be asked for again.
    PodFailed {
        /// Why, for a person.
        message: String,
    },
    /// The runner inside the pod was started; it may take a moment until it serves its socket. After `Hello` it is told again, before
    /// `Synced`.
    RunnerOpened {
        /// Which runner of this shim: each attempt to start one has the next number, from 1.
        number: u64,
        /// Its process id.
        pid: u32,
    },
    /// The runner inside the pod ended, or could not be started. It may be asked for again.
    RunnerEnded {
        /// Which runner. News of one that has been replaced may come late.
        number: u64,
        /// Why, for a person.
        message: String,
    },
    /// A container's guest was refused something of the network.
    Denied {
        /// Which container.
        id: ContainerId,
        /// Whose it is.
        owner: Owner,
        /// What, and why.
        message: String,
    },
}

/// The pod and name a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub pod: String,
    /// Container name.
    pub container: String,
    /// Number of the run: 0 for the first, the restart count after that.
    pub attempt: u32,
}

/// The life of one container; only moves forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The module is being compiled, loaded and instantiated.
    Starting,
    /// The guest runs, or its HTTP listener accepts requests.
    Running {
        /// Since when.
        started_at: UnixMillis,
    },
    /// The guest ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why.
    pub cause: ExitCause,
    /// Detail for a person: the trap with its first frames, or what could not be loaded.
    pub message: String,
    /// `None` when it never ran.
    pub started_at: Option<UnixMillis>,
    /// When it ended.
    pub finished_at: UnixMillis,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCause {
    /// The guest ended with this code.
    Code(i32),
    /// The guest trapped: exit code 134.
    Trap,
    /// A memory limit stopped it: exit code 137, `OOMKilled`.
    OutOfMemory,
    /// Stopped by itself within its grace after a `Stop`: exit code 143 where the guest gave none.
    Stopped,
    /// Interrupted at the end of its grace: exit code 137.
    Killed,
    /// The module cannot run here: malformed, or exports nothing runnable (`ContainerCannotRun`, 128).
    CannotRun,
    /// The host failed: no memory for it, no port, an input/output error (`StartError`, 128).
    HostError,
    /// It could not be put together: its run does not count, and is tried again (`CreateContainerError`).
    NotCreated,
}

/// Everything a sandbox needs to run one container. `Debug` shows neither arguments nor values of variables, which may be secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Drawn by the agent, unique for ever.
    pub id: ContainerId,
    /// Whose it is.
    pub owner: Owner,
    /// File of the verified `.wasm`, immutable, named by its digest in the node's module cache.
    pub module: String,
    /// `argv`, the program's name included.
    pub args: Vec<String>,
    /// Environment, resolved.
    pub env: Vec<(String, String)>,
    /// Working directory, where the guest has one.
    pub working_dir: Option<String>,
    /// Log file (CRI format) that the sandbox appends to and rotates.
    pub log: String,
    /// Limit on the guest's linear memories and tables together; `None` is the sandbox's default.
    pub memory_limit: Option<Bytes>,
    /// CPU limit; `None` is none.
    pub cpu_limit: Option<MilliCpu>,
    /// Addresses for the declared ports, already on the node's machine; a `wasi:http` handler is served on the first for TCP.
    pub listen: Vec<Listen>,
    /// The pod's address as others know it; `None` for the node's own.
    pub pod_ip: Option<Ipv4Addr>,
    /// In whose network the sandbox is.
    pub network: GuestNetwork,
    /// How it is run.
    pub settings: GuestSettings,
    /// Folders of the machine that the guest sees; no path twice.
    pub mounts: Vec<Mount>,
    /// File whose beginning is the message of the end, if the guest wrote it.
    pub termination_message: Option<String>,
    /// The file that the buckets of its namespace are in; the sandbox makes it when a guest opens one.
    pub keyvalue: Option<String>,
}

/// In whose network a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestNetwork {
    /// The machine's: what listens on its loopback is none of the guest's affair.
    Machine,
    /// The pod's own: all on its loopback is the pod's.
    Pod,
}

/// A folder of the machine that a guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// A folder that no guest has made.
    pub dir: String,
    /// What of it: relative, or empty for all of it. Guests may have had their hands in it, so no link on the way is followed.
    pub inside: String,
    /// Where the guest sees it; absolute.
    pub path: String,
    /// Whether it may change what it sees.
    pub access: Access,
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("module", &self.module)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// A declared port and the address on the node's machine that stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// `containerPort`.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where to listen.
    pub address: SocketAddr,
}

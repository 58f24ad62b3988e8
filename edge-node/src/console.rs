//! The node's own door: a unix socket in its state folder through which a person on the machine sees and orders what the agent does,
//! with or without a coordinator.
//!
//! A conversation is one [`Ask`], then [`Answer`]s up to [`Answer::End`], [`Answer::Refused`], or, after [`Answer::Log`], the bytes of
//! the log; each ask and answer is one line of JSON. Who may open the socket may do everything: it is its owner's alone.

mod client;
mod images;
mod serve;
mod serve_images;

use dunlin_link::{
    PodUid, UnixMillis,
    assignment::Tombstone,
    health::Health,
    logs::LogRequest,
    pod::PodAssignment,
    status::{NodeFacts, PodStatusReport},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::serve::{Desk, serve};
pub use self::{
    client::{Console, ConsoleError, Log},
    images::{Content, ImageKind, ImageView},
};

/// What a person asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// The node itself.
    Node,
    /// Its pods.
    Pods,
    /// A container's log.
    Log(LogRequest),
    /// A container's core dump.
    CoreDump {
        /// The pod.
        pod: PodUid,
        /// The container.
        container: String,
    },
    /// Restart one container of a pod, or all.
    Restart {
        /// The pod.
        pod: PodUid,
        /// The container; `None` for all.
        container: Option<String>,
    },
    /// Its images.
    Images,
    /// Pull an image with the node's own credentials.
    PullImage {
        /// Its name.
        name: String,
    },
    /// Remove an image that no pod uses.
    RemoveImage {
        /// Its name, digest, or the beginning of its id.
        name: String,
    },
    /// Take the images of an archive, which follows in pieces.
    ImportImages {
        /// What the only one in it is called here.
        name: Option<String>,
    },
    /// Send an image as an archive.
    ExportImage {
        /// Its name.
        name: String,
    },
    /// End all pods, because the machine goes down; answered when that is done.
    Shutdown {
        /// What all pods have together.
        grace_seconds: u32,
        /// What of it is kept for critical ones.
        critical_seconds: u32,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The node itself.
    Node(Box<NodeView>),
    /// One of its pods; others follow.
    Pod(Box<PodView>),
    /// The log's bytes follow, or those of what else was asked for, to the end of the stream.
    Log,
    /// One of its images; others follow.
    Image(Box<ImageView>),
    /// The names that were pulled, imported or removed.
    Names(Vec<String>),
    /// An archive follows in pieces.
    Content,
    /// These containers are being restarted.
    Restarted(Vec<String>),
    /// That is all.
    End,
    /// It cannot be done, and why.
    Refused(String),
}

/// The node as its agent sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// What the machine is and has.
    pub facts: NodeFacts,
    /// When the agent started, and how often one has.
    pub started_at: UnixMillis,
    /// See `started_at`.
    pub starts: u64,
    /// Revision of the last change that is durable here.
    pub applied_revision: u64,
    /// The restore generation that it belongs to.
    pub restore_generation: u64,
    /// Since when a session is open.
    pub connected_since: Option<UnixMillis>,
    /// When the coordinator was last heard since the agent started.
    pub last_contact: Option<UnixMillis>,
    /// How the machine fares, and how much waits to be told.
    pub health: Health,
    /// Memory of the agent's and the runner's process, where there is one of its own.
    pub memory_bytes: (Option<u64>, Option<u64>),
    /// What the logs of its pods take.
    pub logs: LogUsage,
    /// What the agent has under way.
    pub queues: Queues,
    /// `NAMESPACE/NAME` of pods whose latest status no coordinator has recorded.
    pub unreported: Vec<String>,
    /// Deletions that the coordinator has not closed yet.
    pub tombstones: Vec<Tombstone>,
    /// Files in the folder of static pods that are none, with the reason.
    pub rejected_manifests: Vec<(String, String)>,
}

/// What the logs of all pods take, as of the agent's last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogUsage {
    /// Bytes of all log files.
    pub bytes: u64,
    /// Above this the oldest go.
    pub bytes_max: u64,
    /// Files that went for that since the agent started.
    pub dropped_files: u64,
    /// What they had.
    pub dropped_bytes: u64,
}

/// Work that waits in the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queues {
    /// Modules being fetched.
    pub fetches: usize,
    /// Changes of the coordinator that wait for the one being committed.
    pub changes: usize,
    /// Requests that the runner has not taken.
    pub requests: usize,
    /// Writes to the local state under way.
    pub writes: usize,
}

/// One pod as its agent sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// What it runs.
    pub assignment: PodAssignment,
    /// Its status now.
    pub report: PodStatusReport,
    /// What keeps it here.
    pub keeper: Keeper,
    /// Whether it is known what of it runs; until the runner has answered it is not.
    pub synced: bool,
    /// Whether the coordinator has recorded the status.
    pub reported: bool,
}

/// What keeps a pod on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Keeper {
    /// A manifest on the node's own disk.
    Static,
    /// The coordinator assigned it, at this revision.
    Assigned(u64),
    /// The coordinator neither names nor deletes it.
    Held,
    /// The coordinator deleted it.
    Buried(Tombstone),
}

/// Name of the socket in a node's state folder.
pub const SOCKET: &str = "node.sock";

/// Largest line with an ask.
const ASK_BYTES_MAX: usize = 64 << 10;

/// Largest line with an answer: a pod with the largest environment there is, and room for JSON's escapes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

//! The bodies of control frames: what node and coordinator say on the one stream that makes a session.
//!
//! A released struct never changes; a new shape is a new struct with a new kind. Only [`Hello`] and [`Welcome`] can grow, by
//! extensions whose unknown tags are ignored. Digests and times mean what `docs/design/link.md` says.

use serde::{Deserialize, Serialize};

use crate::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{Refusal, Tombstone},
    care::PodCare,
    frame::{Kind, Message},
    linux::PodLinux,
    pod::{ConfigObject, PodAssignment},
    sealed::Sealed,
    status::{NodeEvent, NodeFacts, PodStatusReport},
    volumes::PodVolumes,
};

/// The protocol versions that this build speaks, lowest and highest.
pub const PROTOCOL_VERSIONS: (u16, u16) = (1, 8);

/// Orders the sessions of a node: `term` rises with each start of the coordinator, `counter` with each session in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Persisted once per start of the coordinator.
    pub term: u64,
    /// Counted in memory.
    pub counter: u64,
}

/// Orders the connections of one agent, so that one that was opened earlier but is seen later does not replace a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Drawn at each start of the agent.
    pub agent: u64,
    /// Counts the agent's connections.
    pub counter: u64,
}

/// Data whose tag a receiver may not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// What it is; unknown tags are ignored.
    pub tag: u16,
    /// Encoded as the tag says.
    pub bytes: Vec<u8>,
}

/// Tag of the extension of [`Hello`] that names the version by which the node was told what it holds, as an encoded `u16`: what an older
/// one does not carry is missing there. Left out below [`TOLD_BY_FIRST`].
pub const TOLD_BY_TAG: u16 = 2;

/// The first version that [`TOLD_BY_TAG`] names.
pub const TOLD_BY_FIRST: u16 = 4;

/// The node opens a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who it says it is; its certificate must agree.
    pub node: NodeName,
    /// The boot of its machine.
    pub boot_id: BootId,
    /// Which connection of which agent this is.
    pub attempt: Attempt,
    /// Lowest and highest protocol version it speaks.
    pub protocol: (u16, u16),
    /// The restore generation that `last_applied_revision` belongs to.
    pub restore_generation: u64,
    /// Revision of its last committed change; zero before the first.
    pub last_applied_revision: Revision,
    /// [`crate::assignment::state_digest`] of what it holds.
    pub state_digest: Digest,
    /// Its clock as it sends this.
    pub sent_at: UnixMillis,
    /// What it is and has.
    pub facts: NodeFacts,
    /// What later versions add.
    pub extensions: Vec<Extension>,
}

/// The coordinator accepts a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The session's place in the order of all sessions of this node.
    pub epoch: Epoch,
    /// Highest protocol version that both speak.
    pub protocol: u16,
    /// The coordinator's clock.
    pub server_time: UnixMillis,
    /// Which cluster this is.
    pub cluster_id: String,
    /// Rises when the cluster is restored from a backup.
    pub restore_generation: u64,
    /// How the node should behave.
    pub tunables: Tunables,
    /// What later versions add.
    pub extensions: Vec<Extension>,
}

/// What the coordinator decides about a node's side of the connection, from the next connection on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunables {
    /// How often an idle connection is kept open.
    pub keep_alive_ms: u64,
    /// Silence after which the connection is dead.
    pub idle_timeout_ms: u64,
    /// Upper bound of the jittered delay between attempts to connect.
    pub reconnect_ms_max: u64,
}

/// The coordinator takes no session now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    /// When to try again at the earliest.
    pub retry_after_ms: u64,
}

/// The coordinator refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For a person.
    pub reason: String,
}

/// The answer to a frame of unknown kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// The kind.
    pub kind: u16,
}

/// The coordinator asks for a sign of life. A node knows no more of it than that it is answered, as any unknown kind is, by
/// [`Unsupported`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe;

/// Starts an assignment change; its parts follow, then [`AssignmentEnd`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentBegin {
    /// `None` for a snapshot; otherwise what the node must hold for this delta to apply.
    pub base: Option<Revision>,
    /// What the node holds afterwards.
    pub revision: Revision,
    /// Digest of what the node holds afterwards.
    pub state_digest: Digest,
}

/// New or changed pods of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentPods {
    /// Each with the revision of its assignment.
    pub upserts: Vec<(Revision, PodAssignment)>,
}

/// Pods that a change stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentTombstones {
    /// In any order.
    pub tombstones: Vec<Tombstone>,
}

/// Pods that a change makes the node forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentForget {
    /// In any order.
    pub uids: Vec<PodUid>,
}

/// Content that a change brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentObjects {
    /// Each with its digest.
    pub objects: Vec<(Digest, ConfigObject)>,
}

/// Content that a change brings, sealed to the key that the node has named. Since version 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentSealed {
    /// Each with its id.
    pub objects: Vec<(Digest, Sealed)>,
}

/// How the containers of pods that follow in the same change are looked after; of those only that ask for anything. Since version 4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentCare {
    /// By pod.
    pub care: Vec<(PodUid, PodCare)>,
}

/// What files the containers of pods see that follow in the same change; of those only of which there is anything to say. Since version 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentVolumes {
    /// By pod.
    pub volumes: Vec<(PodUid, PodVolumes)>,
}

/// What the Linux containers of pods are told that follow in the same change; of those only that say anything. Since version 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentLinux {
    /// By pod.
    pub linux: Vec<(PodUid, PodLinux)>,
}

/// Completes a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentEnd {
    /// As in [`AssignmentBegin`].
    pub revision: Revision,
}

/// The node has committed a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentAck {
    /// What it holds now.
    pub revision: Revision,
    /// Pods it will not run.
    pub refusals: Vec<Refusal>,
}

/// The node holds something else than the coordinator thinks and asks for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// What it holds.
    pub revision: Revision,
    /// Digest of what it holds.
    pub state_digest: Digest,
    /// For a person.
    pub reason: String,
}

/// Statuses of pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBatch {
    /// The node's clock as it sends this.
    pub sent_at: UnixMillis,
    /// At most one per pod.
    pub reports: Vec<PodStatusReport>,
}

/// The coordinator has recorded these reports or later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAck {
    /// Pod and sequence.
    pub recorded: Vec<(PodUid, u64)>,
}

/// Events that the node saw; best effort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The node's clock as it sends this.
    pub sent_at: UnixMillis,
    /// Oldest first.
    pub events: Vec<NodeEvent>,
    /// How many were dropped before these for want of room.
    pub dropped: u64,
}

/// The node's facts have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// All of them.
    pub facts: NodeFacts,
}

/// The node asks for a new certificate of its registered key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// PKCS#10 request, DER, signed by the registered key.
    pub certificate_request: Vec<u8>,
}

/// The new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// Gives each struct its kind.
macro_rules! kinds {
    ($($message:ident = $kind:literal),* $(,)?) => {
        $(impl Message for $message { const KIND: Kind = Kind($kind); })*
    };
}

kinds! {
    Hello = 0x0101,
    Welcome = 0x0102,
    Busy = 0x0103,
    Refused = 0x0104,
    Unsupported = 0x0105,
    Probe = 0x0107,
    AssignmentBegin = 0x0110,
    AssignmentPods = 0x0111,
    AssignmentTombstones = 0x0112,
    AssignmentForget = 0x0113,
    AssignmentObjects = 0x0114,
    AssignmentEnd = 0x0115,
    AssignmentAck = 0x0116,
    Resync = 0x0117,
    AssignmentSealed = 0x0118,
    AssignmentCare = 0x0119,
    AssignmentVolumes = 0x011A,
    AssignmentLinux = 0x011B,
    StatusBatch = 0x0120,
    StatusAck = 0x0121,
    Events = 0x0122,
    Facts = 0x0123,
    Renew = 0x0130,
    Renewed = 0x0131,
}

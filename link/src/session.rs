//! The session between a node and the coordinator, as one pure machine for each side.
//!
//! A machine is fed with bytes, commands and the time, and is then asked for bytes to send, outputs to act on, and the moment at
//! which it wants to be called again. It survives any loss of the connection: what must not be lost is either held by the node
//! until acknowledged, or recomputed from the desired set.

mod change;
pub mod clock;
pub mod coordinator;
pub mod node;
mod outbox;
mod plan;
pub mod protocol;
pub mod registry;
pub mod renewal;
mod sealer;
mod statics;
mod statuses;

use std::time::Duration;

use crate::{NodeName, Revision, frame::FrameError, message::Epoch, sealed::SealError, with_causes};

/// How long either side waits for the other's greeting.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the coordinator waits for a change to be committed once it has arrived: a slow card under load, with room to spare.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(120);

/// The slowest line on which a change is still waited for. Below this it would be begun anew for ever, as each session would give it up.
pub const LINE_BYTES_PER_SECOND_MIN: u64 = 1 << 10;

/// How long a change of so many bytes may take from its first byte to its acknowledgement.
pub(crate) fn ack_timeout(bytes: u64) -> Duration {
    ACK_TIMEOUT + Duration::from_secs(bytes / LINE_BYTES_PER_SECOND_MIN)
}

/// How long a session must last before the next failure to connect counts as the first.
pub const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Why a connection was closed, as a number that the other side can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The side is shutting down.
    GoingAway = 0,
    /// Who connects may not.
    Refused = 1,
    /// No room now.
    Busy = 2,
    /// A newer session of the same node took its place.
    Superseded = 3,
    /// What arrived breaks the protocol.
    Protocol = 4,
    /// The certificate has expired: renew it on a connection of its own, then come again.
    Expired = 5,
}

/// As much of a reason as a close frame can carry: it must fit into one packet.
pub fn close_reason(reason: &str) -> &[u8] {
    let end = (0..=reason.len().min(CLOSE_REASON_BYTES_MAX)).rev().find(|end| reason.is_char_boundary(*end));
    &reason.as_bytes()[..end.unwrap_or(0)]
}

/// See [`close_reason`].
const CLOSE_REASON_BYTES_MAX: usize = 512;

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A frame is too long, malformed, or out of place.
    #[error("the other side broke the protocol")]
    Frame(#[from] FrameError),
    /// No greeting came in time.
    #[error("no greeting within {} s", GREETING_TIMEOUT.as_secs())]
    GreetingTimeout,
    /// A change was not acknowledged in time.
    #[error("revision {revision}, of {bytes} bytes, was not acknowledged within {} s", ack_timeout(*bytes).as_secs())]
    AckTimeout {
        /// Which.
        revision: Revision,
        /// All its frames.
        bytes: u64,
    },
    /// The node says another name than its certificate.
    #[error("the certificate belongs to node {certificate}, but the node calls itself {said}")]
    WrongNode {
        /// Whom the certificate names.
        certificate: NodeName,
        /// What the node says.
        said: NodeName,
    },
    /// No protocol version is common.
    #[error("no common protocol version: the node speaks {node:?}, the coordinator {coordinator:?}")]
    Version {
        /// Lowest and highest of the node.
        node: (u16, u16),
        /// Lowest and highest of the coordinator.
        coordinator: (u16, u16),
    },
    /// The coordinator's epoch is not above one that the node has seen.
    #[error("session epoch {offered:?} is not newer than {seen:?}")]
    StaleEpoch {
        /// What the coordinator offers.
        offered: Epoch,
        /// The newest that the node has seen.
        seen: Epoch,
    },
    /// The coordinator is of another cluster than the one the node joined.
    #[error("the coordinator is of cluster {offered}, the node of {joined}")]
    WrongCluster {
        /// What the coordinator says.
        offered: String,
        /// What the node has joined.
        joined: String,
    },
    /// The cluster was restored from a backup without a record that proves it.
    #[error(
        "the coordinator says that the cluster was restored (generation {offered}, the node is at {applied}), but shows no \
         record of that which the cluster's authority signed"
    )]
    RestoreGeneration {
        /// What the coordinator says.
        offered: u64,
        /// What the node has.
        applied: u64,
    },
    /// The coordinator's state is of before a restore that the node has seen.
    #[error(
        "the coordinator's state is older than the cluster: it is at restore generation {offered}, the node has seen {seen}; \
         an old disk or backup was started in place of the restored one"
    )]
    OlderGeneration {
        /// The coordinator's.
        offered: u64,
        /// The node's.
        seen: u64,
    },
    /// The coordinator sent an older state than the node has.
    #[error("the coordinator sent revision {sent} to a node that holds {held}")]
    OlderRevision {
        /// What it sent.
        sent: Revision,
        /// What the node holds.
        held: Revision,
    },
    /// The parts of a change do not fit together.
    #[error("malformed assignment change: {0}")]
    Change(&'static str),
    /// The coordinator asks for more answers than it takes.
    #[error("the coordinator does not read what it is answered")]
    Unread,
    /// A change is larger than a node may be asked to buffer.
    #[error("the assignment change to revision {0} is too large")]
    ChangeTooLarge(Revision),
    /// What the node calls its sealing key is none.
    #[error("the node names a sealing key that is none")]
    SealingKey,
    /// Content cannot be sealed to the node's key.
    #[error("failed to seal content for the node")]
    Sealing(#[from] SealError),
    /// The node cannot open content that it holds, and begins anew to be sent everything.
    #[error("content that the node holds cannot be opened; asking for everything again")]
    StartOver,
    /// A node states more static pods than it can have, or one that is larger than it may be.
    #[error("more, or larger, static pods than a node may state")]
    StaticPods,
    /// More pods report than a node can have.
    #[error("statuses of more pods wait than a node can have")]
    TooManyPods,
    /// The other side refused.
    #[error("refused: {0}")]
    Refused(String),
    /// The node's certificate has expired, and it greets with it.
    #[error("the node's certificate has expired: it may only be renewed")]
    Expired,
    /// The coordinator has no room.
    #[error("the coordinator is busy")]
    Busy,
}

impl SessionError {
    /// What to tell the other side by number.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::WrongNode { .. }
            | Self::Version { .. }
            | Self::WrongCluster { .. }
            | Self::RestoreGeneration { .. }
            | Self::OlderGeneration { .. }
            | Self::SealingKey
            | Self::Sealing(_) => CloseCode::Refused,
            Self::Busy => CloseCode::Busy,
            Self::Expired => CloseCode::Expired,
            Self::GreetingTimeout | Self::AckTimeout { .. } | Self::Refused(_) | Self::StartOver => {
                CloseCode::GoingAway
            }
            _ => CloseCode::Protocol,
        }
    }

    /// The message with its causes, for the other side and for logs.
    pub fn reason(&self) -> String {
        with_causes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::close_reason;

    #[test]
    fn reasons_are_cut_between_characters() {
        assert_eq!(close_reason("short"), b"short");
        assert_eq!(close_reason(""), b"");
        let long = format!("x{}", "\u{e9}".repeat(400));
        assert_eq!(close_reason(&long), &long.as_bytes()[..511]);
    }
}

//! Heads of the streams beside the control stream: logs, opened by the coordinator; artifacts, opened by the node.
//!
//! Whoever opens a stream sends one head frame and finishes its side; the answer is one head frame and then raw bytes until the
//! stream ends. A stream reset by its sender is incomplete.

use serde::{Deserialize, Serialize};

use crate::{
    Digest,
    frame::{Kind, Message},
    logs::LogRequest,
};

/// Asks a node for a container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOpen {
    /// Which.
    pub request: LogRequest,
}

/// What a node answers to [`LogOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogAnswer {
    /// The log's bytes follow.
    Opened,
    /// There is no such log, and why; nothing follows.
    Refused(String),
}

/// Asks the coordinator for content by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactOpen {
    /// What.
    pub digest: Digest,
    /// How many bytes of it the node has already.
    pub offset: u64,
}

/// What the coordinator answers to [`ArtifactOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArtifactAnswer {
    /// The bytes from the offset follow.
    Found {
        /// Length of the whole content.
        total_bytes: u64,
    },
    /// Nothing follows, and why.
    Refused(String),
}

impl Message for LogOpen {
    const KIND: Kind = Kind(0x0301);
}

impl Message for LogAnswer {
    const KIND: Kind = Kind(0x0302);
}

impl Message for ArtifactOpen {
    const KIND: Kind = Kind(0x0303);
}

impl Message for ArtifactAnswer {
    const KIND: Kind = Kind(0x0304);
}

//! Heads of the streams beside the control stream: logs, core dumps, commands, attachments, connections and forwards, opened by the
//! coordinator; artifacts and content of images, opened by the node.
//!
//! Whoever opens a stream sends one head frame; the answer is one head frame. For logs, artifacts and content the opener's side
//! ends there, and raw bytes follow the answer until the stream ends; so they do for core dumps, whose opener says nothing more. On the others both sides go on: with frames (see [`crate::exec`]) or, for a
//! connection or a forward, with its bytes. A stream reset by its sender is incomplete.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, PodUid,
    exec::{AttachRequest, ExecRequest},
    frame::{Kind, Message},
    logs::{LogRequest, LogStreams},
};

/// Asks a node for a container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOpen {
    /// Which.
    pub request: LogRequest,
}

/// Asks a node for some of a container's log. Since version 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStreamsOpen {
    /// Which log.
    pub request: LogRequest,
    /// Which of its lines.
    pub streams: LogStreams,
}

/// What a node answers to [`LogOpen`] and [`LogStreamsOpen`].
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

/// Asks the coordinator for content of an image in its own registry: a manifest, or something that a manifest names. Since version 7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentOpen {
    /// The repository, without the registry.
    pub repository: String,
    /// What.
    pub digest: Digest,
    /// How many bytes of it the node has already.
    pub offset: u64,
}

/// What the coordinator answers to [`ContentOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentAnswer {
    /// The bytes from the offset follow.
    Found {
        /// Of a manifest: what it was pushed as. Empty for everything else.
        media_type: String,
        /// Length of the whole content.
        total_bytes: u64,
    },
    /// Nothing follows: it is a module that a pod names by its own digest, to be asked for by [`ArtifactOpen`].
    Module,
    /// Nothing follows, and why.
    Refused(String),
}

/// Asks a node to run a command in a container. Since version 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOpen {
    /// Which command, and where.
    pub request: ExecRequest,
}

/// Asks a node for a container's streams. Since version 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOpen {
    /// Which container.
    pub request: AttachRequest,
}

/// Asks a node for a connection to a port of a pod. Since version 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectOpen {
    /// The pod.
    pub uid: PodUid,
    /// Its port.
    pub port: u16,
}

/// Asks a node for a connection to a port of a pod as its containers see it: on its localhost. Since version 8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardOpen {
    /// The pod.
    pub uid: PodUid,
    /// Its port.
    pub port: u16,
}

/// Asks a node for the core dump that a container left when it trapped. Since version 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDumpOpen {
    /// The pod.
    pub uid: PodUid,
    /// Container name.
    pub container: String,
}

/// What a node answers to [`ExecOpen`], [`AttachOpen`], [`ConnectOpen`], [`ForwardOpen`] and [`CoreDumpOpen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamAnswer {
    /// The stream is what was asked for.
    Opened,
    /// It is not; nothing follows.
    Refused {
        /// In a word.
        reason: StreamRefusal,
        /// For a person.
        message: String,
    },
}

/// Why a node does not open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamRefusal {
    /// What is asked for cannot be done with this container.
    Impossible,
    /// There is no such pod or container, or it does not run now.
    NotRunning,
    /// Too many streams of this kind are open.
    TooMany,
    /// The node failed.
    Failed,
}

impl Message for LogOpen {
    const KIND: Kind = Kind(0x0301);
}

impl Message for LogStreamsOpen {
    const KIND: Kind = Kind(0x0305);
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

impl Message for ContentOpen {
    const KIND: Kind = Kind(0x0307);
}

impl Message for ContentAnswer {
    const KIND: Kind = Kind(0x0308);
}

impl Message for ExecOpen {
    const KIND: Kind = Kind(0x0310);
}

impl Message for AttachOpen {
    const KIND: Kind = Kind(0x0311);
}

impl Message for CoreDumpOpen {
    const KIND: Kind = Kind(0x0306);
}

impl Message for StreamAnswer {
    const KIND: Kind = Kind(0x0312);
}

impl Message for ConnectOpen {
    const KIND: Kind = Kind(0x0320);
}

impl Message for ForwardOpen {
    const KIND: Kind = Kind(0x0321);
}

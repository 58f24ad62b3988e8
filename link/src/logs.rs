//! Reading a container's log through the link: the coordinator opens a stream to the node with a [`LogRequest`].

use serde::{Deserialize, Serialize};

use crate::{PodUid, UnixMillis};

/// Of which streams of the container lines are wanted; in the words of `PodLogOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogStreams {
    /// Of both, as they came.
    #[default]
    All,
    /// Of standard output.
    Stdout,
    /// Of standard error.
    Stderr,
}

/// Which lines of which log; fields as in `PodLogOptions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The pod.
    pub uid: PodUid,
    /// Container name.
    pub container: String,
    /// Keep the stream open and send lines as they come.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Only lines at or after this time.
    pub since: Option<UnixMillis>,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Put each line's RFC 3339 time before it.
    pub timestamps: bool,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
}

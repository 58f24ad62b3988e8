//! Running a command in a container, and attaching to the one that it runs: what travels on a stream once it is open.
//!
//! The heads that open such a stream are in [`crate::stream`]. After the answer both sides send frames, each of at most
//! [`EXEC_FRAME_BYTES_MAX`](crate::limits::EXEC_FRAME_BYTES_MAX): [`Input`] towards the process, [`Output`] back, of which
//! [`Output::End`] is the last. Frames of other kinds are skipped, so that later versions can add some. What is not read is held back
//! by the stream itself; whoever resets or stops it gives the process up.
//!
//! The same frames travel between client and coordinator, and between a node's agent and the sandbox that runs the process.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    PodUid,
    frame::{Frame, FrameError, Kind, Message, encode},
};

/// Which command to run where; fields as in `PodExecOptions`. `Debug` shows no arguments, which may be secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The pod.
    pub uid: PodUid,
    /// Container name.
    pub container: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether input will come; without it the command's input is empty.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
    /// Whether the caller is a terminal: standard error then comes as standard output.
    pub tty: bool,
}

/// Which container to attach to; fields as in `PodAttachOptions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The pod.
    pub uid: PodUid,
    /// Container name.
    pub container: String,
    /// Whether input will come, and what its end means.
    pub stdin: AttachStdin,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
    /// Whether the container was declared to have a terminal: standard error then comes as standard output.
    pub tty: bool,
}

/// What an attached caller does with the container's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachStdin {
    /// Nothing.
    None,
    /// Writes to it, and leaves it open: `stdin: true`.
    Open,
    /// Writes to it, and closes it for the rest of the run when it leaves: `stdinOnce: true`.
    Once,
}

/// What goes to a process.
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes of its standard input.
    Stdin(Vec<u8>),
    /// Its standard input ends here.
    StdinEnd,
    /// The caller's terminal has this size; the first one is its size at the start.
    Resize(TerminalSize),
}

/// What comes back from a process.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes of its standard output.
    Stdout(Vec<u8>),
    /// Bytes of its standard error.
    Stderr(Vec<u8>),
    /// Nothing more will come.
    End(ExecEnd),
}

/// How it ended; the last frame towards the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecEnd {
    /// The command ended with this code.
    Exited(i32),
    /// The container that the caller was attached to ended, or was left.
    Detached,
    /// It could not go on, and why.
    Failed(String),
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Input {
    /// Encodes a frame.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Stdin(bytes) => encode(&StdinData { bytes: Blob(bytes) }),
            Self::StdinEnd => encode(&StdinEnd),
            Self::Resize(size) => encode(&Resize { size }),
        }
    }

    /// Reads a frame; `None` for a kind that has no meaning here.
    ///
    /// # Errors
    /// When its body is malformed.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, FrameError> {
        Ok(Some(match frame.kind {
            StdinData::KIND => Self::Stdin(frame.decode::<StdinData>()?.bytes.0),
            StdinEnd::KIND => frame.decode::<StdinEnd>().map(|StdinEnd| Self::StdinEnd)?,
            Resize::KIND => Self::Resize(frame.decode::<Resize>()?.size),
            _ => return Ok(None),
        }))
    }
}

impl Output {
    /// Encodes a frame.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Stdout(bytes) => encode(&StdoutData { bytes: Blob(bytes) }),
            Self::Stderr(bytes) => encode(&StderrData { bytes: Blob(bytes) }),
            Self::End(end) => encode(&end),
        }
    }

    /// Reads a frame; `None` for a kind that has no meaning here.
    ///
    /// # Errors
    /// When its body is malformed.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, FrameError> {
        Ok(Some(match frame.kind {
            StdoutData::KIND => Self::Stdout(frame.decode::<StdoutData>()?.bytes.0),
            StderrData::KIND => Self::Stderr(frame.decode::<StderrData>()?.bytes.0),
            ExecEnd::KIND => Self::End(frame.decode()?),
            _ => return Ok(None),
        }))
    }
}

/// Bytes of a process's standard input.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinData {
    /// At most [`EXEC_DATA_BYTES_MAX`](crate::limits::EXEC_DATA_BYTES_MAX).
    pub bytes: Blob,
}

/// The end of a process's standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinEnd;

/// The caller's terminal has another size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// Its size now.
    pub size: TerminalSize,
}

/// Bytes of a process's standard output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdoutData {
    /// At most [`EXEC_DATA_BYTES_MAX`](crate::limits::EXEC_DATA_BYTES_MAX).
    pub bytes: Blob,
}

/// Bytes of a process's standard error.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StderrData {
    /// At most [`EXEC_DATA_BYTES_MAX`](crate::limits::EXEC_DATA_BYTES_MAX).
    pub bytes: Blob,
}

/// Bytes that are encoded in one piece, where a list of them would be encoded one by one; the encoding is the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

struct BlobVisitor;

impl de::Visitor<'_> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(bytes.to_vec()))
    }
}

impl fmt::Debug for ExecRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecRequest")
            .field("uid", &self.uid)
            .field("container", &self.container)
            .field("stdin", &self.stdin)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// Gives types that hold a process's bytes a `Debug` that shows their number only.
macro_rules! shown_by_length {
    ($($data:ident),*) => {
        $(impl fmt::Debug for $data {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($data)).field("bytes", &self.bytes).finish()
            }
        })*
    };
}

shown_by_length!(StdinData, StdoutData, StderrData);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin(bytes) => write!(f, "Stdin([{} bytes])", bytes.len()),
            Self::StdinEnd => f.write_str("StdinEnd"),
            Self::Resize(size) => write!(f, "Resize({size:?})"),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout(bytes) => write!(f, "Stdout([{} bytes])", bytes.len()),
            Self::Stderr(bytes) => write!(f, "Stderr([{} bytes])", bytes.len()),
            Self::End(end) => write!(f, "End({end:?})"),
        }
    }
}

impl Message for StdinData {
    const KIND: Kind = Kind(0x0313);
}

impl Message for StdinEnd {
    const KIND: Kind = Kind(0x0314);
}

impl Message for Resize {
    const KIND: Kind = Kind(0x0315);
}

impl Message for StdoutData {
    const KIND: Kind = Kind(0x0316);
}

impl Message for StderrData {
    const KIND: Kind = Kind(0x0317);
}

impl Message for ExecEnd {
    const KIND: Kind = Kind(0x0318);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Decoder,
        limits::{EXEC_DATA_BYTES_MAX, EXEC_FRAME_BYTES_MAX},
    };

    fn frame(bytes: &[u8]) -> Frame {
        let mut bytes = bytes;
        let frame = Decoder::new(EXEC_FRAME_BYTES_MAX).feed(&mut bytes).unwrap().unwrap();
        assert!(bytes.is_empty());
        frame
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        let size = TerminalSize { columns: 80, rows: 24 };
        let largest = vec![7; EXEC_DATA_BYTES_MAX];
        for input in [Input::Stdin(largest.clone()), Input::StdinEnd, Input::Resize(size)] {
            let decoded = Input::decode(&frame(&input.clone().encode())).unwrap();
            assert_eq!(decoded, Some(input));
        }
        let ends = [ExecEnd::Exited(-3), ExecEnd::Detached, ExecEnd::Failed("no".into())];
        let data = [Output::Stdout(largest.clone()), Output::Stderr(largest)];
        for output in ends.into_iter().map(Output::End).chain(data) {
            let decoded = Output::decode(&frame(&output.clone().encode())).unwrap();
            assert_eq!(decoded, Some(output));
        }
    }

    #[test]
    fn other_kinds_are_skipped_and_malformed_bodies_are_not() {
        let later = Frame { kind: Kind(0x031f), body: vec![1, 2, 3] };
        assert_eq!((Input::decode(&later).unwrap(), Output::decode(&later).unwrap()), (None, None));
        let truncated = Frame { kind: StdinData::KIND, body: vec![9, 1] };
        assert!(Input::decode(&truncated).is_err());
        let trailing = Frame { kind: StdinEnd::KIND, body: vec![0] };
        assert!(Input::decode(&trailing).is_err());
    }

    #[test]
    fn bytes_and_arguments_are_not_shown() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Input::Stdin(b"secret".to_vec()),
            Output::Stderr(b"secret".to_vec()),
            StdoutData { bytes: Blob(b"secret".to_vec()) }
        );
        assert_eq!(shown, "Stdin([6 bytes]) Stderr([6 bytes]) StdoutData { bytes: [6 bytes] }");
    }
}

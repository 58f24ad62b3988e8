//! What happened, as a hash of everything and as the last of it in words.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use dunlin_link::{PodUid, Revision, moment::Moment};

use crate::network::{ConnId, Side};

/// Everything that a run does, so that two runs can be compared and a failed one read.
#[derive(Debug)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    steps: u64,
    last: VecDeque<(Moment, Note)>,
    kept: usize,
}

/// One thing that happened.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Note {
    Dialed(usize, ConnId),
    Opened(ConnId),
    Frame { conn: ConnId, to: Side, kind: u16, bytes: usize, digest: u64 },
    Closed(ConnId, Side, String),
    Committed(Revision, Vec<String>),
    Fault(String),
    Start { node: usize, uid: PodUid, attempt: u32 },
    Stop { node: usize, uid: PodUid, grace_ms: u64 },
    Ended { node: usize, uid: PodUid, why: &'static str },
    Applied { node: usize, generation: u64, revision: Revision },
    Booted { node: usize, generation: u64, revision: Revision },
    Coordinator(&'static str, u64),
    Client(&'static str, String),
}

impl Trace {
    /// Keeps the last `kept` notes in words.
    pub(crate) fn new(kept: usize) -> Self {
        Self { hasher: DefaultHasher::new(), steps: 0, last: VecDeque::new(), kept }
    }

    pub(crate) fn note(&mut self, at: Moment, note: Note) {
        self.steps += 1;
        (at, &note).hash(&mut self.hasher);
        if self.kept > 0 {
            if self.last.len() == self.kept {
                self.last.pop_front();
            }
            self.last.push_back((at, note));
        }
    }

    /// Number of notes so far.
    pub(crate) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Stands for everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last notes, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.last.iter().map(|(at, note)| format!("{:>12.6} {note}", at.0.as_secs_f64())).collect()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialed(node, conn) => write!(f, "n{node} dials as {conn}"),
            Self::Opened(conn) => write!(f, "{conn} is up"),
            Self::Frame { conn, to, kind, bytes, .. } => {
                write!(f, "{conn} brings {to:?} a frame 0x{kind:04x} of {bytes} bytes")
            }
            Self::Closed(conn, side, why) => write!(f, "{conn} ended for {side:?}: {why}"),
            Self::Committed(revision, keys) => write!(f, "store at {revision}: {}", keys.join(" ")),
            Self::Fault(text) => write!(f, "FAULT {text}"),
            Self::Start { node, uid, attempt } => write!(f, "n{node} starts {uid}, attempt {attempt}"),
            Self::Stop { node, uid, grace_ms } => write!(f, "n{node} stops {uid} within {grace_ms} ms"),
            Self::Ended { node, uid, why } => write!(f, "n{node}: a container of {uid} ended: {why}"),
            Self::Applied { node, generation, revision } => {
                write!(f, "n{node} holds generation {generation}, revision {revision}")
            }
            Self::Booted { node, generation, revision } => {
                write!(f, "n{node}'s agent starts with generation {generation}, revision {revision}")
            }
            Self::Coordinator(what, number) => write!(f, "coordinator {what} {number}"),
            Self::Client(what, about) => write!(f, "client {what} {about}"),
        }
    }
}

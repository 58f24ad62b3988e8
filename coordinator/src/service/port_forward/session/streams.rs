//! The streams of a session, and which two are a connection.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::service::{
    port_forward::{
        carry::{Inlet, PIECES_MAX},
        ports,
    },
    spdy::{Encoder, Headers, Refusal, Side, reset},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Streams {
    encoder: Encoder,
    /// Number of the latest one.
    latest: u32,
    known: HashMap<u32, Stream>,
    /// Connections of which one stream is there, by what their streams call them.
    halves: HashMap<String, Half>,
}

/// The two streams of a connection.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) data: u32,
    pub(super) error: u32,
    pub(super) port: u16,
    pub(super) inlet: Inlet,
}

/// One stream. What is said on one for errors means nothing.
#[derive(Debug)]
struct Stream {
    connection: String,
    /// Where its bytes go, as long as it has not ended.
    pieces: Option<mpsc::Sender<Bytes>>,
    /// To be cancelled when it is reset.
    left: Option<CancellationToken>,
}

#[derive(Debug)]
enum Half {
    Error(u32),
    Data { stream: u32, port: u16, inlet: Inlet },
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Error,
    Data,
}

impl Streams {
    /// A client opens a stream: the frame that answers it, and the connection that is complete with it.
    pub(super) fn open(&mut self, stream: u32, headers: &Headers, side: Side) -> (Vec<u8>, Option<Pair>) {
        if stream.is_multiple_of(2) || stream <= self.latest {
            return (reset(stream, Refusal::Protocol), None);
        }
        self.latest = stream;
        match self.admit(stream, headers, side) {
            Some(pair) => (self.encoder.reply(stream), pair),
            None => (reset(stream, Refusal::Refused), None),
        }
    }

    /// `None` for a stream that is refused.
    fn admit(&mut self, stream: u32, headers: &Headers, side: Side) -> Option<Option<Pair>> {
        let purpose = match headers.text("streamtype") {
            "error" => Purpose::Error,
            "data" => Purpose::Data,
            _ => return None,
        };
        let port = ports::parse(headers.text("port")).ok()?;
        let connection = match (headers.text("requestid"), purpose) {
            // Of clients that do not number their connections: the stream for errors comes first.
            ("", Purpose::Error) => stream.to_string(),
            ("", Purpose::Data) => stream.checked_sub(2)?.to_string(),
            (id, _) => id.to_owned(),
        };
        if self.known.len() >= STREAMS_MAX || connection.len() > ID_BYTES_MAX {
            return None;
        }
        let pair = match (purpose, self.halves.remove(&connection)) {
            (Purpose::Error, None) => {
                self.halves.insert(connection.clone(), Half::Error(stream));
                self.known.insert(stream, Stream { connection, pieces: None, left: None });
                None
            }
            (Purpose::Error, Some(Half::Data { stream: data, port, inlet })) => {
                self.known.insert(stream, Stream { connection, pieces: None, left: None });
                Some(Pair { data, error: stream, port, inlet })
            }
            (Purpose::Data, None) => {
                let inlet = self.add_data(stream, &connection, side);
                self.halves.insert(connection, Half::Data { stream, port, inlet });
                None
            }
            (Purpose::Data, Some(Half::Error(error))) => {
                let inlet = self.add_data(stream, &connection, side);
                Some(Pair { data: stream, error, port, inlet })
            }
            // It has one already.
            (Purpose::Error, Some(half @ Half::Error(_)))
            | (Purpose::Data, Some(half @ Half::Data { .. })) => {
                self.halves.insert(connection, half);
                return None;
            }
        };
        Some(pair)
    }

    fn add_data(&mut self, stream: u32, connection: &str, side: Side) -> Inlet {
        let (pieces, bytes) = mpsc::channel(PIECES_MAX);
        let left = CancellationToken::new();
        let known = Stream {
            connection: connection.to_owned(),
            pieces: (side == Side::Open).then_some(pieces),
            left: Some(left.clone()),
        };
        self.known.insert(stream, known);
        Inlet { bytes, left }
    }

    /// Hands bytes of a stream on; waits for a pod that does not take them. Those of streams that are over mean nothing.
    pub(super) async fn take(&mut self, stream: u32, bytes: Bytes, side: Side) {
        let Some(known) = self.known.get_mut(&stream) else { return };
        if let Some(pieces) = known.pieces.as_ref().filter(|_| !bytes.is_empty()) {
            if self.halves.contains_key(&known.connection) {
                // Nobody would take more than has a place: what does not fit is lost, and the connection with it.
                if pieces.try_send(bytes).is_err() {
                    return self.reset(stream);
                }
            } else {
                // Of a connection that is over nothing is wanted any more.
                let _ = pieces.send(bytes).await;
            }
        }
        if side == Side::Ended {
            known.pieces = None;
        }
    }

    /// A client gives a stream up, and with that for bytes its connection.
    pub(super) fn reset(&mut self, stream: u32) {
        let Some(known) = self.known.get_mut(&stream) else { return };
        known.pieces = None;
        if let Some(left) = &known.left {
            left.cancel();
        }
        let is_alone = self.halves.get(&known.connection).is_some_and(|half| half.stream() == stream);
        if is_alone {
            self.halves.remove(&known.connection);
            self.known.remove(&stream);
        }
    }

    /// A connection is over.
    pub(super) fn forget(&mut self, data: u32, error: u32) {
        self.known.remove(&data);
        self.known.remove(&error);
    }
}

impl Half {
    const fn stream(&self) -> u32 {
        match self {
            Self::Error(stream) | Self::Data { stream, .. } => *stream,
        }
    }
}

/// Streams of a session, twice as many as it may have connections.
const STREAMS_MAX: usize = 256;

/// What streams call their connection: kubectl counts.
const ID_BYTES_MAX: usize = 64;

//! A caller's connection: frames both ways without ever waiting, and what is kept of each is bounded.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Instant,
};

use dunlin_edge_node_core::sandbox::stream::START_BYTES_MAX;
use dunlin_link::{
    exec::{ExecEnd, Output},
    frame::{Decoder, Frame, Message, encode},
    limits::EXEC_FRAME_BYTES_MAX,
    stream::{StreamAnswer, StreamRefusal},
};

use crate::connection::is_later;

/// One connection.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: UnixStream,
    decoder: Decoder,
    untold: Vec<u8>,
    /// Nothing more will be told.
    is_over: bool,
    /// When something of it last went out, or there was nothing to go.
    pub(crate) moved_at: Instant,
}

impl Caller {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // For all frames: those that follow the first are no longer, and may have begun to arrive with it.
        const { assert!(EXEC_FRAME_BYTES_MAX <= START_BYTES_MAX) };
        let decoder = Decoder::new(START_BYTES_MAX);
        Ok(Self { stream, decoder, untold: Vec::new(), is_over: false, moved_at: Instant::now() })
    }

    pub(crate) const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether there is something to write.
    pub(crate) const fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Whether more may be told.
    pub(crate) const fn has_room(&self) -> bool {
        self.untold.len() < UNTOLD_BYTES_MAX
    }

    /// Whether it is done with.
    pub(crate) const fn is_done(&self) -> bool {
        self.is_over && self.untold.is_empty()
    }

    /// Whether its last word was said.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Reads some frames.
    ///
    /// # Errors
    /// When the caller is gone, or makes no sense.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Frame>> {
        let mut chunk = [0; READ_BYTES_MAX];
        let length = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if is_later(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = &chunk[..length];
        let mut frames = Vec::new();
        while let Some(frame) = self.decoder.feed(&mut bytes).map_err(io::Error::other)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The stream is what was asked for.
    pub(crate) fn open(&mut self) {
        self.tell(&encode(&StreamAnswer::Opened));
    }

    /// It is not.
    pub(crate) fn refuse(&mut self, reason: StreamRefusal, message: String) {
        self.last(&StreamAnswer::Refused { reason, message });
    }

    /// The last frame of another kind than [`Caller::end`] has.
    pub(crate) fn last<M: Message>(&mut self, message: &M) {
        self.tell(&encode(message));
        self.is_over = true;
    }

    pub(crate) fn end(&mut self, end: ExecEnd) {
        self.tell(&Output::End(end).encode());
        self.is_over = true;
    }

    /// All was told.
    pub(crate) const fn close(&mut self) {
        self.is_over = true;
    }

    /// Adds a frame to what is to be written.
    pub(crate) fn tell(&mut self, frame: &[u8]) {
        if !self.is_over {
            if self.untold.is_empty() {
                self.moved_at = Instant::now();
            }
            self.untold.extend_from_slice(frame);
        }
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// When the caller is gone.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        while !self.untold.is_empty() {
            match self.stream.write(&self.untold) {
                Ok(length) => {
                    self.untold.drain(..length);
                    self.moved_at = Instant::now();
                }
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.untold.shrink_to_fit();
        Ok(())
    }
}

/// Read at a time.
const READ_BYTES_MAX: usize = 16 << 10;

/// What a caller that does not read may leave unread before whoever writes has to wait.
const UNTOLD_BYTES_MAX: usize = 128 << 10;

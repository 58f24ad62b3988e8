//! An agent's connection: frames of a little-endian `u32` length and that many bytes, without ever waiting.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
};

use dunlin_edge_node_core::sandbox::{Event, MESSAGE_BYTES_MAX, Request};
use dunlin_link::codec;
use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};

/// One agent's.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    heard: Vec<u8>,
    untold: Vec<u8>,
    pub(crate) greeting: Greeting,
}

/// Whether it has said who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    NotYet,
    /// By an agent that speaks another version, which can only have us shut down.
    OtherVersion,
    Done,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, heard: Vec::new(), untold: Vec::new(), greeting: Greeting::NotYet })
    }

    pub(crate) const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether the agent has closed it, though some of what it said may not have been read.
    pub(crate) fn is_left(&self) -> bool {
        let mut stream = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        // One that cannot be looked at is of no use either.
        poll(&mut stream, Some(&Timespec::default())).is_err() || !stream[0].revents().is_empty()
    }

    /// Whether there is something to write.
    pub(crate) const fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Whether more may be told: what the agent has not read is bounded.
    pub(crate) const fn has_room(&self) -> bool {
        self.untold.len() < UNTOLD_BYTES_MAX
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// When the connection has ended, or is of no use any more.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Request>> {
        let mut chunk = [0; READ_BYTES_MAX];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.heard.extend_from_slice(&chunk[..length]),
            Err(error) if is_later(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        let mut requests = Vec::new();
        while let Some(frame) = self.next_frame()? {
            requests.push(codec::decode(&frame).map_err(io::Error::other)?);
        }
        Ok(requests)
    }

    /// Adds an event to what is to be written.
    pub(crate) fn tell(&mut self, event: &Event) {
        let frame = codec::encode(event);
        // Events are small; a length that does not fit cannot be.
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.untold.extend_from_slice(&length.to_le_bytes());
        self.untold.extend_from_slice(&frame);
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        while !self.untold.is_empty() {
            match self.stream.write(&self.untold) {
                Ok(length) => drop(self.untold.drain(..length)),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.untold.shrink_to_fit();
        Ok(())
    }

    fn next_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((length, rest)) = self.heard.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other("a message beyond the limit"));
        }
        let Some(frame) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.heard.drain(..4 + length);
        // One large specification must not cost memory for ever.
        self.heard.shrink_to_fit();
        Ok(Some(frame))
    }
}

/// Whether it is only that there is nothing now.
pub(crate) fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Read at a time.
const READ_BYTES_MAX: usize = 16 << 10;

/// What an agent that does not read may leave unread.
const UNTOLD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_left_whatever_was_said_on_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours).unwrap();
        assert!(!connection.is_left());
        theirs.write_all(b"unread").unwrap();
        assert!(!connection.is_left());
        drop(theirs);
        assert!(connection.is_left());
    }
}

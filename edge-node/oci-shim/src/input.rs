//! What goes to a process's standard input, and waits until it is read.

use std::{fs::File, io::Write as _};

use dunlin_link::exec::TerminalSize;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::connection::is_later;

/// Input of one process.
#[derive(Debug, Default)]
pub(crate) struct Input {
    place: Place,
    pending: Vec<u8>,
    is_ending: bool,
}

/// Where it is written to.
#[derive(Debug, Default)]
enum Place {
    /// Nobody reads it, or does any more.
    #[default]
    Nowhere,
    /// A terminal that the runtime has yet to hand over.
    Coming,
    Pipe(File),
    /// It is not closed at the end of input: it is the output, too.
    Terminal(File),
}

impl Input {
    /// To a pipe that does not wait.
    pub(crate) fn of_pipe(file: File) -> Self {
        Self { place: Place::Pipe(file), ..Self::default() }
    }

    /// To a terminal that is not there yet.
    pub(crate) fn of_terminal() -> Self {
        Self { place: Place::Coming, ..Self::default() }
    }

    /// Where there is something to be written to.
    pub(crate) fn wants(&self) -> Option<&File> {
        self.file().filter(|_| !self.pending.is_empty())
    }

    /// Whether more may be added.
    pub(crate) const fn has_room(&self) -> bool {
        self.pending.len() < PENDING_BYTES_MAX
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        // A process that reads no more does not mind what it is sent.
        if !matches!(self.place, Place::Nowhere) && !self.is_ending {
            self.pending.extend_from_slice(bytes);
        }
    }

    pub(crate) fn end(&mut self) {
        if matches!(self.place, Place::Coming | Place::Terminal(_)) && !self.is_ending {
            self.pending.push(END_OF_TRANSMISSION);
        }
        self.is_ending = true;
    }

    /// The terminal is there; it does not wait.
    pub(crate) fn set_terminal(&mut self, terminal: File) {
        self.place = Place::Terminal(terminal);
    }

    /// Its terminal has another size; a pipe has none.
    pub(crate) fn resize(&self, size: TerminalSize) {
        if let Place::Terminal(terminal) = &self.place {
            let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
            // One that nobody has open any more needs no size.
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// Writes what fits.
    pub(crate) fn write(&mut self) {
        while !self.pending.is_empty() {
            let written = match &mut self.place {
                Place::Pipe(file) | Place::Terminal(file) => file.write(&self.pending),
                Place::Coming | Place::Nowhere => return,
            };
            match written {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if is_later(&error) => return,
                // Nobody reads it any more.
                Err(_) => {
                    self.pending.clear();
                    self.place = Place::Nowhere;
                }
            }
        }
        if self.is_ending && matches!(self.place, Place::Pipe(_)) {
            self.place = Place::Nowhere;
        }
        self.pending.shrink_to_fit();
    }

    const fn file(&self) -> Option<&File> {
        match &self.place {
            Place::Pipe(file) | Place::Terminal(file) => Some(file),
            Place::Coming | Place::Nowhere => None,
        }
    }
}

/// What a process may leave unread before its caller has to wait.
const PENDING_BYTES_MAX: usize = 64 << 10;

/// Control-D: what people end their input with on a terminal.
const END_OF_TRANSMISSION: u8 = 4;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn what_a_process_does_not_read_waits() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        crate::output::set_nonblocking(&write).unwrap();
        let mut input = Input::of_pipe(write.into());
        let sent = vec![7; 3 * PENDING_BYTES_MAX];
        input.add(&sent);
        input.write();
        assert!(!input.has_room() && input.wants().is_some());
        input.end();
        let mut read = File::from(read);
        let mut received = vec![0; sent.len()];
        let mut at = 0;
        while at < sent.len() {
            at += read.read(&mut received[at..]).unwrap();
            input.write();
        }
        assert_eq!(received, sent);
        assert_eq!(read.read(&mut [0]).unwrap(), 0, "it is closed when all is written");
        assert!(input.file().is_none() && input.has_room());
    }
}

//! The terminal handed to a program elsewhere: raw while that runs, and as it was before afterwards, however that ends.

use std::io::{self, IsTerminal as _, Stdin};

use dunlin_link::exec::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A raw terminal; dropping it makes it as it was.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    stdin: Stdin,
    before: Termios,
}

impl RawTerminal {
    /// Makes the terminal on stdin raw: every key, Ctrl-C too, is the program's.
    ///
    /// # Errors
    /// When stdin is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&self.stdin, OptionalActions::Drain, &self.before);
    }
}

/// Whether stdin is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The size of the terminal on stdin; `None` when it is none.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    (size.ws_col > 0).then_some(TerminalSize { columns: size.ws_col, rows: size.ws_row })
}

//! Stdin, read by a thread of its own: it ends with the process, and nobody waits for it.

use std::{
    io::{self, Read as _},
    thread,
};

use anyhow::{Context as _, Result};
use dunlin_link::limits::EXEC_DATA_BYTES_MAX;
use tokio::sync::mpsc;

/// What is typed, or comes from a pipe.
#[derive(Debug)]
pub(super) struct Typed(mpsc::Receiver<Vec<u8>>);

impl Typed {
    /// Begins to read.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start() -> Result<Self> {
        let (tell, typed) = mpsc::channel(PIECES_MAX);
        let read = move || {
            let mut buffer = vec![0; EXEC_DATA_BYTES_MAX];
            loop {
                match io::stdin().lock().read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // A stdin that fails ends, as far as anybody here is concerned.
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        if tell.blocking_send(buffer[..count].to_vec()).is_err() {
                            return;
                        }
                    }
                }
            }
        };
        thread::Builder::new().name("stdin".to_owned()).spawn(read).context("cannot read stdin")?;
        Ok(Self(typed))
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}

/// Read ahead of the network.
const PIECES_MAX: usize = 4;

//! Stdout and stderr, written by a thread of their own, in order.

use std::{
    io::{self, Write},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use dunlin_link::exec::Output;
use tokio::sync::mpsc;

use crate::terminal;

/// Prints what a process writes.
#[derive(Debug)]
pub(super) struct Printer {
    pieces: mpsc::Sender<Output>,
    thread: JoinHandle<io::Result<()>>,
}

impl Printer {
    /// Begins to print.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start() -> Result<Self> {
        let (pieces, mut printed) = mpsc::channel(PIECES_MAX);
        let print = move || {
            while let Some(output) = printed.blocking_recv() {
                match output {
                    Output::Stdout(bytes) => terminal::write_stdout(&bytes)?,
                    // Nobody may listen there, which ends no process.
                    Output::Stderr(bytes) => drop(io::stderr().lock().write_all(&bytes)),
                    Output::End(_) => {}
                }
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("stdout".to_owned()).spawn(print).context("cannot print")?;
        Ok(Self { pieces, thread })
    }

    /// Prints a piece, when those before it are printed.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(super) async fn print(&mut self, output: Output) -> io::Result<()> {
        // The thread's own error is told by `finish`.
        self.pieces.send(output).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until all is printed.
    ///
    /// # Errors
    /// When stdout was closed.
    pub(super) fn finish(self) -> Result<()> {
        let Self { pieces, thread } = self;
        drop(pieces);
        match thread.join() {
            Ok(printed) => Ok(printed?),
            Err(_panic) => anyhow::bail!("printing failed by a defect"),
        }
    }
}

/// Received ahead of whoever reads stdout.
const PIECES_MAX: usize = 4;

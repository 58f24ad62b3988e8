//! Where the agent opens streams into containers: one connection each, beside the one that starts and stops them.

use std::{io, path::PathBuf};

use tokio::net::UnixStream;

use crate::{runner::InProcess, session::ByteStream};

/// Where streams are opened. Works whenever the sandbox does.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// The socket of a runner in a process of its own.
    Process(PathBuf),
    /// The runner in this process.
    InProcess(InProcess),
}

impl Door {
    /// Opens a stream.
    pub(crate) async fn open(&self) -> io::Result<ByteStream> {
        Ok(match self {
            Self::Process(socket) => ByteStream::new(UnixStream::connect(socket).await?),
            Self::InProcess(runner) => ByteStream::new(runner.stream()),
        })
    }
}

//! The command line's connection to the API: one QUIC connection, one bidirectional stream per request. The only module here
//! that names quinn.

use std::time::Duration;

use anyhow::{Context as _, Result};
use dunlin_link::{
    frame,
    rpc::{Impersonation, RequestHead},
};
use quinn::{Connection, ConnectionError};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, Take},
};

pub(crate) use self::{
    conversation::{Conversation, Sender},
    response::Response,
};
use crate::context::Access;

mod conversation;
mod dial;
mod explain;
mod response;
mod tls;

/// A connection to one coordinator.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    server: String,
    /// Whom requests are made as.
    impersonation: Option<Impersonation>,
}

/// What follows a request's head.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Nothing.
    Empty,
    /// A value in memory.
    Bytes(&'a [u8]),
    /// A file or a part of one, with a call after each piece of so many bytes.
    File(&'a mut Take<File>, &'a dyn Progress),
}

/// Told how far an upload is.
pub(crate) trait Progress: std::fmt::Debug + Sync {
    /// So many more bytes were handed to the network.
    fn advanced(&self, bytes: u64);
}

impl Client {
    /// Connects and proves both sides' identities.
    ///
    /// # Errors
    /// When there is no answer, or one side refuses the other; the message says what to do next.
    pub(crate) async fn connect(access: &Access) -> Result<Self> {
        let connection = dial::dial(access).await?;
        Ok(Self { connection, server: access.server.clone(), impersonation: None })
    }

    /// The same client, whose requests are made as somebody else.
    pub(crate) fn acting_as(self, impersonation: Option<Impersonation>) -> Self {
        Self { impersonation, ..self }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection fails before that.
    pub(crate) async fn request(&self, head: &RequestHead, body: Body<'_>) -> Result<Response> {
        let lost = || format!("lost the connection to quic://{}", self.server);
        let (mut send, receive) = self.connection.open_bi().await.with_context(lost)?;
        let sent = async {
            send.write_all(&self.opening(head)).await?;
            match body {
                Body::Empty => {}
                Body::Bytes(bytes) => send.write_all(bytes).await?,
                Body::File(file, progress) => send_file(&mut send, file, progress).await?,
            }
            // Finishing a stream that the peer stopped fails, which its answer explains better.
            let _ = send.finish();
            Ok::<(), anyhow::Error>(())
        };
        let sent = sent.await;
        let answer = Response::read_head(receive).await;
        match (sent, answer) {
            (_, Ok(answer)) => Ok(answer),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error.context(lost())),
        }
    }

    /// Sends a request and waits for the head of its answer; both directions stay open.
    ///
    /// # Errors
    /// When the connection fails before that.
    pub(crate) async fn converse(&self, head: &RequestHead) -> Result<Conversation> {
        let lost = || format!("lost the connection to quic://{}", self.server);
        let (mut send, receive) = self.connection.open_bi().await.with_context(lost)?;
        send.write_all(&self.opening(head)).await.with_context(lost)?;
        let response = Response::read_head(receive).await.with_context(lost)?;
        Ok(Conversation::new(send, response))
    }

    /// What a stream begins with.
    fn opening(&self, head: &RequestHead) -> Vec<u8> {
        let mut opening = self.impersonation.as_ref().map(frame::encode).unwrap_or_default();
        opening.extend(frame::encode(head));
        opening
    }

    /// Says goodbye, so that the coordinator need not wait for a timeout.
    pub(crate) async fn close(self) {
        let sent = || self.connection.stats().udp_tx.datagrams;
        let before = sent();
        self.connection.close(0u32.into(), b"done");
        // Once it is on its way nothing more is waited for, as QUIC would for three round trips. An unheard one costs the server only its
        // idle timeout.
        let said = async {
            while sent() == before {
                tokio::task::yield_now().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, said).await;
    }
}

/// Whether an error means that the connection is gone, so that no other request will be answered either.
pub(crate) fn is_lost(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<ConnectionError>())
}

async fn send_file(
    send: &mut quinn::SendStream,
    file: &mut Take<File>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut buffer = vec![0; UPLOAD_PIECE_BYTES];
    loop {
        let read = file.read(&mut buffer).await.context("cannot read the file")?;
        if read == 0 {
            return Ok(());
        }
        send.write_all(&buffer[..read]).await?;
        progress.advanced(read as u64);
    }
}

const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

const UPLOAD_PIECE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use anyhow::{Result, anyhow};
    use quinn::{ConnectionError, ReadError, WriteError};

    use super::is_lost;

    #[test]
    fn lost_connections_are_told_from_broken_streams() {
        let check = |outcome: Result<()>, expected: bool| {
            let error = outcome.unwrap_err().context("lost the connection");
            assert_eq!(is_lost(&error), expected, "{error:#}");
        };
        check(Err(ConnectionError::TimedOut.into()), true);
        check(Err(WriteError::ConnectionLost(ConnectionError::Reset).into()), true);
        check(Err(ReadError::ConnectionLost(ConnectionError::LocallyClosed).into()), true);
        check(Err(WriteError::Stopped(0u32.into()).into()), false);
        check(Err(anyhow!("no")), false);
    }
}

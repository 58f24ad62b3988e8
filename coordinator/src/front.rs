//! The API over one bidirectional stream: reads a request head and body, calls the service, writes the answer.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::service::{ApiService, User};

/// Why a request was not answered to its end.
#[derive(Debug, thiserror::Error)]
#[error("the stream broke")]
pub struct ServeError(#[from] io::Error);

/// Serves the one request of a stream and flushes the answer; finishing or resetting the stream is the caller's.
///
/// # Errors
/// [`ServeError`] when the stream must be reset.
#[expect(clippy::unused_async, reason = "reading and writing wait")]
pub async fn serve(
    service: &ApiService,
    user: &User,
    receive: impl AsyncRead + Send + Unpin,
    send: impl AsyncWrite + Send + Unpin,
) -> Result<(), ServeError> {
    let _ = (receive, send);
    unimplemented!("{service:?} {user:?}")
}

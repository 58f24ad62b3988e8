//! The API over one bidirectional stream: reads a request head and body, calls the service, writes the answer.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::service::{ApiService, User};

/// Answers one request. Without a `user` the client showed no certificate.
#[expect(clippy::unused_async, reason = "reading and writing wait")]
pub async fn serve(
    service: &ApiService,
    user: Option<User>,
    input: impl AsyncRead + Send + Unpin,
    output: impl AsyncWrite + Send + Unpin,
) {
    let _ = (input, output);
    unimplemented!("{service:?} {user:?}")
}

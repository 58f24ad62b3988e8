//! A request whose answer goes on as a conversation.

use anyhow::{Context as _, Result};
use dunlin_link::rpc::ResponseHead;
use quinn::SendStream;

use super::Response;

/// Both directions, once the server has agreed.
#[derive(Debug)]
pub(crate) struct Conversation {
    send: Sender,
    response: Response,
}

/// The way to the server. Dropping it is the end of what is said there.
#[derive(Debug)]
pub(crate) struct Sender(SendStream);

impl Conversation {
    pub(super) const fn new(send: SendStream, response: Response) -> Self {
        Self { send: Sender(send), response }
    }

    /// What the server answered.
    pub(crate) const fn head(&self) -> &ResponseHead {
        &self.response.head
    }

    /// The answer alone, of a server that has not agreed.
    pub(crate) fn into_response(self) -> Response {
        self.response
    }

    /// Its two directions.
    pub(crate) fn split(self) -> (Sender, Response) {
        (self.send, self.response)
    }
}

impl Sender {
    /// Sends bytes.
    ///
    /// # Errors
    /// When the server takes no more.
    pub(crate) async fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).await.context("the server takes no more")
    }

    /// Sends bytes. A server that takes no more has told the end, or is found gone by whoever reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }
}

//! Watches: events as the server sends them, a line of JSON each.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{client::Response, failure::ServerError};

/// A running watch.
#[derive(Debug)]
pub(crate) struct Watch {
    response: Response,
}

impl Watch {
    pub(super) const fn new(response: Response) -> Self {
        Self { response }
    }

    /// The next event as (type, object); `None` when the server ended the watch.
    ///
    /// # Errors
    /// When the connection fails, or the event is of type ERROR.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Value)>> {
        let Some(line) = self.response.line().await? else { return Ok(None) };
        let mut event: Value = serde_json::from_slice(&line).context("a watch event is not JSON")?;
        let object = event["object"].take();
        match event["type"].as_str() {
            Some("ERROR") => Err(ServerError::new(object).into()),
            Some(kind) => Ok(Some((kind.to_owned(), object))),
            None => Err(anyhow::anyhow!("a watch event has no type")),
        }
    }
}

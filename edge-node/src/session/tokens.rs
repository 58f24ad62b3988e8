//! Asking the coordinator for a token of a pod's service account, over as many connections as it takes.

use std::time::Duration;

use dunlin_link::{
    frame::Message as _,
    tokens::{IssuedToken, TokenAnswer, TokenOpen},
};
use quinn::Connection;
use tokio::time::timeout;

use super::{
    Shared,
    stream::{read_head, write_head},
};

/// See [`super::SessionHandle::token`].
pub(super) async fn ask(shared: &Shared, open: &TokenOpen) -> Result<IssuedToken, String> {
    let mut connections = shared.connection.subscribe();
    loop {
        let connection = connections.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        let Some(connection) = connection else { return Err("the agent is stopping".into()) };
        let speaks = shared.machine().protocol().is_some_and(|protocol| protocol.sends(TokenOpen::KIND));
        if !speaks {
            return Err("the coordinator runs an earlier version, which gives nodes no tokens".into());
        }
        let slot = shared.token_slot.acquire().await;
        let answer = timeout(ANSWER_TIMEOUT, attempt(&connection, open)).await;
        drop(slot);
        match answer {
            Ok(Some(TokenAnswer::Issued(issued))) => return Ok(issued),
            Ok(Some(TokenAnswer::Refused(reason))) => return Err(reason),
            Ok(None) | Err(_) => {
                let old = connection.stable_id();
                let is_other =
                    |found: &Option<Connection>| found.as_ref().is_none_or(|found| found.stable_id() != old);
                // A session notices the end of its connection on its own and clears it; a stream that was ended alone is tried anew.
                let _ = timeout(STREAM_PAUSE, connections.wait_for(is_other)).await;
            }
        }
    }
}

/// One attempt; `None` when the stream broke.
async fn attempt(connection: &Connection, open: &TokenOpen) -> Option<TokenAnswer> {
    let (mut output, mut input) = connection.open_bi().await.ok()?;
    write_head(&mut output, open).await.ok()?;
    // Fails only when the coordinator has ended the stream, which reading shows.
    let _ = output.finish();
    read_head(&mut input).await.ok()
}

/// A coordinator answers at once; what is slower has broken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Before a stream that broke is opened again on the same connection.
const STREAM_PAUSE: Duration = Duration::from_secs(1);

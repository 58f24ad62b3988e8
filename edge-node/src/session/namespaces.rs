//! Asking the coordinator which namespaces there are.

use std::{io, time::Duration};

use dunlin_link::{
    frame::Message as _,
    limits::NAMESPACES_ASKED_MAX,
    namespaces::{NamespacesAnswer, NamespacesOpen},
};
use quinn::Connection;
use tokio::time::timeout;

use super::{
    Shared,
    stream::{read_head, write_head},
};

/// See [`super::SessionHandle::namespaces`].
pub(super) async fn ask(shared: &Shared, names: Vec<String>) -> io::Result<NamespacesAnswer> {
    let connection = shared.connection.borrow().clone().ok_or(io::ErrorKind::NotConnected)?;
    let speaks = shared.machine().protocol().is_some_and(|protocol| protocol.sends(NamespacesOpen::KIND));
    if !speaks || names.len() > NAMESPACES_ASKED_MAX {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let count = names.len();
    let answer = timeout(ANSWER_TIMEOUT, converse(&connection, NamespacesOpen { names })).await??;
    if answer.uids.len() == count { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

async fn converse(connection: &Connection, open: NamespacesOpen) -> io::Result<NamespacesAnswer> {
    let (mut output, mut input) = connection.open_bi().await?;
    write_head(&mut output, &open).await?;
    // Fails only when the coordinator has ended the stream, which reading shows.
    let _ = output.finish();
    read_head(&mut input).await
}

impl Shared {
    /// Waits for a connection with a session that is another than this one; answers which.
    pub(super) async fn other_connection(&self, than: Option<usize>) -> usize {
        let mut connections = self.connection.subscribe();
        let is_other =
            |found: &Option<Connection>| found.as_ref().is_some_and(|found| Some(found.stable_id()) != than);
        let found = connections.wait_for(is_other).await;
        match found.ok().and_then(|found| found.as_ref().map(Connection::stable_id)) {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }
}

/// A coordinator that is busy is asked again another time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

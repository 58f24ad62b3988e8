//! A machine becomes a node: one request on one stream.

use std::{sync::Arc, time::Duration};

use dunlin_link::{
    NodeName,
    join::{JoinRequest, is_node_name},
    message::Refused,
    session::CloseCode,
};
use quinn::{Connection, SendStream};
use tracing::{info, warn};

use super::{
    Services, close,
    stream::{read_head, write_head},
};
use crate::tokens::Place;

/// Answers one request and ends the connection.
pub(super) async fn serve(services: &Arc<Services>, connection: &Connection) {
    let answered = tokio::time::timeout(JOIN_TIMEOUT, answer(services, connection)).await;
    if let Ok(Some(mut stream)) = answered {
        // The machine closes the connection once it has the answer; if it does not, its time is over anyway.
        let _ = stream.finish();
        let _ = tokio::time::timeout(JOIN_TIMEOUT, connection.closed()).await;
    }
    close(connection, CloseCode::GoingAway, "the join request was answered");
}

async fn answer(services: &Services, connection: &Connection) -> Option<SendStream> {
    let remote = connection.remote_address();
    let (mut output, mut input) = connection.accept_bi().await.ok()?;
    let request: JoinRequest = match read_head(&mut input).await {
        Ok(request) => request,
        Err(error) => {
            warn!(%remote, error = &error as &dyn std::error::Error, "refused a join request");
            return None;
        }
    };
    let written = match services.members.join(&request).await {
        Ok((joined, place)) => {
            info!(%remote, node = %request.node, token = %request.token, "node joined");
            if place == Place::Taken {
                info!(node = %request.node, "the machine that was this node is replaced; its key is revoked");
                services.sessions.expel(&request.node);
            }
            write_head(&mut output, &joined).await
        }
        Err(error) => {
            let reason = error.to_string();
            let node = shown(&request.node);
            warn!(%remote, node, token = %request.token, reason, "refused a join request");
            write_head(&mut output, &Refused { reason }).await
        }
    };
    written.ok().map(|()| output)
}

/// The name of a machine that nobody knows yet, unless it could be of any length and break the line.
fn shown(node: &NodeName) -> &str {
    let name = node.as_str();
    if is_node_name(name) { name } else { "(invalid)" }
}

/// For the whole request, and again for the machine to take the answer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

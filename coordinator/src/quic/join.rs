//! A machine becomes a node: one request on one stream.

use std::{sync::Arc, time::Duration};

use dunlin_link::{
    NodeName,
    join::{JoinRequest, Joined, is_node_name},
    message::Refused,
    session::CloseCode,
};
use quinn::{Connection, SendStream};
use tracing::{info, warn};

use super::{
    Services, close,
    stream::{read_head, write_head},
};
use crate::{pki::request_key, sessions::wall};

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
    let written = match join(services, &request).await {
        Ok(joined) => {
            info!(%remote, node = %request.node, token = %request.token, "node joined");
            write_head(&mut output, &joined).await
        }
        Err(reason) => {
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

/// Nothing is signed for a token that is not good, and no use of it is spent on a request that cannot be granted.
async fn join(services: &Services, request: &JoinRequest) -> Result<Joined, String> {
    let now = wall();
    services.tokens.check(request, now).await.map_err(|error| error.to_string())?;
    let key = request_key(&request.certificate_request).map_err(|error| error.to_string())?;
    let chain = services
        .pki
        .issue_node(&request.node, &request.certificate_request, now)
        .map_err(|error| error.to_string())?;
    services.tokens.join(request, key, now).await.map_err(|error| error.to_string())?;
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Joined { chain, cluster_id: services.pki.cluster_id().to_owned() })
}

/// For the whole request, and again for the machine to take the answer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

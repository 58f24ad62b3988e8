//! The API for the command line: each stream is one request of the certificate's user.

use std::{io, sync::Arc};

use dunlin_link::{join::NODE_USER_PREFIX, rpc::ResponseHead, session::CloseCode};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use super::{Services, peer, stream::write_head, turn_away, widen};
use crate::{
    authn::Expulsions,
    front::{self, ServeError, Served},
    pki::Peer,
    service::User,
};

/// Serves requests until the client leaves.
pub(super) async fn serve(services: &Arc<Services>, connection: &Connection) {
    // From before the first look-up, so that none goes by unheard.
    let mut expulsions = services.authenticator.hear_expelled();
    let own = peer(connection).ok().flatten();
    let user = match authorize(services, connection).await {
        Ok(user) => user,
        Err(reason) => return turn_away(connection, &reason),
    };
    if let Some(user) = &user {
        let is_node = user.name.starts_with(NODE_USER_PREFIX);
        widen(connection, if is_node { NODE_STREAMS_MAX } else { STREAMS_MAX }, RECEIVE_WINDOW);
    }
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    // Again for each request: a node may have been removed since it connected.
                    if let Err(reason) = authorize(services, connection).await {
                        return turn_away(connection, &reason);
                    }
                    requests.spawn(request(Arc::clone(services), user.clone(), stream));
                }
                Err(error) => {
                    debug!(%error, "a client left");
                    return;
                }
            },
            () = expelled(&mut expulsions, own.as_ref()) => {
                // Requests under way, watches above all, end with the connection.
                if let Err(reason) = authorize(services, connection).await {
                    return turn_away(connection, &reason);
                }
            }
            Some(done) = requests.join_next() => {
                if let Err(panic) = done {
                    error!(%panic, "a request failed by a defect");
                }
            }
        }
    }
}

async fn expelled(expulsions: &mut Expulsions, own: Option<&Peer>) {
    match own {
        Some(own) => expulsions.of(own).await,
        None => std::future::pending().await,
    }
}

/// The user that this connection is; `None` without a certificate.
async fn authorize(services: &Services, connection: &Connection) -> Result<Option<Arc<User>>, String> {
    let Some(peer) = peer(connection)? else { return Ok(None) };
    services.authenticator.certified(&peer).await.map(Some).map_err(|error| error.to_string())
}

async fn request(services: Arc<Services>, user: Option<Arc<User>>, stream: (SendStream, RecvStream)) {
    let (mut output, mut input) = stream;
    let served = match &user {
        Some(user) => {
            let stopped = output.stopped();
            tokio::select! {
                served = front::serve(&services.api, user, &mut input, &mut output) => {
                    if let Err(error @ ServeError::Stalled) = &served {
                        warn!(user = %user.name, %error, "broke off an answer");
                    }
                    served.map_err(|error| error.to_string())
                }
                // A watch may have nothing to tell for hours: only this says that nobody listens any more.
                _ = stopped => Err("the client stopped reading".to_owned()),
            }
        }
        None => answer_unauthorized(&mut output)
            .await
            .map(|()| Served::Answered)
            .map_err(|error| error.to_string()),
    };
    match served {
        // Fails only when the client has stopped reading.
        Ok(Served::Answered) => drop(output.finish()),
        Ok(Served::Leaving(upgrade)) => {
            let stopped = output.stopped();
            tokio::select! {
                // The stream is finished with the talk.
                () = upgrade.talk(Box::new(tokio::io::join(input, output))) => {}
                _ = stopped => debug!("a client left what it was talking to"),
            }
        }
        Err(error) => {
            debug!(error, "a request was not answered to its end");
            // A client that sees a reset knows that the answer is not whole.
            let _ = output.reset(VarInt::from_u32(CloseCode::GoingAway as u32));
        }
    }
}

/// Answers a client without a certificate, in the form that the API gives its errors.
async fn answer_unauthorized(output: &mut SendStream) -> io::Result<()> {
    let status = serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    });
    let head = ResponseHead { status: 401, content_type: "application/json".into(), warnings: Vec::new() };
    write_head(output, &head).await?;
    output.write_all(status.to_string().as_bytes()).await?;
    Ok(())
}

/// Requests and watches that a client may have open on one connection.
const STREAMS_MAX: u32 = 128;

/// The same for a node, of which there are many and which is trusted less: each answer that it does not read is held for a while.
const NODE_STREAMS_MAX: u32 = 16;

/// Bytes of all a client's requests that wait to be read: one object of the largest size, with room for small ones.
const RECEIVE_WINDOW: u32 = 4 << 20;

//! The API for the command line: each stream is one request of the certificate's user.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;
use tracing::{debug, error};

use super::{Services, peer, turn_away};
use crate::{front, service::User, sessions::wall};

/// Serves requests until the client leaves.
pub(super) async fn serve(services: &Arc<Services>, connection: &Connection) {
    let user = match peer(connection) {
        Ok(Some(peer)) if peer.not_after <= wall() => {
            return turn_away(connection, "the client certificate has expired; ask for a new one");
        }
        Ok(Some(peer)) => Some(peer.user),
        Ok(None) => None,
        Err(reason) => return turn_away(connection, &reason),
    };
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    requests.spawn(request(Arc::clone(services), user.clone(), stream));
                }
                Err(error) => {
                    debug!(%error, "a client left");
                    return;
                }
            },
            Some(done) = requests.join_next() => {
                if let Err(panic) = done {
                    error!(%panic, "a request failed by a defect");
                }
            }
        }
    }
}

async fn request(services: Arc<Services>, user: Option<User>, stream: (SendStream, RecvStream)) {
    let (output, input) = stream;
    front::serve(&services.api, user, input, output).await;
}

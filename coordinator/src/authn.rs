//! Who asks: a client certificate or a bearer token says so, and without either it is nobody in particular.
//!
//! As in Kubernetes, a certificate counts before a token, and what is shown and not good is refused even where nothing need be shown:
//! a client with a wrong token has to learn that, and not that it may do little.

use std::sync::Arc;

use dunlin_link::NodeName;
use rustls_pki_types::CertificateDer;
use tokio::sync::broadcast;

use crate::{
    members::Members,
    pki::{Peer, PeerError},
    service::{ApiService, Rejected, User},
    tokens::{KeyError, Tokens},
};

/// Tells users by what they show; cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    members: Members,
    tokens: Tokens,
    api: ApiService,
}

/// Why what was shown is not good. The text is told to whoever has a certificate of the cluster; a bad token is told nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unauthenticated {
    /// The certificate is not of now.
    #[error("the client certificate has expired or is not valid yet; ask for a new one")]
    NotNow,
    /// The certificate says nothing usable.
    #[error(transparent)]
    Certificate(#[from] PeerError),
    /// It is of a node whose key is not let in.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token does not count.
    #[error("the bearer token is not valid")]
    Token(#[source] Rejected),
}

/// What a client showed with one request.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The certificate of its connection, whose chain was checked by TLS and whose dates were not.
    pub certificate: Option<&'a Peer>,
    /// The token of its request.
    pub bearer: Option<&'a str>,
}

impl Authenticator {
    /// Nodes are those that `members` knows; `tokens` tells who is no node any more; bearer tokens are the API's.
    pub const fn new(members: Members, tokens: Tokens, api: ApiService) -> Self {
        Self { members, tokens, api }
    }

    /// The user of a request.
    ///
    /// # Errors
    /// When what was shown is not good.
    pub async fn user(&self, shown: Shown<'_>) -> Result<Arc<User>, Unauthenticated> {
        match shown {
            Shown { certificate: Some(peer), bearer: None } => self.certified(peer).await,
            Shown { certificate: None, bearer: Some(token) } => self.bearer(token).await,
            Shown { certificate: None, bearer: None } => Ok(Arc::new(User::anonymous())),
            Shown { certificate: Some(peer), bearer: Some(token) } => match self.certified(peer).await {
                Ok(user) => Ok(user),
                Err(_) => self.bearer(token).await,
            },
        }
    }

    /// The user of a certificate. A node is one as long as its key is registered.
    ///
    /// # Errors
    /// When the certificate is not of now, or of a node that is none any more.
    pub async fn certified(&self, peer: &Peer) -> Result<Arc<User>, Unauthenticated> {
        if !peer.validity.contains(&self.members.now()) {
            return Err(Unauthenticated::NotNow);
        }
        if let Some(node) = peer.node() {
            self.members.check(&node, peer.key).await?;
        }
        Ok(Arc::clone(&peer.user))
    }

    /// The user of a bearer token.
    async fn bearer(&self, token: &str) -> Result<Arc<User>, Unauthenticated> {
        let shown = self.api.authenticate_token(token, &[]).await;
        shown.map(|bearer| Arc::new(bearer.user)).map_err(Unauthenticated::Token)
    }

    /// Tells of nodes that are none any more; to be asked for before the first [`Authenticator::certified`], so that none goes by unheard.
    pub(crate) fn hear_expelled(&self) -> Expulsions {
        Expulsions(self.tokens.hear_expelled())
    }
}

/// Nodes that are none any more.
#[derive(Debug)]
pub(crate) struct Expulsions(broadcast::Receiver<NodeName>);

impl Expulsions {
    /// Waits until `peer` may have been expelled; for ever when it is no node.
    pub(crate) async fn of(&mut self, peer: &Peer) {
        let Some(own) = peer.node() else { return std::future::pending().await };
        loop {
            match self.0.recv().await {
                Ok(node) if node == own => return,
                Ok(_) => {}
                // It may have been among those that were missed.
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Reads the leaf of a chain that TLS has verified; `None` without a certificate.
///
/// # Errors
/// When it says nothing usable.
pub(crate) fn peer(chain: Option<&[CertificateDer<'_>]>) -> Result<Option<Peer>, PeerError> {
    chain.and_then(<[_]>::first).map(Peer::from_certificate).transpose()
}

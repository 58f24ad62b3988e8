//! Who is a node, and until when: certificates for machines that join, new ones for registered keys, and the question that every
//! connection of a node asks first.
//!
//! A node is its key. Its certificate is short-lived, so that a stolen one is of no use for long, and is renewed for whoever proves to
//! have the registered key, as often as a node needs it and not much more.

mod budget;
mod member;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{JoinRequest, Joined},
    moment::Moment,
};

pub use self::member::{Member, MemberError};

use self::budget::Budgets;
use crate::{
    pki::{Peer, PeerError, Pki, RequestError, request_key},
    service::Clock,
    tokens::{JoinError, KeyError, Place, Tokens},
};

/// The members of the cluster; cheap to clone.
#[derive(Clone)]
pub struct Members {
    inner: Arc<Inner>,
}

struct Inner {
    pki: Pki,
    tokens: Tokens,
    clock: Clock,
    lifetime: Duration,
    started: Instant,
    budgets: Mutex<Budgets>,
}

/// Why a machine does not become a node. The text is told to the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// Its token does not let it in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// There is no certificate for what it asks.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The certificate that was made cannot be read.
    #[error("the cluster's authority makes certificates that it cannot read")]
    Unreadable(#[from] PeerError),
}

/// Why a node gets no new certificate. The text is told to the node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// Its key is not let in.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The request is not signed by the key of the connection.
    #[error("the certificate request is of another key than the connection")]
    OtherKey,
    /// It asks too often.
    #[error("the certificate was renewed often enough for now")]
    TooOften,
    /// There is no certificate for what it asks.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The certificate that was made cannot be read.
    #[error("the cluster's authority makes certificates that it cannot read")]
    Unreadable(#[from] PeerError),
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Its end.
    pub end: UnixMillis,
}

impl Members {
    /// The nodes whose keys `tokens` knows, with certificates of `pki` that last for `lifetime` by `clock`.
    pub fn new(pki: Pki, tokens: Tokens, clock: Clock, lifetime: Duration) -> Self {
        let budgets = Mutex::new(Budgets::new(lifetime));
        let inner = Inner { pki, tokens, clock, lifetime, started: Instant::now(), budgets };
        Self { inner: Arc::new(inner) }
    }

    /// Makes a machine a node. Nothing is signed for a token that is not good, and no use of it is spent on a request that cannot be
    /// granted.
    ///
    /// # Errors
    /// Why not.
    pub async fn join(&self, request: &JoinRequest) -> Result<(Joined, Place), AdmitError> {
        let Inner { pki, tokens, .. } = &*self.inner;
        let now = self.now();
        tokens.check(request, now).await?;
        let key = request_key(&request.certificate_request)?;
        let Issued { chain, end } =
            self.issue::<AdmitError>(&request.node, &request.certificate_request, now)?;
        let place = tokens.join(request, key, end, now).await?;
        Ok((Joined { chain, cluster_id: pki.cluster_id().to_owned() }, place))
    }

    /// Checks that `key` is the node's.
    ///
    /// # Errors
    /// When it is not, or was revoked.
    pub async fn check(&self, node: &NodeName, key: Digest) -> Result<(), KeyError> {
        self.inner.tokens.check_key(node, key).await
    }

    /// Issues the next certificate of the node's registered key, which is `key`.
    ///
    /// # Errors
    /// Why not; nothing is recorded then.
    pub async fn renew(&self, node: &NodeName, key: Digest, request: &[u8]) -> Result<Issued, RenewError> {
        if request_key(request)? != key {
            return Err(RenewError::OtherKey);
        }
        let Inner { tokens, started, budgets, .. } = &*self.inner;
        // Before anything is counted for a name, it is known that there is a node of this name.
        tokens.check_key(node, key).await?;
        let moment = Moment(started.elapsed());
        if !budgets.lock().unwrap_or_else(PoisonError::into_inner).take(node, moment) {
            return Err(RenewError::TooOften);
        }
        let now = self.now();
        let issued = self.issue::<RenewError>(node, request, now)?;
        tokens.renewed(node, key, issued.end, now).await?;
        Ok(issued)
    }

    /// The time to hold certificates against.
    pub fn now(&self) -> UnixMillis {
        self.inner.clock.now_millis()
    }

    fn issue<E>(&self, node: &NodeName, request: &[u8], now: UnixMillis) -> Result<Issued, E>
    where
        E: From<RequestError> + From<PeerError>,
    {
        let Inner { pki, lifetime, .. } = &*self.inner;
        let chain = pki.issue_node(node, request, now, *lifetime)?;
        let end =
            chain.first().map_or(Err(PeerError), |leaf| Ok(Peer::from_certificate(leaf)?.validity.end))?;
        Ok(Issued { chain: chain.iter().map(|certificate| certificate.to_vec()).collect(), end })
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Members")
    }
}

//! One connection's certificate.

use std::ops::Range;

use dunlin_link::{Digest, NodeName, UnixMillis};

use super::{Issued, Members, RenewError};
use crate::{pki::Peer, tokens::KeyError};

/// A node that a connection proved to be, by a key that is registered. What it may do depends on whether its certificate lasts.
#[derive(Clone, Debug)]
pub struct Member {
    members: Members,
    node: NodeName,
    key: Digest,
    validity: Range<UnixMillis>,
}

/// Why a connection's certificate opens no session. The text is told to whoever connects.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// It is a user's.
    #[error("the certificate is of `{0}`, which is not a node")]
    NoNode(String),
    /// Its key is not let in.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Members {
    /// The node that `peer` is.
    ///
    /// # Errors
    /// When it is none, or its key is not the node's.
    pub async fn member(&self, peer: Peer) -> Result<Member, MemberError> {
        let Some(node) = peer.node() else { return Err(MemberError::NoNode(peer.user.name.clone())) };
        self.check(&node, peer.key).await?;
        Ok(Member { members: self.clone(), node, key: peer.key, validity: peer.validity })
    }
}

impl Member {
    /// Checks that the key is still the node's.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check(&self) -> Result<(), KeyError> {
        self.members.check(&self.node, self.key).await
    }

    /// The next certificate of this key.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn renew(&self, request: &[u8]) -> Result<Issued, RenewError> {
        self.members.renew(&self.node, self.key, request).await
    }

    /// Which node.
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// End of the connection's certificate.
    pub const fn certificate_end(&self) -> UnixMillis {
        self.validity.end
    }

    /// Whether the certificate is not valid now, so that it is good for a new one only. One that begins later was issued by a
    /// coordinator whose clock was ahead.
    pub fn is_expired(&self) -> bool {
        !self.validity.contains(&self.members.now())
    }
}

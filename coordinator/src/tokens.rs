//! Join tokens and the keys of nodes: creation, listing, deletion, and the one transaction that turns a token into a node.
//!
//! The store holds `/dunlin/tokens/ID` (never a secret, only its digest), `/dunlin/nodes/NAME` (the digest of the node's public
//! key) and `/dunlin/revoked/HEX` (keys that are refused for ever). A node's identity is its key: its certificate is only a wrapper.

mod nodes;
mod restored;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{JoinRequest, JoinToken, TokenId, is_node_name},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::broadcast;

use crate::{
    server_time,
    store::{Compare, KeyValue, ListOptions, Store, StoreError, Txn, TxnOutcome, Write},
};

pub(crate) use self::restored::Admission;
pub use self::{
    nodes::{KeyError, NodeRecord, Registered, RevokeError, Revoked, node_key},
    restored::Returned,
};

use self::nodes::{Claim, Entry};

/// The cluster's tokens and node keys; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Store,
    ca: Digest,
    /// Nodes whose key is refused from now on.
    expelled: broadcast::Sender<NodeName>,
}

/// What a new token shall allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// For people.
    pub description: String,
    /// How long it can be used; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// How many nodes may join with it; `None` is any number.
    pub uses: Option<u32>,
    /// Put into its text: where nodes find the coordinator.
    pub addresses: Vec<String>,
    /// The node that the machine which joins with it takes the place of; `None` lets it choose a name that is free.
    pub replaces: Option<NodeName>,
}

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// Its public part.
    pub id: TokenId,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends; `None` is never.
    pub expires_at: Option<UnixMillis>,
    /// How many more nodes may join with it; `None` is any number.
    pub uses_left: Option<u32>,
    /// The node that the machine which joins with it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeName>,
    /// Digest of the secret.
    #[serde(with = "digest_text")]
    secret: Digest,
}

/// Why tokens cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The store cannot.
    #[error("failed to read or write tokens")]
    Store(#[from] StoreError),
    /// An entry of the store is not what it should be.
    #[error("the entry `{key}` of the store is malformed")]
    Malformed {
        /// Which.
        key: String,
    },
}

/// Why a machine does not become a node. The text is told to the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is no token of this id, or its secret is another. Which of the two is not told.
    #[error("the join token is not known to this cluster")]
    UnknownToken,
    /// The token's time is over.
    #[error("the join token {0} has expired")]
    Expired(TokenId),
    /// As many nodes as the token allows have joined.
    #[error("the join token {0} has been used up")]
    UsedUp(TokenId),
    /// The name is not one that a node can have.
    #[error("the node's name is not valid: it must be a lower-case DNS subdomain")]
    Name,
    /// The name belongs to another key.
    #[error(
        "another machine has joined as node `{0}`; choose another name, or let this one take its place with a token of `dunlin node replace {0}`"
    )]
    NameTaken(NodeName),
    /// The token is for another name.
    #[error("the join token {token} is for node `{node}`; join with `--node-name {node}`")]
    OtherName {
        /// Which token.
        token: TokenId,
        /// Whose place it gives.
        node: NodeName,
    },
    /// The key was revoked.
    #[error(
        "the key of this machine was revoked when it was node `{0}`; join with a token of `dunlin node replace {0}`, or remove the machine's `identity` folder to join with a new key"
    )]
    Revoked(NodeName),
    /// The store cannot.
    #[error("the cluster cannot record the node now")]
    Record(#[from] TokenError),
}

impl Tokens {
    /// The tokens in `store`, of the cluster whose authority's certificate has the digest `ca`.
    pub fn new(store: Store, ca: Digest) -> Self {
        Self { store, ca, expelled: broadcast::Sender::new(EXPELLED_MAX) }
    }

    /// Creates a token. Its text can be had only now: the store keeps no secret.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create(&self, new: NewToken, now: UnixMillis) -> Result<JoinToken, TokenError> {
        loop {
            let token = JoinToken::generate(self.ca, new.addresses.clone(), &mut rand::rng());
            let record = TokenRecord {
                id: token.id.clone(),
                description: new.description.clone(),
                created_at: now,
                expires_at: new.lifetime.map(|lifetime| after(now, lifetime)),
                uses_left: new.uses,
                replaces: new.replaces.clone(),
                secret: token.secret.digest(),
            };
            let key = token_key(&token.id);
            let txn = Txn {
                compares: vec![Compare::Absent(key.clone())],
                writes: vec![Write::Put(key, encode(&record))],
            };
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await? {
                return Ok(token);
            }
        }
    }

    /// All tokens, by id.
    ///
    /// # Errors
    /// When the store fails or holds something else.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, TokenError> {
        let options = ListOptions { prefix: TOKENS.into(), after: None, limit: None, at: None };
        self.store.list(options).await?.items.iter().map(decode).collect()
    }

    /// Deletes a token; nodes that joined with it stay. Answers whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, id: &TokenId) -> Result<bool, TokenError> {
        let key = token_key(id);
        while let Some(found) = self.store.get(&key).await? {
            let txn = Txn {
                compares: vec![Compare::ModRevision(key.clone(), found.mod_revision)],
                writes: vec![Write::Delete(key.clone())],
            };
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks that the request names a node and a token that can be used for it, and uses nothing. A token that is used up can still
    /// be good for the machine that used it, which its key tells.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, request: &JoinRequest, now: UnixMillis) -> Result<(), JoinError> {
        check_name(request)?;
        match self.take_use(request, now).await?.count {
            Count::UsedUp if !self.has_joined_with(request).await? => {
                Err(JoinError::UsedUp(request.token.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Uses a token: registers `key`, whose certificate ends at `certificate_end`, as the identity of the node that asks, and counts
    /// the use, or does neither. A node that has joined with this key before may join again. With the same token that takes no use: the
    /// answer to its first request may have been lost. Answers whose place the key took, if another had it.
    ///
    /// # Errors
    /// Why not.
    pub async fn join(
        &self,
        request: &JoinRequest,
        key: Digest,
        certificate_end: UnixMillis,
        now: UnixMillis,
    ) -> Result<Place, JoinError> {
        check_name(request)?;
        loop {
            let used = self.take_use(request, now).await?;
            let entry = if used.replaces.is_some() { Entry::Replacing } else { Entry::Fresh };
            let record = NodeRecord::joined(key, request.token.clone(), certificate_end, now);
            let claim = self.claim(&request.node, record, entry, now).await?;
            let Claim { compares, writes, place, is_repeated } = claim;
            let counted = match used.count {
                _ if is_repeated => None,
                Count::Free => None,
                Count::Less(write) => Some(write),
                Count::UsedUp => return Err(JoinError::UsedUp(request.token.clone())),
            };
            let compares = compares.into_iter().chain([used.compare]).collect();
            let writes = writes.into_iter().chain(counted).chain([server_time::record(now)]).collect();
            let txn = Txn { compares, writes };
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await.map_err(TokenError::from)? {
                if place == Place::Taken {
                    self.expelled(&request.node);
                }
                return Ok(place);
            }
        }
    }

    /// What taking one use of the token means, and what must hold for it.
    async fn take_use(&self, request: &JoinRequest, now: UnixMillis) -> Result<Use, JoinError> {
        let key = token_key(&request.token);
        let found = self.store.get(&key).await.map_err(TokenError::from)?.ok_or(JoinError::UnknownToken)?;
        let mut record: TokenRecord = decode(&found)?;
        // Only digests are compared, so how long it takes tells nothing about the secret.
        if record.secret != request.secret.digest() {
            return Err(JoinError::UnknownToken);
        }
        if record.expires_at.is_some_and(|end| end <= now) {
            return Err(JoinError::Expired(record.id));
        }
        if let Some(node) = record.replaces.clone().filter(|node| *node != request.node) {
            return Err(JoinError::OtherName { token: record.id, node });
        }
        let replaces = record.replaces.clone();
        let compare = Compare::ModRevision(key.clone(), found.mod_revision);
        let count = match record.uses_left {
            None => Count::Free,
            Some(0) => Count::UsedUp,
            Some(uses) => {
                record.uses_left = Some(uses - 1);
                Count::Less(Write::Put(key, encode(&record)))
            }
        };
        Ok(Use { compare, count, replaces })
    }
}

/// One use of a token, not taken yet.
struct Use {
    compare: Compare,
    count: Count,
    replaces: Option<NodeName>,
}

/// What a use of a token leaves.
enum Count {
    /// Any number, as before.
    Free,
    /// One less, by this write.
    Less(Write),
    /// There was none left.
    UsedUp,
}

/// What a node's name was before a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody's, or the same key's.
    Free,
    /// Another key's, which is revoked now.
    Taken,
}

fn check_name(request: &JoinRequest) -> Result<(), JoinError> {
    if is_node_name(request.node.as_str()) { Ok(()) } else { Err(JoinError::Name) }
}

fn token_key(id: &TokenId) -> String {
    format!("{TOKENS}{id}")
}

fn encode(record: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(record).expect("records are strings and numbers"))
}

fn decode<T: DeserializeOwned>(found: &KeyValue) -> Result<T, TokenError> {
    serde_json::from_slice(&found.value).map_err(|_| TokenError::Malformed { key: found.key.clone() })
}

fn after(now: UnixMillis, lifetime: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)))
}

/// Digests as `sha256:...`, so that a person can read the store.
mod digest_text {
    use dunlin_link::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Where tokens are.
const TOKENS: &str = "/dunlin/tokens/";

/// Nodes expelled at a time before who listens looks every key up again.
const EXPELLED_MAX: usize = 64;

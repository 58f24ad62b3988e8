//! Join tokens and the keys of nodes: creation, listing, deletion, and the one transaction that turns a token into a node.
//!
//! The store holds `/dunlin/tokens/ID` (never a secret, only its digest) and `/dunlin/nodes/NAME` (the digest of the node's public
//! key). A node's identity is that key: its certificate is only a wrapper.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{JoinRequest, JoinToken, TokenId, is_node_name},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::store::{Compare, KeyValue, ListOptions, Store, StoreError, Txn, TxnOutcome, Write};

/// The cluster's tokens and node keys; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Store,
    ca: Digest,
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
    #[error("another machine has joined as node `{0}`; remove that node first, or choose another name")]
    NameTaken(NodeName),
    /// The store cannot.
    #[error("the cluster cannot record the node now")]
    Record(#[from] TokenError),
}

/// Why a node's key is not let in. The text is told to the node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No node of this name has joined, or it was removed.
    #[error("node `{0}` is not a member of this cluster; it must join with a token")]
    UnknownNode(NodeName),
    /// The name belongs to another key.
    #[error("the key of this certificate is not the one that node `{0}` joined with")]
    OtherKey(NodeName),
    /// The store cannot.
    #[error("the cluster cannot look the node up now")]
    LookUp(#[from] TokenError),
}

/// What the store holds of a node's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeRecord {
    #[serde(with = "digest_text")]
    key: Digest,
    joined_at: UnixMillis,
    token: TokenId,
}

impl Tokens {
    /// The tokens in `store`, of the cluster whose authority's certificate has the digest `ca`.
    pub const fn new(store: Store, ca: Digest) -> Self {
        Self { store, ca }
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

    /// Checks that the request names a node and a token that can be used, and uses nothing.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, request: &JoinRequest, now: UnixMillis) -> Result<(), JoinError> {
        check_name(request)?;
        self.take_use(request, now).await.map(drop)
    }

    /// Uses a token: registers `key` as the identity of the node that asks, and counts the use, or does neither. A node that has
    /// joined with this key before may join again, which takes a use as well.
    ///
    /// # Errors
    /// Why not.
    pub async fn join(&self, request: &JoinRequest, key: Digest, now: UnixMillis) -> Result<(), JoinError> {
        check_name(request)?;
        loop {
            let (token_compare, token_write) = self.take_use(request, now).await?;
            let (node_compares, node_write) = self.register(request, key, now).await?;
            let mut compares = vec![token_compare];
            compares.extend(node_compares);
            let txn = Txn { compares, writes: token_write.into_iter().chain([node_write]).collect() };
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await.map_err(TokenError::from)? {
                return Ok(());
            }
        }
    }

    /// Checks that `key` is the one that the node has joined with.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check_key(&self, node: &NodeName, key: Digest) -> Result<(), KeyError> {
        match self.node_record(node).await? {
            Some((_, record)) if record.key == key => Ok(()),
            Some(_) => Err(KeyError::OtherKey(node.clone())),
            None => Err(KeyError::UnknownNode(node.clone())),
        }
    }

    /// The write that takes one use of the token, and what must hold for it.
    async fn take_use(
        &self,
        request: &JoinRequest,
        now: UnixMillis,
    ) -> Result<(Compare, Option<Write>), JoinError> {
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
        let compare = Compare::ModRevision(key.clone(), found.mod_revision);
        match record.uses_left {
            None => return Ok((compare, None)),
            Some(0) => return Err(JoinError::UsedUp(record.id)),
            Some(uses) => record.uses_left = Some(uses - 1),
        }
        Ok((compare, Some(Write::Put(key, encode(&record)))))
    }

    /// The write that registers the node's key, and what must hold for it. A name whose Node object is gone is free for another key.
    async fn register(
        &self,
        request: &JoinRequest,
        key: Digest,
        now: UnixMillis,
    ) -> Result<(Vec<Compare>, Write), JoinError> {
        let path = node_key(&request.node);
        let record = NodeRecord { key, joined_at: now, token: request.token.clone() };
        let write = Write::Put(path.clone(), encode(&record));
        match self.node_record(&request.node).await? {
            None => Ok((vec![Compare::Absent(path)], write)),
            Some((found, known)) if known.key == key => {
                Ok((vec![Compare::ModRevision(path, found.mod_revision)], write))
            }
            Some((found, _)) => {
                let object = format!("{NODE_OBJECTS}{}", request.node);
                if self.store.get(&object).await.map_err(TokenError::from)?.is_some() {
                    return Err(JoinError::NameTaken(request.node.clone()));
                }
                Ok((vec![Compare::ModRevision(path, found.mod_revision), Compare::Absent(object)], write))
            }
        }
    }

    async fn node_record(&self, node: &NodeName) -> Result<Option<(KeyValue, NodeRecord)>, TokenError> {
        let Some(found) = self.store.get(&node_key(node)).await? else { return Ok(None) };
        let record = decode(&found)?;
        Ok(Some((found, record)))
    }
}

fn check_name(request: &JoinRequest) -> Result<(), JoinError> {
    if is_node_name(request.node.as_str()) { Ok(()) } else { Err(JoinError::Name) }
}

fn token_key(id: &TokenId) -> String {
    format!("{TOKENS}{id}")
}

/// Where the store holds the identity of `node`. It goes in the transaction that removes the Node object: from then on the machine is
/// refused, and the name is free for one that joins with a token.
pub fn node_key(node: &NodeName) -> String {
    format!("{NODES}{node}")
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

/// Where the keys of nodes are.
const NODES: &str = "/dunlin/nodes/";

/// Where the API keeps Node objects.
const NODE_OBJECTS: &str = "/registry/nodes/";

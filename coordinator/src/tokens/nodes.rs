//! The keys of nodes: which is whose, which are revoked, and until when their certificates last.

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{JoinRequest, TokenId},
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::{JoinError, Place, TokenError, Tokens, decode, digest_text, encode};
use crate::{
    server_time,
    store::{Compare, KeyValue, ListOptions, Txn, TxnOutcome, Write},
};

/// What the store holds of a node's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// Digest of its public key.
    #[serde(with = "digest_text")]
    pub key: Digest,
    /// When it joined.
    pub joined_at: UnixMillis,
    /// With which token.
    pub token: TokenId,
    /// End of the newest certificate; `None` for one of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_end: Option<UnixMillis>,
    /// Since when the key is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UnixMillis>,
}

/// A node and what is known of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub node: NodeName,
    /// Its key.
    pub record: NodeRecord,
}

/// A key that is refused for ever, under whatever name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevokedKey {
    /// Whose it was.
    node: NodeName,
    /// Since when.
    pub(super) revoked_at: UnixMillis,
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
    /// The key was revoked.
    #[error(
        "the key of node `{0}` was revoked; to bring the node back, join with a token of `dunlin node replace {0}`"
    )]
    Revoked(NodeName),
    /// The store cannot.
    #[error("the cluster cannot look the node up now")]
    LookUp(#[from] TokenError),
}

/// Why a node is not revoked or replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// No machine has joined under this name.
    #[error("no machine has joined as node `{0}`")]
    UnknownNode(NodeName),
    /// The store cannot.
    #[error("the cluster cannot record it now")]
    Record(#[from] TokenError),
}

/// What revoking a node found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked now.
    Now,
    /// It was revoked before.
    Before,
}

/// What a token gives a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A name that is free.
    Fresh,
    /// The place of a node.
    Replacing,
}

/// What registering a key takes.
pub(super) struct Claim {
    pub(super) compares: Vec<Compare>,
    pub(super) writes: Vec<Write>,
    pub(super) place: Place,
    /// Whether the key has this name already, by the same token.
    pub(super) is_repeated: bool,
}

impl NodeRecord {
    /// The record of a machine that joins.
    pub(super) const fn joined(
        key: Digest,
        token: TokenId,
        certificate_end: UnixMillis,
        now: UnixMillis,
    ) -> Self {
        Self { key, joined_at: now, token, certificate_end: Some(certificate_end), revoked_at: None }
    }
}

impl Tokens {
    /// Checks that `key` is the one that the node has joined with.
    ///
    /// # Errors
    /// When it is not, or was revoked.
    pub async fn check_key(&self, node: &NodeName, key: Digest) -> Result<(), KeyError> {
        self.registered(node, key).await.map(drop)
    }

    /// Records that the node's key has a certificate until `end`, which must not be handed out when this fails.
    ///
    /// # Errors
    /// As [`Tokens::check_key`].
    pub async fn renewed(
        &self,
        node: &NodeName,
        key: Digest,
        end: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), KeyError> {
        loop {
            let (found, record) = self.registered(node, key).await?;
            let record = NodeRecord { certificate_end: Some(end), ..record };
            let txn = Txn {
                compares: vec![Compare::ModRevision(found.key.clone(), found.mod_revision)],
                writes: vec![Write::Put(found.key, encode(&record)), server_time::record(now)],
            };
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await.map_err(TokenError::from)? {
                return Ok(());
            }
        }
    }

    /// All nodes that have joined, by name.
    ///
    /// # Errors
    /// When the store fails or holds something else.
    pub async fn nodes(&self) -> Result<Vec<Registered>, TokenError> {
        let options = ListOptions { prefix: NODES.into(), after: None, limit: None, at: None };
        let listed = self.store.list(options).await?;
        let registered = |found: &KeyValue| {
            let node = NodeName::new(found.key.trim_start_matches(NODES));
            Ok(Registered { node, record: decode(found)? })
        };
        listed.items.iter().map(registered).collect()
    }

    /// Whether a machine has joined under this name.
    ///
    /// # Errors
    /// When none has.
    pub async fn expect_node(&self, node: &NodeName) -> Result<(), RevokeError> {
        match self.node_record(node).await? {
            Some(_) => Ok(()),
            None => Err(RevokeError::UnknownNode(node.clone())),
        }
    }

    /// Refuses the node's key from now on, whatever token it comes with; only a token that replaces the node lets it in again.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn revoke(&self, node: &NodeName, now: UnixMillis) -> Result<Revoked, RevokeError> {
        loop {
            let found = self.node_record(node).await?;
            let (found, record) = found.ok_or_else(|| RevokeError::UnknownNode(node.clone()))?;
            if record.revoked_at.is_some() {
                return Ok(Revoked::Before);
            }
            let revoked = revoke_key(node, record.key, now);
            let record = NodeRecord { revoked_at: Some(now), ..record };
            let txn = Txn {
                compares: vec![Compare::ModRevision(found.key.clone(), found.mod_revision)],
                writes: vec![Write::Put(found.key, encode(&record)), revoked],
            };
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await.map_err(TokenError::from)? {
                self.expelled(node);
                return Ok(Revoked::Now);
            }
        }
    }

    /// Tells every connection of the node to look its key up again.
    pub(crate) fn expelled(&self, node: &NodeName) {
        // Fails when nobody listens.
        let _ = self.expelled.send(node.clone());
    }

    /// Hears of nodes whose key is refused from now on.
    pub(crate) fn hear_expelled(&self) -> broadcast::Receiver<NodeName> {
        self.expelled.subscribe()
    }

    /// What it takes to register a node's key. A name whose Node object is gone is free for another key, and so is one that is to be
    /// replaced, whose key is then revoked.
    pub(super) async fn claim(
        &self,
        node: &NodeName,
        record: NodeRecord,
        entry: Entry,
        now: UnixMillis,
    ) -> Result<Claim, JoinError> {
        let path = node_key(node);
        let (compare, restored) = self.admit(node, record.key, entry).await?;
        let write = Write::Put(path.clone(), encode(&record));
        let mut claim = Claim {
            compares: vec![compare],
            writes: [write].into_iter().chain(restored).collect(),
            place: Place::Free,
            is_repeated: false,
        };
        let Some((found, known)) = self.node_record(node).await? else {
            claim.compares.push(Compare::Absent(path));
            return Ok(claim);
        };
        claim.compares.push(Compare::ModRevision(path, found.mod_revision));
        if known.key == record.key {
            claim.is_repeated = known.token == record.token && known.revoked_at.is_none();
            return Ok(claim);
        }
        if entry == Entry::Replacing {
            claim.writes.push(revoke_key(node, known.key, now));
            claim.place = Place::Taken;
            return Ok(claim);
        }
        let object = format!("{NODE_OBJECTS}{node}");
        if self.store.get(&object).await.map_err(TokenError::from)?.is_some() {
            return Err(JoinError::NameTaken(node.clone()));
        }
        claim.compares.push(Compare::Absent(object));
        Ok(claim)
    }

    /// Whether the node that a request names has joined with the token that it brings, and its key is not refused.
    pub(super) async fn has_joined_with(&self, request: &JoinRequest) -> Result<bool, TokenError> {
        let found = self.node_record(&request.node).await?;
        Ok(found.is_some_and(|(_, known)| known.token == request.token && known.revoked_at.is_none()))
    }

    /// What must hold for a key that was never revoked; one that was revoked as this node is let in again by a token that replaces it.
    async fn admit(
        &self,
        node: &NodeName,
        key: Digest,
        entry: Entry,
    ) -> Result<(Compare, Option<Write>), JoinError> {
        let path = revoked_key(key);
        let Some(found) = self.store.get(&path).await.map_err(TokenError::from)? else {
            return Ok((Compare::Absent(path), None));
        };
        let revoked: RevokedKey = decode(&found)?;
        if entry == Entry::Fresh || revoked.node != *node {
            return Err(JoinError::Revoked(revoked.node));
        }
        Ok((Compare::ModRevision(path.clone(), found.mod_revision), Some(Write::Delete(path))))
    }

    async fn registered(&self, node: &NodeName, key: Digest) -> Result<(KeyValue, NodeRecord), KeyError> {
        match self.node_record(node).await? {
            Some((_, record)) if record.key == key && record.revoked_at.is_some() => {
                Err(KeyError::Revoked(node.clone()))
            }
            Some((found, record)) if record.key == key => Ok((found, record)),
            Some(_) => Err(KeyError::OtherKey(node.clone())),
            None => Err(KeyError::UnknownNode(node.clone())),
        }
    }

    async fn node_record(&self, node: &NodeName) -> Result<Option<(KeyValue, NodeRecord)>, TokenError> {
        let Some(found) = self.store.get(&node_key(node)).await? else { return Ok(None) };
        let record = decode(&found)?;
        Ok(Some((found, record)))
    }
}

/// Where the store holds the identity of `node`. It goes in the transaction that removes the Node object: from then on the machine is
/// refused, and the name is free for one that joins with a token.
pub fn node_key(node: &NodeName) -> String {
    format!("{NODES}{node}")
}

pub(super) fn revoked_key(key: Digest) -> String {
    format!("{REVOKED}{}", key.hex())
}

pub(super) fn revoke_key(node: &NodeName, key: Digest, now: UnixMillis) -> Write {
    Write::Put(revoked_key(key), encode(&RevokedKey { node: node.clone(), revoked_at: now }))
}

/// Where the keys of nodes are.
pub(super) const NODES: &str = "/dunlin/nodes/";

/// Where revoked keys are, by the digits of their digest.
pub(super) const REVOKED: &str = "/dunlin/revoked/";

/// Where the API keeps Node objects.
const NODE_OBJECTS: &str = "/registry/nodes/";

//! A Node object's end is its machine's: the identity goes in the same transaction, and the session right after it.

use std::fmt;

use dunlin_api::{Kind, Status};
use dunlin_link::NodeName;

use super::{ApiService, ObjectRef, store_failed};
use crate::{
    sessions::{LinkFacts, Sessions},
    store::{Compare, Write},
    tokens,
};

/// What the service asks of nodes' sessions: the sessions.
pub trait NodeSessions: fmt::Debug + Send + Sync {
    /// Ends the session of `node`, if it has one.
    fn disconnect(&self, node: &NodeName);

    /// Ends it, and forgets what is known of the node's link.
    fn expel(&self, node: &NodeName);

    /// What is known of the nodes' links, by name.
    fn links(&self) -> Vec<LinkFacts>;
}

impl NodeSessions for Sessions {
    fn disconnect(&self, node: &NodeName) {
        Self::disconnect(self, node);
    }

    fn expel(&self, node: &NodeName) {
        Self::expel(self, node);
    }

    fn links(&self) -> Vec<LinkFacts> {
        Self::links(self)
    }
}

impl ApiService {
    /// What has to hold and to be written when `object` is removed, beside its own removal.
    pub(super) async fn removal_of_identity(
        &self,
        object: ObjectRef<'_>,
    ) -> Result<Option<(Compare, Option<Write>)>, Status> {
        if !is_node(object.kind) {
            return Ok(None);
        }
        let key = tokens::node_key(&NodeName::new(object.name));
        // A node that was created by hand, or whose machine has not joined, has no identity.
        Ok(Some(match self.store().get(&key).await.map_err(store_failed)? {
            Some(found) => (Compare::ModRevision(key.clone(), found.mod_revision), Some(Write::Delete(key))),
            None => (Compare::Absent(key), None),
        }))
    }

    /// Does what cannot wait for a watch once `object` is gone.
    pub(super) fn removed(&self, object: ObjectRef<'_>) {
        if is_node(object.kind)
            && let Some(sessions) = self.inner.attached.sessions.get()
        {
            tracing::info!(node = object.name, "a node was removed; its machine has to join again");
            let node = NodeName::new(object.name);
            self.contacts().forget(&node);
            if let Some(tokens) = self.inner.attached.tokens.get() {
                tokens.expelled(&node);
            }
            sessions.expel(&node);
        }
    }
}

fn is_node(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Node"
}

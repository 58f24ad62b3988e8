//! The machines that are nodes: whose key is whose, revoking one, and letting another take its place.

use std::{collections::HashMap, time::Duration};

use dunlin_api::{Kind, Status, kind};
use dunlin_coordinator_core::node_identity;
use dunlin_link::{NodeName, UnixMillis, with_causes};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, tokens::parse};
use crate::{
    service::{ApiService, ModifyError, ObjectRef, User, body, response::Response},
    sessions::LinkFacts,
    tokens::{NewToken, Registered, RevokeError, Revoked},
};

impl ApiService {
    pub(super) async fn list_members(&self) -> Result<Response, Status> {
        let nodes = self.tokens()?.nodes().await.map_err(|error| Status::internal(with_causes(&error)))?;
        let links = self.inner.attached.sessions.get().map(|sessions| sessions.links()).unwrap_or_default();
        let links: HashMap<NodeName, LinkFacts> =
            links.into_iter().map(|link| (link.node.clone(), link)).collect();
        let mut items = Vec::with_capacity(nodes.len());
        for node in nodes {
            let version = self.version_of(&node.node).await?;
            items.push(described(&node, links.get(&node.node), version));
        }
        Ok(Response::json(200, &json!({"items": items})))
    }

    pub(super) async fn revoke_member(&self, call: Call<'_>) -> Result<Response, Status> {
        let node = NodeName::new(call.captures.first().copied().unwrap_or_default());
        let revoked = self.tokens()?.revoke(&node, self.clock().now_millis()).await.map_err(refused)?;
        if revoked == Revoked::Now {
            tracing::info!(%node, "the key of a node was revoked");
        }
        if let Some(sessions) = self.inner.attached.sessions.get() {
            sessions.disconnect(&node);
        }
        // Again for a key that was revoked before: what follows may have been cut off then.
        self.mark_revoked(&node).await?;
        Ok(Response::json(200, &json!({"name": node.as_str(), "revoked": revoked == Revoked::Now})))
    }

    pub(super) async fn replace_member(&self, call: Call<'_>) -> Result<Response, Status> {
        let node = NodeName::new(call.captures.first().copied().unwrap_or_default());
        let asked: AskedReplacement = parse(&body::read(call.body).await?)?;
        self.tokens()?.expect_node(&node).await.map_err(refused)?;
        let new = NewToken {
            description: format!("replaces node {node}"),
            lifetime: asked.lifetime_seconds.map(Duration::from_secs),
            uses: Some(1),
            addresses: asked.addresses.unwrap_or_else(|| self.advertised()),
            replaces: Some(node.clone()),
        };
        let token = self.tokens()?.create(new, self.clock().now_millis()).await;
        let token = token.map_err(|error| Status::internal(with_causes(&error)))?;
        let answer = json!({"name": node.as_str(), "id": token.id.as_str(), "token": token.reveal()});
        Ok(Response::json(201, &answer))
    }

    /// The Node object says why it is not Ready. There may be none: then nobody sees it.
    async fn mark_revoked(&self, node: &NodeName) -> Result<(), Status> {
        let now = self.clock().now();
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let mark = |stored: &mut Value| node_identity::mark_revoked(stored, now);
        match self.modify(&User::controller_manager(), object, "status", None, mark).await {
            Ok(_) | Err(ModifyError::Gone(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn version_of(&self, node: &NodeName) -> Result<Value, Status> {
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        match self.get(&User::controller_manager(), object).await {
            Ok(stored) => Ok(stored["status"]["nodeInfo"]["kubeletVersion"].clone()),
            Err(status) if status.code() == 404 => Ok(Value::Null),
            Err(status) => Err(status),
        }
    }
}

/// Body of `POST nodes/NAME/replace`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct AskedReplacement {
    lifetime_seconds: Option<u64>,
    addresses: Option<Vec<String>>,
}

fn described(node: &Registered, link: Option<&LinkFacts>, version: Value) -> Value {
    let record = &node.record;
    let time = |at: UnixMillis| Timestamp::from_millisecond(at.0).ok().map(dunlin_api::time::format_time);
    let (state, since) = match (record.revoked_at, link) {
        (Some(revoked_at), _) => ("revoked", Some(revoked_at)),
        (None, Some(link)) => match link.connected_since {
            Some(since) => ("connected", Some(since)),
            None => ("silent", Some(link.last_contact)),
        },
        // Not heard of since this coordinator started.
        (None, None) => ("silent", None),
    };
    json!({
        "name": node.node.as_str(),
        "key": record.key.to_string(),
        "joinedAt": time(record.joined_at),
        "token": record.token.as_str(),
        "certificateEnd": record.certificate_end.and_then(time),
        "state": state,
        "since": since.and_then(time),
        "version": version,
    })
}

fn refused(error: RevokeError) -> Status {
    match error {
        RevokeError::UnknownNode(_) => Status::failure(404, "NotFound", error.to_string()),
        error => Status::internal(with_causes(&error)),
    }
}

fn node_kind() -> &'static Kind {
    kind::by_kind("v1", "Node").expect("the registry has nodes")
}

//! Join tokens.

use dunlin_api::Status;
use dunlin_link::{NodeName, UnixMillis, join::TokenId, with_causes};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Call, not_served};
use crate::{
    service::{ApiService, body, response::Response},
    tokens::{NewToken, TokenRecord, Tokens},
};

impl ApiService {
    pub(super) async fn create_token(&self, call: Call<'_>) -> Result<Response, Status> {
        let asked: AskedToken = parse(&body::read(call.body).await?)?;
        let addresses = asked.addresses.unwrap_or_else(|| self.advertised());
        let new = NewToken {
            description: asked.description.unwrap_or_default(),
            lifetime: asked.lifetime_seconds.map(std::time::Duration::from_secs),
            uses: asked.uses,
            addresses,
            replaces: None,
        };
        let now = UnixMillis(self.clock().now().as_millisecond());
        let token =
            self.tokens()?.create(new, now).await.map_err(|error| Status::internal(with_causes(&error)))?;
        Ok(Response::json(201, &json!({"id": token.id.as_str(), "token": token.reveal()})))
    }

    /// Where nodes find this coordinator.
    pub(super) fn advertised(&self) -> Vec<String> {
        self.inner.attached.cluster.get().map(|cluster| cluster.addresses.clone()).unwrap_or_default()
    }

    pub(super) async fn list_tokens(&self) -> Result<Response, Status> {
        let tokens = self.tokens()?.list().await.map_err(|error| Status::internal(with_causes(&error)))?;
        Ok(Response::json(200, &json!({"items": tokens.iter().map(described_token).collect::<Vec<_>>()})))
    }

    pub(super) async fn delete_token(&self, call: Call<'_>) -> Result<Response, Status> {
        let text = call.captures.first().copied().unwrap_or_default();
        let id: TokenId = text.parse().map_err(|error| Status::bad_request(format!("{error}")))?;
        let deleted =
            self.tokens()?.delete(&id).await.map_err(|error| Status::internal(with_causes(&error)))?;
        if deleted {
            Ok(Response::json(200, &json!({"id": text})))
        } else {
            Err(Status::failure(404, "NotFound", format!("token \"{text}\" not found")))
        }
    }

    pub(super) fn tokens(&self) -> Result<&Tokens, Status> {
        self.inner.attached.tokens.get().ok_or_else(not_served)
    }
}

/// The options of a request; none are all default.
pub(super) fn parse<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    match body {
        [] => Ok(T::default()),
        body => serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string())),
    }
}

/// Body of `POST tokens`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct AskedToken {
    description: Option<String>,
    lifetime_seconds: Option<u64>,
    uses: Option<u32>,
    addresses: Option<Vec<String>>,
}

fn described_token(token: &TokenRecord) -> Value {
    let time = |at: UnixMillis| Timestamp::from_millisecond(at.0).ok().map(dunlin_api::time::format_time);
    json!({
        "id": token.id.as_str(),
        "description": token.description,
        "createdAt": time(token.created_at),
        "expiresAt": token.expires_at.and_then(time),
        "usesLeft": token.uses_left,
        "replaces": token.replaces.as_ref().map(NodeName::as_str),
    })
}

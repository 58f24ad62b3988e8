//! Who issues the tokens of service accounts, and by which keys others can tell that; and the change of keys.

use dunlin_api::Status;
use dunlin_link::with_causes;
use serde_json::json;

use super::not_served;
use crate::service::{ApiService, bearer::ISSUER, response::Response};

impl ApiService {
    /// `/.well-known/openid-configuration`.
    #[expect(clippy::unused_async, reason = "all endpoints have one shape")]
    pub(super) async fn openid_configuration(&self) -> Result<Response, Status> {
        let cluster = self.inner.attached.cluster.get().ok_or_else(not_served)?;
        let address = cluster.addresses.first().map_or("", String::as_str);
        let configuration = json!({
            "issuer": ISSUER,
            "jwks_uri": format!("https://{address}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        Ok(Response::json(200, &configuration).with_header("cache-control", CACHED))
    }

    /// `/openid/v1/jwks`.
    #[expect(clippy::unused_async, reason = "all endpoints have one shape")]
    pub(super) async fn openid_keys(&self) -> Result<Response, Status> {
        let keys = self.inner.attached.account_keys.get().ok_or_else(not_served)?;
        let answer = Response::bytes(200, "application/jwk-set+json", keys.key_set().to_string());
        Ok(answer.with_header("cache-control", CACHED))
    }

    /// Signs with a new key from now on.
    pub(super) async fn rotate_account_keys(&self) -> Result<Response, Status> {
        let keys = self.inner.attached.account_keys.get().ok_or_else(not_served)?.clone();
        let rotated = tokio::task::spawn_blocking(move || {
            keys.rotate().map_err(|error| with_causes(&error))?;
            Ok(keys.key_set())
        });
        let keys =
            rotated.await.map_err(Status::internal)?.map_err(|error: String| Status::internal(error))?;
        Ok(Response::json(200, &keys))
    }
}

/// Others may use what they read for an hour, as with Kubernetes.
const CACHED: &str = "public, max-age=3600";

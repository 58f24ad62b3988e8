//! Bootstrap tokens, as far as their end is concerned.

use jiff::Timestamp;
use serde::Deserialize;

use super::decode::DecodeError;

/// A Secret that is a bootstrap token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapToken {
    /// `metadata.uid`.
    pub uid: String,
    /// When it ends; `None` is never.
    pub expires: Option<Timestamp>,
}

impl BootstrapToken {
    /// Reads a Secret; `None` when it is something else.
    pub(super) fn decode(json: &[u8]) -> Result<Option<Self>, DecodeError> {
        let secret: SecretShape = serde_json::from_slice(json)?;
        if secret.kind != TYPE {
            return Ok(None);
        }
        let expiration = secret.data.and_then(|data| data.expiration).unwrap_or_default();
        let expires = (!expiration.is_empty()).then(|| end(&expiration).unwrap_or(Timestamp::UNIX_EPOCH));
        Ok(Some(Self { uid: secret.metadata.uid, expires }))
    }
}

/// What encoded text says as a time.
fn end(encoded: &str) -> Option<Timestamp> {
    let bytes = dunlin_api::base64::decode(encoded).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}

#[derive(Deserialize)]
struct SecretShape {
    metadata: MetadataShape,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: Option<DataShape>,
}

#[derive(Deserialize)]
struct MetadataShape {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
struct DataShape {
    #[serde(default)]
    expiration: Option<String>,
}

/// The type of Secrets that are bootstrap tokens.
const TYPE: &str = "bootstrap.kubernetes.io/token";

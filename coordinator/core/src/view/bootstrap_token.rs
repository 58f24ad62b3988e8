//! Bootstrap tokens, as far as their end is concerned.

use jiff::Timestamp;
use serde::Deserialize;

use super::{View, decode::DecodeError};

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

impl View {
    /// Folds in a Secret in the namespace of bootstrap tokens, which may be one.
    ///
    /// # Errors
    /// When `json` is not a Secret; the view then knows no token of the name.
    pub fn apply_bootstrap_token(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        self.bootstrap_tokens.remove(name);
        if let Some(token) = BootstrapToken::decode(json)? {
            self.bootstrap_tokens.insert(name.to_owned(), token);
        }
        Ok(())
    }

    /// Forgets a bootstrap token, if there was one of this name.
    pub fn delete_bootstrap_token(&mut self, name: &str) {
        self.bootstrap_tokens.remove(name);
    }

    /// All bootstrap tokens, by the name of their Secret.
    pub fn bootstrap_tokens(&self) -> impl Iterator<Item = (&String, &BootstrapToken)> {
        self.bootstrap_tokens.iter()
    }
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

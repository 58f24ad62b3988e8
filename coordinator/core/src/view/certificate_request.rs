//! CertificateSigningRequests, as far as signing and the end of them are concerned.

use std::time::Duration;

use dunlin_api::kind::CLIENT_SIGNER;
use jiff::Timestamp;
use serde::Deserialize;

use super::{View, decode::DecodeError};

/// A request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// `metadata.uid`.
    pub uid: String,
    /// Whether the cluster's authority is to sign it now.
    pub awaits_signature: bool,
    /// When it has been of use long enough.
    pub ends: Timestamp,
}

impl CertificateRequest {
    pub(super) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let RequestShape { metadata, spec, status } = serde_json::from_slice(json)?;
        let created = metadata.creation_timestamp.unwrap_or(Timestamp::UNIX_EPOCH);
        let since = |kind: &str| {
            let condition = status.conditions.iter().find(|condition| condition.kind == kind);
            condition.map(|condition| condition.last_update_time.unwrap_or(created))
        };
        let is_issued = !status.certificate.is_empty();
        let (approved, refused) = (since("Approved"), since("Denied").or_else(|| since("Failed")));
        let ends = match (refused, approved.filter(|_| is_issued)) {
            (Some(done), _) | (None, Some(done)) => done + DONE_KEPT,
            (None, None) => created + OPEN_KEPT,
        };
        let is_ours = spec.signer_name == CLIENT_SIGNER;
        let awaits_signature = is_ours && approved.is_some() && refused.is_none() && !is_issued;
        Ok(Self { uid: metadata.uid, awaits_signature, ends })
    }
}

impl View {
    /// Folds in a request for a certificate.
    ///
    /// # Errors
    /// When `json` is not one; the view then knows none of the name.
    pub fn apply_certificate_request(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        self.certificate_requests.remove(name);
        self.certificate_requests.insert(name.to_owned(), CertificateRequest::decode(json)?);
        Ok(())
    }

    /// Forgets a request for a certificate.
    pub fn delete_certificate_request(&mut self, name: &str) {
        self.certificate_requests.remove(name);
    }

    /// A request for a certificate.
    pub fn certificate_request(&self, name: &str) -> Option<&CertificateRequest> {
        self.certificate_requests.get(name)
    }
}

#[derive(Deserialize)]
struct RequestShape {
    metadata: MetadataShape,
    #[serde(default)]
    spec: SpecShape,
    #[serde(default)]
    status: StatusShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataShape {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    creation_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecShape {
    #[serde(default)]
    signer_name: String,
}

#[derive(Default, Deserialize)]
struct StatusShape {
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    conditions: Vec<ConditionShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionShape {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    last_update_time: Option<Timestamp>,
}

/// How long a request is kept that was signed, denied or failed, as in Kubernetes: whoever asked has fetched it by then.
const DONE_KEPT: Duration = Duration::from_secs(3600);

/// The same for one that nobody decided on, or nobody signed.
const OPEN_KEPT: Duration = Duration::from_secs(24 * 3600);

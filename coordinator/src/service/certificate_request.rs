//! What is refused of requests for certificates because of what is in them, which takes reading what is to be signed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunlin_api::{
    Kind, Status,
    field::{FieldError, Path},
    kind::CLIENT_SIGNER,
};
use serde_json::Value;

use crate::pki::UserRequest;

/// Checks a new request: that it is one, and Kubernetes' admission plugin CertificateSubjectRestriction.
///
/// # Errors
/// 422 for what is no request signed by its own key; 403 for a user's certificate that would make an administrator, whom nobody could
/// take the rights from by a role.
pub(super) fn check_new(kind: &Kind, object: &Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let encoded = object["spec"]["request"].as_str().unwrap_or_default();
    let request = STANDARD.decode(encoded).unwrap_or_default();
    let request = UserRequest::from_pem(&request).map_err(|error| {
        let field = Path::new("spec").child("request");
        let error = FieldError::invalid(field, encoded, &error.to_string());
        Status::invalid(kind, name, &[error])
    })?;
    if object["spec"]["signerName"] == CLIENT_SIGNER && request.asks_for(MASTERS) {
        let detail = format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed");
        return Err(Status::forbidden(kind, name, &detail));
    }
    Ok(())
}

/// Whether objects of a kind are requests for certificates.
pub(super) fn is_request(kind: &Kind) -> bool {
    kind.group == GROUP && kind.plural == "certificatesigningrequests"
}

/// The API group of requests, and of the rights to decide on them.
pub(super) const GROUP: &str = "certificates.k8s.io";

const MASTERS: &str = "system:masters";

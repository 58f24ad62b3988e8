//! What controllers want done about requests for certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunlin_api::{Kind, Status, kind};
use dunlin_link::UnixMillis;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Executor;
use crate::{
    pki::{SigningError, UserRequest},
    service::{ObjectRef, User},
};

impl Executor {
    /// Signs a request, or says in a condition why it cannot be.
    pub(super) async fn sign_request(&self, name: &str, uid: &str, now: Timestamp) -> Result<(), Status> {
        let object = ObjectRef { kind: kind_of_requests(), namespace: "", name };
        let user = User::controller("certificate-controller");
        let request = self.service.get(&user, object).await?;
        let signed = match self.sign(&request["spec"], now) {
            // Another attempt may go better.
            Err(SigningError::Issue(error)) => return Err(Status::internal(error)),
            signed => signed.map_err(|error| error.to_string()),
        };
        let write = |request: &mut Value| {
            if !awaits_signature(request) {
                return false;
            }
            match &signed {
                Ok(pem) => request["status"]["certificate"] = STANDARD.encode(pem).into(),
                Err(why) => {
                    let failed = json!({
                        "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                    });
                    if let Some(conditions) = request["status"]["conditions"].as_array_mut() {
                        conditions.push(failed);
                    }
                }
            }
            true
        };
        self.service.modify(&user, object, "status", Some(uid), write).await.map(drop).map_err(Status::from)
    }

    fn sign(&self, spec: &Value, now: Timestamp) -> Result<String, SigningError> {
        let request = STANDARD.decode(spec["request"].as_str().unwrap_or_default()).unwrap_or_default();
        let request = UserRequest::from_pem(&request).map_err(SigningError::Request)?;
        let usages: Vec<&str> =
            spec["usages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let now = UnixMillis(now.as_millisecond());
        self.pki.sign_user(&request, &usages, spec["expirationSeconds"].as_i64(), now)
    }

    /// Removes a request.
    pub(super) async fn remove_request(&self, name: &str, uid: &str) -> Result<(), Status> {
        let object = ObjectRef { kind: kind_of_requests(), namespace: "", name };
        let options = json!({ "preconditions": { "uid": uid } });
        self.service.delete(&User::controller("certificate-controller"), object, options).await.map(drop)
    }
}

/// Whether a request is still approved and nothing has become of it.
fn awaits_signature(request: &Value) -> bool {
    let status = &request["status"];
    let has = |kind: &str| {
        status["conditions"].as_array().into_iter().flatten().any(|condition| condition["type"] == kind)
    };
    let is_signed = status["certificate"].as_str().is_some_and(|certificate| !certificate.is_empty());
    has("Approved") && !has("Denied") && !has("Failed") && !is_signed
}

fn kind_of_requests() -> &'static Kind {
    let found = kind::by_kind("certificates.k8s.io/v1", "CertificateSigningRequest");
    found.expect("the registry has requests for certificates")
}

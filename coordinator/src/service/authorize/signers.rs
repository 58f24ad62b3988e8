//! Who may approve and who may sign requests for certificates: whoever has that right for the signer that a request names.

use std::sync::Arc;

use dunlin_api::{Kind, Status};
use dunlin_coordinator_core::authorizer::{Attributes, Index, Target};
use serde_json::Value;

use crate::service::{User, certificate_request, followed::Followed, path::ResourceRequest};

/// Checks what one request decides or signs.
#[derive(Clone, Debug)]
pub(in crate::service) struct SignerGuard {
    user: User,
    right: Right,
    /// As of when the request was authorized.
    roles: Arc<Followed<Index>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Approve,
    Sign,
}

impl Right {
    /// As roles spell it.
    const fn verb(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Sign => "sign",
        }
    }
}

impl SignerGuard {
    /// A guard for what `user` asks; `None` for what neither approves nor signs.
    pub(super) fn new(user: &User, request: &ResourceRequest, roles: &Arc<Followed<Index>>) -> Option<Self> {
        let right = match request.subresource.as_str() {
            "approval" => Right::Approve,
            "status" => Right::Sign,
            _ => return None,
        };
        let is_request = certificate_request::is_request(request.kind);
        is_request.then(|| Self { user: user.clone(), right, roles: Arc::clone(roles) })
    }

    /// Checks a change of a request for a certificate.
    ///
    /// # Errors
    /// 403 when the user lacks the right for the signer.
    pub(super) fn check(&self, kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
        let is_same = |field: &str| old["status"][field] == new["status"][field];
        if self.right == Right::Sign && is_same("certificate") && is_same("conditions") {
            return Ok(());
        }
        let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
        let domain = signer.split('/').next().unwrap_or_default();
        if self.may(signer) || self.may(&format!("{domain}/*")) {
            return Ok(());
        }
        let name = old["metadata"]["name"].as_str().unwrap_or_default();
        let verb = self.right.verb();
        let detail = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(Status::forbidden(kind, name, &detail))
    }

    fn may(&self, signer: &str) -> bool {
        let target = Target::Resource {
            group: certificate_request::GROUP,
            resource: "signers",
            subresource: "",
            namespace: "",
            name: signer,
        };
        let asked = Attributes { verb: self.right.verb(), target };
        self.roles.peek(|index| index.allows(self.user.who(), &asked).is_ok())
    }
}

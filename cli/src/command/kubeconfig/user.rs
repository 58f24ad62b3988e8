//! A certificate for another user, by Kubernetes' own way: a request that is approved and then signed. The key never leaves this
//! machine.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunlin_coordinator::pki::NewUserRequest;
use serde_json::{Value, json};

use crate::{
    api::{self, Accept, Patch},
    document::{items, text},
    resource::{self, Kind},
    session::Session,
};

/// Who is to get a certificate.
#[derive(Debug)]
pub(super) struct NewUser {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
    pub(super) expiry: Duration,
}

/// What it is known by from now on.
pub(super) struct Issued {
    /// The context's name.
    pub(super) context: String,
    pub(super) certificate_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
}

/// Makes a key, and has a certificate made for it.
///
/// # Errors
/// When the request is refused, may not be approved by this user, or is not signed in time.
pub(super) async fn issue(session: &Session, user: NewUser) -> Result<Issued> {
    ensure!(!user.name.is_empty() && user.groups.iter().all(|group| !group.is_empty()), "a name is empty");
    let made = NewUserRequest::new(&user.name, &user.groups)?;
    let kind = resource::find("certificatesigningrequests")?;
    let collection = api::collection(kind, None);
    let request = session.api.create(&collection, &[], &request(&user, &made)).await?;
    let name = text(&request, &["metadata", "name"]);
    approve(session, kind, name).await?;
    let signed = tokio::time::timeout(SIGNED_WITHIN, certificate(session, kind, name)).await;
    let certificate_pem =
        signed.with_context(|| format!("certificate request \"{name}\" was not signed in time"))??;
    let context = format!("{}@{}", user.name, session.context);
    Ok(Issued { context, certificate_pem, key_pem: made.key_pem.into_bytes() })
}

fn request(user: &NewUser, made: &NewUserRequest) -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "dunlin-user-"},
        "spec": {
            "request": STANDARD.encode(&made.request_pem),
            "signerName": dunlin_api::kind::CLIENT_SIGNER,
            "expirationSeconds": i32::try_from(user.expiry.as_secs()).unwrap_or(i32::MAX),
            "usages": ["client auth", "digital signature"],
        },
    })
}

async fn approve(session: &Session, kind: &Kind, name: &str) -> Result<()> {
    let path = format!("{}/approval", api::object(kind, "", name));
    let condition = json!({
        "type": "Approved",
        "status": "True",
        "reason": "DunlinKubeconfig",
        "message": "This request was approved by whoever made it with dunlin kubeconfig.",
    });
    session.api.patch(&path, &[], Patch::Merge, &json!({"status": {"conditions": [condition]}})).await?;
    Ok(())
}

/// Waits for the certificate.
async fn certificate(session: &Session, kind: &Kind, name: &str) -> Result<Vec<u8>> {
    let collection = api::collection(kind, None);
    let selector = format!("metadata.name={name}");
    loop {
        let list = session.api.list(&collection, &[("fieldSelector", &selector)]).await?;
        let Some(found) = items(&list, &["items"]).first() else {
            bail!("certificate request \"{name}\" is gone")
        };
        if let Some(certificate) = issued(found)? {
            return Ok(certificate);
        }
        let query = [
            ("fieldSelector", selector.as_str()),
            ("resourceVersion", text(&list, &["metadata", "resourceVersion"])),
        ];
        let mut watch = session.api.watch(&collection, &query, Accept::Objects).await?;
        while let Some((_, request)) = watch.next().await? {
            if let Some(certificate) = issued(&request)? {
                return Ok(certificate);
            }
        }
    }
}

/// The certificate of a request, once it is there.
fn issued(request: &Value) -> Result<Option<Vec<u8>>> {
    let is_failed = |condition: &&Value| ["Failed", "Denied"].contains(&text(condition, &["type"]));
    if let Some(failed) = items(request, &["status", "conditions"]).iter().find(is_failed) {
        bail!("the certificate is refused: {}", text(failed, &["message"]));
    }
    match text(request, &["status", "certificate"]) {
        "" => Ok(None),
        encoded => Ok(Some(STANDARD.decode(encoded).context("the certificate cannot be decoded")?)),
    }
}

/// The coordinator signs at once; this is for one that is busy, or that others sign for.
const SIGNED_WITHIN: Duration = Duration::from_secs(30);

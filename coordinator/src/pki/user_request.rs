//! Requests for users' certificates: what they say, and what the authority makes of them.
//!
//! Of a request count its key, the common name and the organizations of its subject. Everything else that it asks for is left out. A
//! comma in an organization separates groups, in requests as in certificates, so that none is asked for unseen.

use std::time::Duration;

use dunlin_link::UnixMillis;
use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo};
use x509_parser::{certification_request::X509CertificationRequest, error::X509Error, prelude::FromDer as _};

use super::{GROUP_SEPARATOR, Pki, PkiError, client_params, name};
use crate::service::User;

/// A request (PKCS#10) that is well formed and not signed by another key than its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRequest {
    name: String,
    groups: Vec<String>,
    /// `SubjectPublicKeyInfo`.
    key: Vec<u8>,
    signature: Signature,
}

/// Whether a request is signed by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signature {
    Good,
    /// By an algorithm that is not known here.
    Unknown,
}

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserRequestError {
    /// It is no PEM, or PEM of something else.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Block,
    /// It is no request.
    #[error("the certificate request is malformed")]
    Malformed,
    /// It is signed by another key.
    #[error("the certificate request is not signed by the key that it names")]
    Signature,
}

/// Why a request is not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    /// It cannot be read.
    #[error(transparent)]
    Request(UserRequestError),
    /// What it says of the certificate's use, in Kubernetes' words.
    #[error("{0} usage for client certificate: {1}")]
    Usage(&'static str, String),
    /// Nobody could be told from another by the certificate.
    #[error("the subject of the certificate request has no common name")]
    Nameless,
    /// It cannot be checked, or used.
    #[error("the key of the certificate request is of a kind that is not supported")]
    Key,
    /// The certificate cannot be made.
    #[error("failed to make the certificate")]
    Issue(#[source] rcgen::Error),
}

/// A new key, and a request for a user's certificate that is signed by it, both as PEM. `Debug` shows no key.
#[derive(Clone)]
pub struct NewUserRequest {
    /// The request (PKCS#10).
    pub request_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl NewUserRequest {
    /// Makes a key and a request for a user who is a member of these groups.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(user: &str, groups: &[String]) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, groups);
        let request_pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { request_pem, key_pem: key.serialize_pem() })
    }
}

impl std::fmt::Debug for NewUserRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUserRequest").finish_non_exhaustive()
    }
}

impl UserRequest {
    /// Reads a request as PEM.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, UserRequestError> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem).map_err(|_| UserRequestError::Block)?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(UserRequestError::Block);
        }
        let parsed = X509CertificationRequest::from_der(&block.contents);
        let (rest, request) = parsed.map_err(|_| UserRequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(UserRequestError::Malformed);
        }
        let signature = match request.verify_signature() {
            Ok(()) => Signature::Good,
            Err(X509Error::SignatureUnsupportedAlgorithm) => Signature::Unknown,
            Err(_) => return Err(UserRequestError::Signature),
        };
        let info = &request.certification_request_info;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).map_err(|_| UserRequestError::Malformed)
        };
        let common_name = info.subject.iter_common_name().next();
        let name = common_name.map(text).transpose()?.unwrap_or_default();
        let mut groups = Vec::new();
        for organization in info.subject.iter_organization() {
            groups.extend(text(organization)?.split(GROUP_SEPARATOR).map(str::to_owned));
        }
        Ok(Self { name, groups, key: info.subject_pki.raw.to_vec(), signature })
    }

    /// Whether the certificate would make its holder a member of this group.
    pub(crate) fn asks_for(&self, group: &str) -> bool {
        self.groups.iter().any(|asked| asked == group)
    }
}

impl Pki {
    /// Issues the certificate of a user, as PEM, for the key that signed `request`. `usages` are Kubernetes' names; without a wish for
    /// `seconds` it lasts as long as any.
    ///
    /// # Errors
    /// When the request is for something else than a user's certificate.
    pub(crate) fn sign_user(
        &self,
        request: &UserRequest,
        usages: &[&str],
        seconds: Option<i64>,
        now: UnixMillis,
    ) -> Result<String, SigningError> {
        let key_usages = key_usages(usages)?;
        if request.name.is_empty() {
            return Err(SigningError::Nameless);
        }
        if request.signature != Signature::Good {
            return Err(SigningError::Key);
        }
        let key = SubjectPublicKeyInfo::from_der(&request.key).map_err(|_| SigningError::Key)?;
        let user = User::new(request.name.clone(), request.groups.clone());
        let mut params = client_params(&user, now, BACKDATE, validity(seconds));
        params.key_usages = key_usages;
        let certificate = params.signed_by(&key, &self.inner.issuer).map_err(SigningError::Issue)?;
        Ok(certificate.pem())
    }
}

/// Key usages of a client's certificate; that it is one is in the others.
fn key_usages(usages: &[&str]) -> Result<Vec<KeyUsagePurpose>, SigningError> {
    let mut known = Vec::new();
    for usage in usages {
        match *usage {
            "digital signature" => known.push(KeyUsagePurpose::DigitalSignature),
            "key encipherment" => known.push(KeyUsagePurpose::KeyEncipherment),
            "client auth" => {}
            other => return Err(SigningError::Usage("invalid", other.to_owned())),
        }
    }
    if usages.contains(&"client auth") {
        Ok(known)
    } else {
        Err(SigningError::Usage("missing required", "client auth".to_owned()))
    }
}

fn validity(seconds: Option<i64>) -> Duration {
    let asked =
        seconds.map_or(VALIDITY_MAX, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    asked.clamp(VALIDITY_MIN, VALIDITY_MAX)
}

/// The shortest life of a user's certificate, Kubernetes' own; twice what clocks may be behind.
const VALIDITY_MIN: Duration = Duration::from_secs(600);

/// The longest, and that of one whose request has no wish: Kubernetes' default for `--cluster-signing-duration`.
const VALIDITY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How far the clocks of machines may be behind without refusing a certificate that was just issued; as in Kubernetes, shorter than
/// any life.
const BACKDATE: Duration = Duration::from_secs(300);

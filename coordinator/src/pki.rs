//! The cluster's certificate authority: creates and keeps it, issues certificates for nodes, users and the coordinator.
//!
//! The authority is one file, `pki/ca.pem`, holding its certificate and its key, readable by its owner only and created in one step;
//! who holds the file is the cluster. Its certificate's subject names the cluster. All keys here are ECDSA P-256, which every client
//! of the API can check; nodes bring keys of their own.

mod code_signer;
mod peer;
mod serving;
mod tls;
mod user_request;

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{NODE_GROUP, SERVER_NAME, node_user},
    restore::{RestoreRecord, SignedRestore},
    sealed::ContentKey,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SigningKey,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{folders, service::User};

pub(crate) use self::{
    code_signer::CodeSigner,
    user_request::{SigningError, UserRequest},
};
pub use self::{
    peer::{Peer, PeerError},
    serving::ServingCertificate,
    tls::TlsError,
    user_request::NewUserRequest,
};

/// The cluster's authority; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pki {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    cluster_id: String,
}

/// A certificate with its key, both as PEM, for a client's configuration. `Debug` shows no key.
#[derive(Clone)]
pub struct ClientCredentials {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

/// Why the authority cannot be opened or cannot issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// Its file cannot be read or written.
    #[error("failed to read or write `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file does not hold a certificate of an authority and its key.
    #[error("`{path}` does not hold the certificate and key of a cluster's authority")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// Keys or certificates cannot be made.
    #[error("failed to make a certificate")]
    Issue(#[from] rcgen::Error),
}

/// Why a certificate request is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not a request, or is not signed by the key that it names.
    #[error("the certificate request is malformed or not signed by its own key")]
    Malformed(#[source] rcgen::Error),
    /// The certificate cannot be made.
    #[error("failed to make the certificate")]
    Issue(#[source] rcgen::Error),
}

impl Pki {
    /// The authority's file in `data_folder`.
    pub(crate) fn file(data_folder: &Path) -> PathBuf {
        data_folder.join(FOLDER).join("ca.pem")
    }

    /// Whether `data_folder` has an authority, of whatever content.
    pub(crate) fn exists(data_folder: &Path) -> bool {
        Self::file(data_folder).symlink_metadata().is_ok()
    }

    /// The authority in `data_folder`; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn load(data_folder: &Path) -> Result<Option<Self>, PkiError> {
        let path = Self::file(data_folder);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or(PkiError::Malformed { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PkiError::File { path, source }),
        }
    }

    /// Makes the authority of a new cluster in `data_folder`, which has none.
    ///
    /// # Errors
    /// When there is one, or the file cannot be written.
    pub fn create(data_folder: &Path) -> Result<Self, PkiError> {
        let path = Self::file(data_folder);
        let text = generate(&uuid::Uuid::new_v4().to_string())?;
        let created = create_file(&data_folder.join(FOLDER), &path, &text);
        created.map_err(|source| PkiError::File { path: path.clone(), source })?;
        Self::parse(&text).ok_or(PkiError::Malformed { path })
    }

    /// Issues a node's certificate for the key that `request` (PKCS#10, DER) is signed by. Nothing but the key is taken from it.
    ///
    /// # Errors
    /// When the request is not what it should be.
    pub fn issue_node(
        &self,
        node: &NodeName,
        request: &[u8],
        now: UnixMillis,
        validity: Duration,
    ) -> Result<Vec<CertificateDer<'static>>, RequestError> {
        let request =
            CertificateSigningRequestParams::from_der(&request.into()).map_err(RequestError::Malformed)?;
        let user = User::new(node_user(node), [NODE_GROUP.to_owned()]);
        // A tolerance that is long beside the life would make a certificate that is already due for renewal.
        let tolerance = CLOCK_TOLERANCE.min(validity / 100);
        let params = client_params(&user, now, tolerance, validity);
        let certificate =
            params.signed_by(&request.public_key, &self.inner.issuer).map_err(RequestError::Issue)?;
        Ok(vec![certificate.der().clone(), self.inner.certificate.clone()])
    }

    /// Issues a user's certificate with a new key.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn issue_user(
        &self,
        user: &User,
        now: UnixMillis,
        validity: Duration,
    ) -> Result<ClientCredentials, PkiError> {
        let key = KeyPair::generate()?;
        let certificate =
            client_params(user, now, CLOCK_TOLERANCE, validity).signed_by(&key, &self.inner.issuer)?;
        Ok(ClientCredentials { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.inner.certificate
    }

    /// The authority's certificate as PEM, for clients' configurations.
    pub fn certificate_pem(&self) -> &str {
        &self.inner.certificate_pem
    }

    /// Digest of the authority's certificate, as join tokens carry it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.inner.certificate)
    }

    /// Which cluster this is.
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// Signs the record of a restore, by which nodes accept the restored cluster.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign_restore(&self, record: RestoreRecord) -> Result<SignedRestore, PkiError> {
        let signature = self.inner.issuer.key().sign(&record.statement())?;
        Ok(SignedRestore { record, signature })
    }

    /// A secret of the cluster by which a coordinator disowns the connections of the one before it.
    pub(crate) fn reset_secret(&self) -> Digest {
        Digest::of(&[RESET_SECRET_LABEL, &self.inner.issuer.key().serialize_der()].concat())
    }

    /// What ids of Secrets on nodes are made with: the same for as long as the cluster has this authority, a restored one included.
    pub(crate) fn content_key(&self) -> ContentKey {
        let digest = Digest::of(&[CONTENT_KEY_LABEL, &self.inner.issuer.key().serialize_der()].concat());
        ContentKey::from_bytes(*digest.as_bytes())
    }

    /// A certificate and key of the coordinator for these names and addresses, made anew at each start.
    fn issue_server(
        &self,
        names: Vec<String>,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        // Strict clients, such as Python's from 3.13 on, want it.
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = name(SERVER_NAME, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
        params.not_after = date_time_ymd(LAST_YEAR, 1, 1);
        let certificate = params.signed_by(&key, &self.inner.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((certificate.der().clone(), key))
    }

    fn parse(text: &str) -> Option<Self> {
        let (certificate_pem, key_pem) = text.split_at(text.find(KEY_START)?);
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
        let key = KeyPair::from_pem(key_pem).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return None;
        }
        let subject = parsed.subject().iter_common_name().next()?.as_str().ok()?;
        let cluster_id = subject.strip_prefix(CA_NAME_PREFIX)?.to_owned();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        let inner = Inner {
            certificate: certificate.clone(),
            certificate_pem: certificate_pem.to_owned(),
            issuer,
            cluster_id,
        };
        Some(Self { inner: Arc::new(inner) })
    }
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCredentials").finish_non_exhaustive()
    }
}

/// Digest of the public key that a certificate request names and is signed by.
///
/// # Errors
/// When it is not a request, or is signed by another key.
pub fn request_key(request: &[u8]) -> Result<Digest, RequestError> {
    let request =
        CertificateSigningRequestParams::from_der(&request.into()).map_err(RequestError::Malformed)?;
    Ok(Digest::of(&request.public_key.subject_public_key_info()))
}

/// A new authority's file: its certificate, then its key.
fn generate(cluster_id: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("{CA_NAME_PREFIX}{cluster_id}"), &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = date_time_ymd(LAST_YEAR, 1, 1);
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

/// Writes a file that only its owner can read: whole or not at all, and never over another one.
fn create_file(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    folders::make(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    folders::sync(folder)?;
    folders::sync(folders::parent(folder))
}

/// What all client certificates have in common.
fn client_params(user: &User, now: UnixMillis, tolerance: Duration, validity: Duration) -> CertificateParams {
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&user.name, &user.groups);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(tolerance);
    params.not_after = date_time_ymd(1970, 1, 1) + (now + validity);
    params
}

fn name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // rcgen keeps one value per type; a user of several groups gets them in one value, which `Peer` takes apart again.
    if !organizations.is_empty() {
        name.push(DnType::OrganizationName, organizations.join(GROUP_SEPARATOR));
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// Below the data folder.
const FOLDER: &str = "pki";

/// What the subject of an authority's certificate starts with; the cluster id follows.
const CA_NAME_PREFIX: &str = "dunlin-ca:";

/// Between the groups of a user in a certificate. No group that we issue holds one.
const GROUP_SEPARATOR: &str = ",";

/// Sets this use of the authority's key apart from any other.
const RESET_SECRET_LABEL: &[u8] = b"dunlin stateless reset\0";

/// As above.
const CONTENT_KEY_LABEL: &[u8] = b"dunlin content ids\0";

/// Start of validity of the authority and the coordinator: before any clock that counts from a release of ours.
const FIRST_YEAR: i32 = 2020;

/// End of validity of the authority and the coordinator: what ends their life is the operator, not a date.
const LAST_YEAR: i32 = 2120;

/// How far the clocks of machines may be behind without refusing a certificate that was just issued.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);

/// Where the key starts in the authority's file.
const KEY_START: &str = "-----BEGIN PRIVATE KEY-----";

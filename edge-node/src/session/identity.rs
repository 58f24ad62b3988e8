//! Who the node is, on disk: `identity/` in its state folder, readable by its owner only.
//!
//! `node.key` is the key that is the identity; it is made before anything is sent, so that a join that was cut off can be repeated
//! with the same key. `identity.json` is written last and makes the rest count. A renewal replaces `node.der` in one step: there is
//! always a certificate, the old one or the new.

use std::{
    fs,
    io::{self, Write},
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{TokenId, node_user},
};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::folders;

/// A node's identity. `Debug` shows no key.
#[derive(Clone)]
pub struct Identity {
    folder: Folder,
    record: Record,
    key: Vec<u8>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

/// What `identity.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) node: NodeName,
    pub(super) cluster_id: String,
    pub(super) addresses: Vec<String>,
    /// The token that made it a node; not known of one that joined before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<TokenId>,
}

/// Why an identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("failed to read or write `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}` is damaged; remove the folder and join again")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// No key or request can be made.
    #[error("failed to make a key or a certificate request")]
    Key(#[from] rcgen::Error),
    /// A new certificate is not of this node's key.
    #[error("the coordinator sent a certificate that is not this node's")]
    Foreign,
    /// A new certificate cannot be kept.
    #[error("failed to keep a new certificate")]
    Keep(#[source] io::Error),
}

impl Identity {
    /// The identity in `state_dir`; `None` when the node has not joined yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let folder = Folder::of(state_dir);
        let Some(record) = folder.read(RECORD)? else { return Ok(None) };
        let damaged = |name: &str| IdentityError::Damaged { path: folder.path(name) };
        let record = serde_json::from_slice(&record).map_err(|_| damaged(RECORD))?;
        let key = folder.read(KEY)?.ok_or_else(|| damaged(KEY))?;
        let certificate = folder.read(CERTIFICATE)?.ok_or_else(|| damaged(CERTIFICATE))?;
        let authority = folder.read(AUTHORITY)?.ok_or_else(|| damaged(AUTHORITY))?;
        let identity =
            Self { folder, record, key, certificate: certificate.into(), authority: authority.into() };
        if identity.life().is_none() {
            return Err(IdentityError::Damaged { path: identity.folder.path(CERTIFICATE) });
        }
        Ok(Some(identity))
    }

    /// What stands for the identity of a machine that has none, and never connects.
    pub(super) fn nobody() -> Self {
        let record =
            Record { node: NodeName::new(""), cluster_id: String::new(), addresses: Vec::new(), token: None };
        let (certificate, authority) = (Vec::new().into(), Vec::new().into());
        Self { folder: Folder(PathBuf::new()), record, key: Vec::new(), certificate, authority }
    }

    /// The node's name.
    pub fn node(&self) -> &NodeName {
        &self.record.node
    }

    /// The cluster that it joined.
    pub fn cluster_id(&self) -> &str {
        &self.record.cluster_id
    }

    /// Where it found the coordinator.
    pub fn addresses(&self) -> &[String] {
        &self.record.addresses
    }

    /// Whether this token made it a node.
    pub(crate) fn joined_with(&self, token: &TokenId) -> bool {
        self.record.token.as_ref() == Some(token)
    }

    /// Whether its cluster's authority has the certificate of this digest.
    pub(crate) fn trusts(&self, ca: Digest) -> bool {
        Digest::of(&self.authority) == ca
    }

    pub(super) fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone(), self.authority.clone()]
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }

    /// From when to when the certificate is valid by the coordinator's clock. Its start is a time that has passed.
    pub(super) fn life(&self) -> Option<Range<UnixMillis>> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate).ok()?;
        let millis = |time: x509_parser::time::ASN1Time| UnixMillis(time.timestamp().saturating_mul(1000));
        Some(millis(parsed.validity().not_before)..millis(parsed.validity().not_after))
    }

    /// A request for another certificate of the same key.
    pub(super) fn request(&self) -> Result<Vec<u8>, IdentityError> {
        let key = KeyPair::try_from(self.key.as_slice())?;
        Ok(CertificateParams::default().serialize_request(&key)?.der().to_vec())
    }

    /// The same identity with a new certificate, leaf first, which is on disk when this returns.
    pub(super) fn renewed(&self, chain: Vec<Vec<u8>>) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from(chain.into_iter().next().ok_or(IdentityError::Foreign)?);
        let key = KeyPair::try_from(self.key.as_slice())?;
        {
            let parsed = x509_parser::parse_x509_certificate(&certificate);
            let (_, parsed) = parsed.map_err(|_| IdentityError::Foreign)?;
            let user = node_user(&self.record.node);
            let is_named = parsed.subject().iter_common_name().any(|name| name.as_str() == Ok(user.as_str()));
            if !is_named || parsed.public_key().raw != key.subject_public_key_info() {
                return Err(IdentityError::Foreign);
            }
        }
        self.folder.write(CERTIFICATE, &certificate)?;
        Ok(Self { certificate, ..self.clone() })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("record", &self.record).finish_non_exhaustive()
    }
}

/// Where the certificate of the authority is that the node with this state has pinned.
pub(crate) fn authority_file(state_dir: &Path) -> PathBuf {
    Folder::of(state_dir).path(AUTHORITY)
}

/// The folder of an identity's files.
#[derive(Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("identity"))
    }

    /// Makes the folder if it is not there.
    pub(super) fn make(&self) -> Result<(), IdentityError> {
        let file = |source| IdentityError::File { path: self.0.clone(), source };
        folders::make(&self.0).map_err(file)
    }

    /// The node's key, made when there is none.
    pub(super) fn key(&self) -> Result<KeyPair, IdentityError> {
        self.make()?;
        match self.read(KEY)? {
            Some(der) => {
                KeyPair::try_from(der.as_slice()).map_err(|_| IdentityError::Damaged { path: self.path(KEY) })
            }
            None => {
                let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
                self.write(KEY, key.serialized_der())?;
                Ok(key)
            }
        }
    }

    /// Keeps what joining brought.
    pub(super) fn keep(
        &self,
        record: Record,
        key: &KeyPair,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Identity, IdentityError> {
        self.write(AUTHORITY, &authority)?;
        self.write(CERTIFICATE, &certificate)?;
        let text = serde_json::to_vec_pretty(&record).expect("a record is strings");
        self.write(RECORD, &text)?;
        let (folder, key) = (self.clone(), key.serialized_der().to_vec());
        Ok(Identity { folder, record, key, certificate, authority })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, IdentityError> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::File { path: self.path(name), source }),
        }
    }

    /// Writes a private file whole or not at all.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        let write = || {
            // Of one name, so that crashes leave no more than one of them.
            let new = self.path(&format!("{name}.new"));
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, self.path(name))?;
            folders::flush(&self.0)
        };
        write().map_err(|source| IdentityError::File { path: self.path(name), source })
    }
}

const KEY: &str = "node.key";
const CERTIFICATE: &str = "node.der";
const AUTHORITY: &str = "ca.der";
const RECORD: &str = "identity.json";

#[cfg(test)]
pub(super) mod test {
    //! Identities of a cluster whose authority exists for one test.

    use std::path::Path;

    use dunlin_link::{NodeName, join::node_user};
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
    use rustls_pki_types::CertificateDer;

    use super::{Folder, Identity, Record};

    /// The identity of node `n1`, whose certificate lasts for so many days of January 2026.
    pub(crate) fn identity(state_dir: &Path, days: u8) -> Identity {
        let folder = Folder::of(state_dir);
        let key = folder.key().unwrap();
        let record =
            Record { node: NodeName::new("n1"), cluster_id: "c".into(), addresses: Vec::new(), token: None };
        let certificate = sign(&key, days);
        folder.keep(record, &key, certificate.clone(), certificate).unwrap()
    }

    /// Another certificate of the same key.
    pub(crate) fn certificate(identity: &Identity, days: u8) -> CertificateDer<'static> {
        sign(&KeyPair::try_from(identity.key.as_slice()).unwrap(), days)
    }

    fn sign(key: &KeyPair, days: u8) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, node_user(&NodeName::new("n1")));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after =
            date_time_ymd(2026, 1, 1) + std::time::Duration::from_secs(86_400) * u32::from(days);
        params.self_signed(key).unwrap().der().clone()
    }
}

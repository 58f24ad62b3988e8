//! Who the node is, on disk: `identity/` in its state folder, readable by its owner only.
//!
//! `node.key` is the key that is the identity; it is made before anything is sent, so that a join that was cut off can be repeated
//! with the same key. `identity.json` is written last and makes the rest count.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use dunlin_link::NodeName;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// A node's identity. `Debug` shows no key.
#[derive(Clone)]
pub struct Identity {
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
    /// No key can be made.
    #[error("failed to make a key")]
    Key(#[from] rcgen::Error),
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
        let identity = Self { record, key, certificate: certificate.into(), authority: authority.into() };
        if identity.issued_at().is_none() {
            return Err(damaged(CERTIFICATE));
        }
        Ok(Some(identity))
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

    pub(super) fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone(), self.authority.clone()]
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }

    /// When the certificate became valid by the coordinator's clock: a time that has passed.
    pub(super) fn issued_at(&self) -> Option<Duration> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate).ok()?;
        u64::try_from(parsed.validity().not_before.timestamp()).ok().map(Duration::from_secs)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("record", &self.record).finish_non_exhaustive()
    }
}

/// The folder of an identity's files.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("identity"))
    }

    /// The node's key, made when there is none.
    pub(super) fn key(&self) -> Result<KeyPair, IdentityError> {
        let file = |source| IdentityError::File { path: self.0.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(file)?;
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
        Ok(Identity { record, key: key.serialized_der().to_vec(), certificate, authority })
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
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(self.path(name))?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| IdentityError::File { path: self.path(name), source })
    }
}

const KEY: &str = "node.key";
const CERTIFICATE: &str = "node.der";
const AUTHORITY: &str = "ca.der";
const RECORD: &str = "identity.json";

//! The keys of the tokens of service accounts: one signs, and all of them are accepted, so that a new key takes over without
//! anybody noticing.
//!
//! They are in one file, `pki/accounts.pem`, readable by its owner only, in backups with the authority's: private keys and public
//! keys (ECDSA P-256) in any number up to a bound. The first private key signs. Rotating puts a new one in front.

mod verified;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use dunlin_coordinator_core::{
    account::token::{Claims, TokenError, Unverified},
    base64url,
};
use dunlin_link::Digest;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use serde_json::{Value, json};

use self::verified::Verified;
use crate::folders;

/// The keys of a cluster's service accounts; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    keys: RwLock<Keys>,
    /// Tokens whose signature was checked.
    verified: Verified,
}

#[derive(Debug)]
struct Keys {
    signer: EcdsaKeyPair,
    /// The signer's first.
    accepted: Vec<PublicKey>,
}

#[derive(Debug)]
struct PublicKey {
    id: String,
    /// Uncompressed: 4, x, y.
    point: Vec<u8>,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountKeysError {
    /// Their file cannot be read or written.
    #[error("failed to read or write `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Their file holds no key that signs, or something that is no key.
    #[error("`{path}` does not hold the keys of service accounts: ECDSA P-256, a private key first")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// No key can be made.
    #[error("failed to make a key for service accounts")]
    Make(#[from] rcgen::Error),
}

/// The key cannot sign: the system has no randomness.
#[derive(Debug, thiserror::Error)]
#[error("failed to sign a token")]
pub struct SignError;

impl AccountKeys {
    /// The keys in `data_folder`, made where there are none.
    ///
    /// # Errors
    /// When they cannot be read, understood or made.
    pub fn open(data_folder: &Path) -> Result<Self, AccountKeysError> {
        let path = data_folder.join("pki").join("accounts.pem");
        let file_error = |source| AccountKeysError::File { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = rcgen::KeyPair::generate()?.serialize_pem();
                write(&path, &text).map_err(file_error)?;
                text
            }
            Err(error) => return Err(file_error(error)),
        };
        let keys = Keys::parse(&text).ok_or_else(|| AccountKeysError::Malformed { path: path.clone() })?;
        Ok(Self { inner: Arc::new(Inner { path, keys: RwLock::new(keys), verified: Verified::default() }) })
    }

    /// Signs with a new key from now on; tokens of the keys before it stay good until they end, of as many keys as are kept.
    ///
    /// # Errors
    /// When the key cannot be made or written; nothing changes then.
    pub fn rotate(&self) -> Result<(), AccountKeysError> {
        let path = &self.inner.path;
        let file_error = |source| AccountKeysError::File { path: path.clone(), source };
        // Held while writing, so that two rotations at once lose no key.
        let mut keys = self.inner.keys.write().unwrap_or_else(PoisonError::into_inner);
        let old = fs::read_to_string(path).map_err(file_error)?;
        let mut text = rcgen::KeyPair::generate()?.serialize_pem();
        for section in old.split(SECTION_START).skip(1).take(KEYS_MAX - 1) {
            text.push_str(SECTION_START);
            text.push_str(section);
        }
        let new = Keys::parse(&text).ok_or_else(|| AccountKeysError::Malformed { path: path.clone() })?;
        write(path, &text).map_err(file_error)?;
        *keys = new;
        Ok(())
    }

    /// A token that says this.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignError> {
        let keys = self.inner.keys.read().unwrap_or_else(PoisonError::into_inner);
        let signed = claims.to_signed(&keys.accepted[0].id);
        let signature = keys.signer.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| SignError)?;
        Ok(format!("{signed}.{}", base64url::encode(signature.as_ref())))
    }

    /// What a token says, when one of the keys signed it. Whether that is of now, and what it names is there, is for the caller.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        if let Some(known) = self.inner.verified.find(token) {
            return Ok(known);
        }
        let parsed = Unverified::parse(token)?;
        let keys = self.inner.keys.read().unwrap_or_else(PoisonError::into_inner);
        let candidates =
            keys.accepted.iter().filter(|key| parsed.key_id.is_empty() || key.id == parsed.key_id);
        let is_signed = candidates.into_iter().any(|key| {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point);
            key.verify(parsed.signed.as_bytes(), &parsed.signature).is_ok()
        });
        if !is_signed {
            return Err(TokenError::Foreign);
        }
        let claims = Arc::new(parsed.claims);
        self.inner.verified.keep(token, Arc::clone(&claims));
        Ok(claims)
    }

    /// The public keys, as a JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        let keys = self.inner.keys.read().unwrap_or_else(PoisonError::into_inner);
        let described = |key: &PublicKey| {
            let (x, y) = key.point[1..].split_at((key.point.len() - 1) / 2);
            json!({
                "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
                "x": base64url::encode(x), "y": base64url::encode(y),
            })
        };
        json!({ "keys": keys.accepted.iter().map(described).collect::<Vec<_>>() })
    }
}

impl Keys {
    fn parse(text: &str) -> Option<Self> {
        let (mut signer, mut accepted) = (None, Vec::new());
        for (kind, der) in sections(text)? {
            let point = match kind {
                SectionKind::PrivateKey => {
                    let key = private_key(&der)?;
                    let point = key.public_key().as_ref().to_vec();
                    signer.get_or_insert(key);
                    point
                }
                SectionKind::PublicKey => der.strip_prefix(&PUBLIC_KEY_START[..])?.to_vec(),
                _ => return None,
            };
            accepted.push(PublicKey::new(point)?);
        }
        let signs_first = sections(text)?.first().is_some_and(|(kind, _)| *kind == SectionKind::PrivateKey);
        (signs_first && accepted.len() <= KEYS_MAX).then_some(Self { signer: signer?, accepted })
    }
}

impl PublicKey {
    fn new(point: Vec<u8>) -> Option<Self> {
        let is_point = point.len() == POINT_BYTES && point[0] == UNCOMPRESSED;
        let id = base64url::encode(Digest::of(&[&PUBLIC_KEY_START[..], &point].concat()).as_bytes());
        is_point.then_some(Self { id, point })
    }
}

/// The sections of a PEM file; `None` when it is none.
fn sections(text: &str) -> Option<Vec<(SectionKind, Vec<u8>)>> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().ok()
}

fn private_key(der: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new()).ok()
}

/// Puts the file in place: whole, or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = folders::parent(path);
    folders::make(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    folders::sync(folder)
}

/// Begins each section of a PEM file.
const SECTION_START: &str = "-----BEGIN ";

/// Keys that are kept: tokens of a year and more, with a rotation every few months.
const KEYS_MAX: usize = 8;

/// What a public key of P-256 begins with, before its point.
const PUBLIC_KEY_START: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

const POINT_BYTES: usize = 65;
const UNCOMPRESSED: u8 = 4;

#[cfg(test)]
mod tests;

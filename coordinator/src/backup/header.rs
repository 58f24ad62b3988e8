//! The first bytes of a backup: what it is of, and how it is sealed.

use std::io::{self, Read};

use argon2::{Algorithm, Argon2, Params, Version};
use dunlin_link::Digest;
use rand::RngCore as _;
use serde::{Deserialize, Serialize};

use super::{BackupError, FORMAT, Manifest};

/// What a backup is sealed with. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Passphrase(String);

/// The header as it is written: JSON, for whoever has to find out in years what a file is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    #[serde(flatten)]
    pub(super) manifest: Manifest,
    pub(super) encryption: Option<Encryption>,
}

/// How the key is made of the passphrase, and the nonce of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Encryption {
    pub(super) kdf: Kdf,
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    pub(super) lanes: u32,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) nonce: [u8; NONCE_BYTES],
    /// Digest of the key's second half: tells a wrong passphrase from a damaged file.
    pub(super) key_check: Digest,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Kdf {
    #[serde(rename = "argon2id")]
    Argon2id,
}

/// The key of the stream's cipher.
pub(super) struct Key(pub(super) [u8; KEY_BYTES]);

/// A header that was read, with the digest that binds every chunk to it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) header: Header,
    pub(super) digest: Digest,
}

impl Passphrase {
    /// A passphrase of a person; `None` when it is empty.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Encryption {
    /// Fresh parameters and the key that they make of a passphrase.
    pub(super) fn new(passphrase: &Passphrase) -> Result<(Self, Key), BackupError> {
        let mut encryption = Self {
            kdf: Kdf::Argon2id,
            memory_kib: MEMORY_KIB,
            iterations: ITERATIONS,
            lanes: 1,
            salt: [0; SALT_BYTES],
            nonce: [0; NONCE_BYTES],
            key_check: Digest::from_bytes([0; 32]),
        };
        rand::rng().fill_bytes(&mut encryption.salt);
        rand::rng().fill_bytes(&mut encryption.nonce);
        let (key, check) = encryption.derive(passphrase)?;
        encryption.key_check = check;
        Ok((encryption, key))
    }

    /// The key, if this is the passphrase.
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<Key, BackupError> {
        let (key, check) = self.derive(passphrase)?;
        if check == self.key_check { Ok(key) } else { Err(BackupError::WrongPassphrase) }
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<(Key, Digest), BackupError> {
        // What a file asks for is bounded, however it came to ask for it.
        if self.memory_kib > MEMORY_KIB_MAX || self.iterations > ITERATIONS_MAX || self.lanes > LANES_MAX {
            return Err(BackupError::Damaged(
                "its key would take more memory or time than any backup asks for",
            ));
        }
        let Kdf::Argon2id = self.kdf;
        let params = Params::new(self.memory_kib, self.iterations, self.lanes, Some(2 * KEY_BYTES));
        let argon =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(BackupError::KeyDerivation)?);
        let mut bytes = [0; 2 * KEY_BYTES];
        argon
            .hash_password_into(passphrase.0.as_bytes(), &self.salt, &mut bytes)
            .map_err(BackupError::KeyDerivation)?;
        let (key, check) = bytes.split_at(KEY_BYTES);
        let key = Key(key.try_into().expect("the array was split at this length"));
        Ok((key, Digest::of(&[KEY_CHECK_LABEL, check].concat())))
    }
}

impl Header {
    /// Magic number, length, JSON, and their digest.
    pub(super) fn encode(&self) -> (Vec<u8>, Digest) {
        let json = serde_json::to_vec(self).expect("strings and numbers always make JSON");
        let length = u32::try_from(json.len()).expect("a header is short");
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&json);
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        (bytes, digest)
    }

    /// Reads what [`Header::encode`] wrote.
    pub(super) fn read(input: &mut impl Read) -> Result<Opened, BackupError> {
        let mut start = [0; MAGIC.len() + 4];
        input.read_exact(&mut start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::NotABackup,
            _ => BackupError::Damaged("its first bytes cannot be read"),
        })?;
        let (magic, length) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BackupError::NotABackup);
        }
        let length = u32::from_le_bytes(length.try_into().expect("four bytes were split off"));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > HEADER_BYTES_MAX {
            return Err(BackupError::Damaged("its header is too long"));
        }
        let mut bytes = start.to_vec();
        bytes.resize(start.len() + length, 0);
        let mut digest = [0; 32];
        let rest = input.read_exact(&mut bytes[start.len()..]).and_then(|()| input.read_exact(&mut digest));
        rest.map_err(|_| BackupError::Truncated)?;
        let digest = Digest::from_bytes(digest);
        if Digest::of(&bytes) != digest {
            return Err(BackupError::Damaged("its header does not fit its checksum"));
        }
        let json = &bytes[start.len()..];
        let FormatOnly { format } = serde_json::from_slice(json).map_err(|_| MALFORMED)?;
        if format != FORMAT {
            return Err(BackupError::NewerFormat(format));
        }
        let header = serde_json::from_slice(json).map_err(|_| MALFORMED)?;
        Ok(Opened { header, digest })
    }
}

/// What headers of all formats have.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

const MALFORMED: BackupError = BackupError::Damaged("its header is malformed");

const MAGIC: &[u8] = b"DUNLINBK";

/// A manifest and an encryption are below 1 KiB.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Sets the check of a key apart from the key.
const KEY_CHECK_LABEL: &[u8] = b"dunlin backup key check\0";

const KEY_BYTES: usize = 32;
pub(super) const SALT_BYTES: usize = 16;
/// Of ChaCha20-Poly1305 without the five bytes that STREAM counts in.
pub(super) const NONCE_BYTES: usize = 7;

/// 64 MiB: what a Pi can spare for a second, and a guesser's hardware cannot spare a thousand times.
const MEMORY_KIB: u32 = 64 << 10;
const ITERATIONS: u32 = 3;

/// 1 GiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const ITERATIONS_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

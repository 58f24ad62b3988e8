//! Content that must not lie in clear on a node's disk: Secrets, sealed to a key that only the node has.
//!
//! HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20Poly1305, one encapsulation for each
//! content. What is sealed is bound to its cluster, its node and its id, so that it opens nowhere else and under no other name.
//! Byte by byte in `docs/design/link.md`.

use std::{fmt, sync::Arc};

use hmac::{Hmac, Mac};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{
    Digest, NodeName, codec,
    pod::{ConfigKind, ConfigObject},
};

/// A node's private key for sealed content. `Debug` shows its public half only.
pub struct SealingKey {
    private: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: SealingPublicKey,
}

/// The key that content for a node is sealed to: an X25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SealingPublicKey([u8; KEY_BYTES]);

/// Where sealed content belongs. It opens only with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealingPlace {
    /// The cluster's id.
    pub cluster_id: String,
    /// The node.
    pub node: NodeName,
}

/// One sealed content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The key that it is sealed to.
    pub recipient: SealingPublicKey,
    /// HPKE's encapsulated key, 32 bytes, and then the ciphertext with its tag.
    pub bytes: Vec<u8>,
}

/// Content as a node is sent and keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Readable by whoever has it.
    Clear(Arc<ConfigObject>),
    /// Readable by its node only.
    Sealed(Arc<Sealed>),
}

/// The secret with which a cluster makes the ids of its Secrets, so that whoever sees an id cannot try values against it.
#[derive(Clone)]
pub struct ContentKey([u8; KEY_BYTES]);

/// Content cannot be sealed to this key: it is no point that a key can be agreed with.
#[derive(Debug, thiserror::Error)]
#[error("the node's sealing key cannot be sealed to")]
pub struct SealError;

/// Why sealed content stays closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsealError {
    /// It is for another key: this one was made anew since.
    #[error("it is sealed to another key than this node has now")]
    OtherKey,
    /// It was changed, or belongs to another cluster, node or id.
    #[error("it is damaged, or was sealed for another place")]
    Damaged,
}

impl SealingKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let (private, _) = X25519HkdfSha256::gen_keypair(rng);
        Self::of(private)
    }

    /// The key whose private half was kept; `None` when these bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(bytes).ok().map(Self::of)
    }

    /// The private half, to be kept where nobody else reads it.
    pub fn reveal(&self) -> [u8; KEY_BYTES] {
        self.private.to_bytes().into()
    }

    /// The half that others seal to.
    pub const fn public(&self) -> SealingPublicKey {
        self.public
    }

    /// Opens content.
    ///
    /// # Errors
    /// When it was not sealed to this key for this place and id, or not as it is now.
    pub fn open(
        &self,
        sealed: &Sealed,
        id: &Digest,
        place: &SealingPlace,
    ) -> Result<ConfigObject, UnsealError> {
        if sealed.recipient != self.public {
            return Err(UnsealError::OtherKey);
        }
        let (key, ciphertext) = sealed.bytes.split_at_checked(KEY_BYTES).ok_or(UnsealError::Damaged)?;
        let damaged = |_| UnsealError::Damaged;
        let key = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(key).map_err(damaged)?;
        let clear = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private,
            &key,
            &place.info(),
            ciphertext,
            id.as_bytes(),
        );
        codec::decode(&clear.map_err(damaged)?).map_err(|_| UnsealError::Damaged)
    }

    fn of(private: <X25519HkdfSha256 as Kem>::PrivateKey) -> Self {
        let public = SealingPublicKey(X25519HkdfSha256::sk_to_pk(&private).to_bytes().into());
        Self { private, public }
    }
}

impl SealingPublicKey {
    /// The key as it travels in a `Hello`'s extension; `None` when it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals content for the node at `place` that has this key.
    ///
    /// # Errors
    /// When no key can be agreed with this one.
    pub fn seal(
        &self,
        object: &ConfigObject,
        id: &Digest,
        place: &SealingPlace,
        rng: &mut impl CryptoRng,
    ) -> Result<Sealed, SealError> {
        let recipient = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| SealError)?;
        let (key, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
            &OpModeS::Base,
            &recipient,
            &place.info(),
            &codec::encode(object),
            id.as_bytes(),
            rng,
        )
        .map_err(|_| SealError)?;
        let mut bytes = key.to_bytes().to_vec();
        bytes.extend(ciphertext);
        Ok(Sealed { recipient: *self, bytes })
    }
}

impl SealingPlace {
    /// HPKE's `info`. Neither a cluster's id nor a node's name holds a zero byte.
    fn info(&self) -> Vec<u8> {
        [INFO, self.cluster_id.as_bytes(), self.node.as_str().as_bytes()].join(&0)
    }
}

impl ContentKey {
    /// A key of these bytes, which nobody but the cluster's coordinators may know.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The id under which nodes hold this content: a plain digest for a ConfigMap, a keyed one for a Secret.
    pub fn id(&self, object: &ConfigObject) -> Digest {
        let encoded = codec::encode(object);
        match object.kind {
            ConfigKind::ConfigMap => Digest::of(&encoded),
            ConfigKind::Secret => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
                mac.update(&encoded);
                Digest::from_bytes(mac.finalize().into_bytes().into())
            }
        }
    }
}

impl From<ConfigObject> for Content {
    fn from(object: ConfigObject) -> Self {
        Self::Clear(Arc::new(object))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingPublicKey({})", Digest::from_bytes(self.0).hex())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("recipient", &self.recipient)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

/// Of an X25519 key, either half, and of a cluster's content key.
pub const KEY_BYTES: usize = 32;

/// Tag of the `Hello` extension that names a node's sealing key.
pub const SEALING_KEY_TAG: u16 = 1;

/// What sealed content is for; another use of the same keys would say something else.
const INFO: &[u8] = b"dunlin-sealed/1";

#[cfg(test)]
mod tests;

//! Seals what a session's node must not keep in clear, when the node has named a key for it.

use std::sync::Arc;

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    Digest,
    frame::Message,
    message::{AssignmentSealed, Extension},
    pod::{ConfigKind, ConfigObject},
    sealed::{Content, SEALING_KEY_TAG, SealError, Sealed, SealingPlace, SealingPublicKey},
    session::{SessionError, protocol::Protocol},
};

/// The seal of one session. It keeps nothing that it sealed: a session sends each content once, unless the node asks for all.
#[derive(Debug)]
pub(super) struct Sealer {
    place: SealingPlace,
    recipient: Option<SealingPublicKey>,
    rng: StdRng,
}

/// The content of a change by how it travels.
#[derive(Debug, Default)]
pub(super) struct Divided {
    pub(super) clear: Vec<(Digest, ConfigObject)>,
    pub(super) sealed: Vec<(Digest, Sealed)>,
}

impl Sealer {
    /// One that seals nothing until the node has named its key. `seed` is drawn for this session and known to nobody.
    pub(super) fn new(place: SealingPlace, seed: [u8; 32]) -> Self {
        Self { place, recipient: None, rng: StdRng::from_seed(seed) }
    }

    /// Takes the node's key from its greeting. A node that names none, or that speaks a version without sealed content, is sent
    /// Secrets in clear.
    pub(super) fn greet(&mut self, protocol: Protocol, extensions: &[Extension]) -> Result<(), SessionError> {
        let named = extensions.iter().find(|extension| extension.tag == SEALING_KEY_TAG);
        let key = named
            .map(|extension| SealingPublicKey::from_bytes(&extension.bytes).ok_or(SessionError::SealingKey));
        self.recipient = key.transpose()?.filter(|_| protocol.sends(AssignmentSealed::KIND));
        Ok(())
    }

    /// The key that Secrets are sealed to.
    pub(super) const fn recipient(&self) -> Option<SealingPublicKey> {
        self.recipient
    }

    /// Seals the Secrets among these.
    pub(super) fn divide(&mut self, objects: Vec<(Digest, Content)>) -> Result<Divided, SealError> {
        let mut divided = Divided::default();
        for (id, content) in objects {
            match (content, self.recipient) {
                (Content::Clear(object), Some(key)) if object.kind == ConfigKind::Secret => {
                    divided.sealed.push((id, key.seal(&object, &id, &self.place, &mut self.rng)?));
                }
                (Content::Clear(object), _) => divided.clear.push((id, Arc::unwrap_or_clone(object))),
                (Content::Sealed(sealed), _) => divided.sealed.push((id, Arc::unwrap_or_clone(sealed))),
            }
        }
        Ok(divided)
    }
}

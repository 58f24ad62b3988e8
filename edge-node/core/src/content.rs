//! What a node holds of ConfigMaps and Secrets: by id, Secrets sealed, opened only for the container that needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dunlin_link::{
    Digest,
    pod::ConfigObject,
    sealed::{Content, SealingKey, SealingPlace},
};

/// A node's key for sealed content, and where that content belongs.
#[derive(Debug)]
pub struct Seal {
    /// The key; its private half never leaves the machine.
    pub key: SealingKey,
    /// This node.
    pub place: SealingPlace,
}

/// All content of a node.
#[derive(Debug)]
pub struct Contents {
    seal: Arc<Seal>,
    held: BTreeMap<Digest, Content>,
    /// Held once, but not to be opened with the key that the node has now.
    closed: BTreeSet<Digest>,
}

/// Why content is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoContent {
    /// It has not arrived.
    Absent,
    /// It was there, but cannot be opened.
    Closed,
}

impl Contents {
    /// What was stored. Content that was sealed to another key is left out.
    pub fn new(seal: Arc<Seal>, stored: impl IntoIterator<Item = (Digest, Content)>) -> Self {
        let mut contents = Self { seal, held: BTreeMap::new(), closed: BTreeSet::new() };
        contents.extend(stored);
        contents
    }

    /// Adds content as it comes.
    pub fn extend(&mut self, objects: impl IntoIterator<Item = (Digest, Content)>) {
        for (id, content) in objects {
            let is_ours = match &content {
                Content::Clear(_) => true,
                Content::Sealed(sealed) => sealed.recipient == self.seal.key.public(),
            };
            if is_ours {
                self.closed.remove(&id);
                self.held.insert(id, content);
            } else {
                self.close(id);
            }
        }
    }

    /// Drops content that no pod names any more.
    pub fn remove(&mut self, id: &Digest) {
        self.held.remove(id);
        self.closed.remove(id);
    }

    /// Gives up content that could not be opened, until it is sent again.
    pub fn close(&mut self, id: Digest) {
        self.held.remove(&id);
        self.closed.insert(id);
    }

    /// Opens content.
    ///
    /// # Errors
    /// When it is not there, or cannot be opened; [`Contents::close`] it then.
    pub fn open(&self, id: &Digest) -> Result<Arc<ConfigObject>, NoContent> {
        let absent = if self.closed.contains(id) { NoContent::Closed } else { NoContent::Absent };
        match self.held.get(id).ok_or(absent)? {
            Content::Clear(object) => Ok(Arc::clone(object)),
            Content::Sealed(sealed) => {
                let opened = self.seal.key.open(sealed, id, &self.seal.place);
                opened.map(Arc::new).map_err(|_| NoContent::Closed)
            }
        }
    }

    /// Whether there is content of this id that nothing is known to be wrong with.
    pub fn holds(&self, id: &Digest) -> bool {
        self.held.contains_key(id)
    }

    /// Whether some content must be sent again.
    pub fn lacks_any(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Ids of all content, closed or not.
    pub fn ids(&self) -> impl Iterator<Item = &Digest> {
        self.held.keys().chain(&self.closed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.closed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use dunlin_link::{NodeName, pod::ConfigKind, sealed::Sealed};
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn content_that_cannot_be_opened_is_known_to_be_closed_until_it_comes_again() {
        let mut rng = StdRng::seed_from_u64(3);
        let place = || SealingPlace { cluster_id: "c".to_owned(), node: NodeName::new("n1") };
        let seal = Arc::new(Seal { key: SealingKey::generate(&mut rng), place: place() });
        let lost = SealingKey::generate(&mut rng);
        let object = ConfigObject { kind: ConfigKind::Secret, data: vec![("k".to_owned(), b"v".to_vec())] };
        let [one, two, three] = [1, 2, 3].map(|number| Digest::from_bytes([number; 32]));
        let mut sealed_to = |key: &SealingKey, id: &Digest| {
            Content::Sealed(Arc::new(key.public().seal(&object, id, &place(), &mut rng).unwrap()))
        };
        let of_lost_key = sealed_to(&lost, &two);
        let (good, again) = (sealed_to(&seal.key, &one), sealed_to(&seal.key, &two));
        let forged = Content::Sealed(Arc::new(Sealed { recipient: seal.key.public(), bytes: vec![0; 64] }));
        let mut contents = Contents::new(seal, [(one, good), (two, of_lost_key), (three, forged)]);

        assert_eq!(contents.open(&one).as_deref(), Ok(&object));
        assert_eq!(contents.open(&two), Err(NoContent::Closed));
        assert_eq!(contents.open(&three), Err(NoContent::Closed));
        assert_eq!(contents.open(&Digest::of(b"")), Err(NoContent::Absent));
        assert!(contents.lacks_any() && contents.ids().count() == 3);
        contents.close(three);
        contents.extend([(two, again)]);
        assert_eq!(contents.open(&two).as_deref(), Ok(&object));
        contents.remove(&three);
        assert!(!contents.lacks_any() && !contents.holds(&three));
    }
}

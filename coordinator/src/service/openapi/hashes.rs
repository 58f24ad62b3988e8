//! Hashes of documents, kept as long as the kinds are the same.

use std::{collections::BTreeMap, ptr};

use dunlin_api::{
    Kind, Status,
    openapi::{Document, Topic},
};
use tokio::{sync::Mutex, task};

use super::{
    super::{
        discovery::GIT_VERSION,
        entity_tag::{EntityTag, entity_tag},
    },
    descriptions,
};

/// A document that has a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// That of version 3 about a topic.
    Topic(Topic),
    /// That of version 2.
    Version2,
}

/// The hashes that were asked for.
#[derive(Debug, Default)]
pub(in super::super) struct Hashes {
    /// Held while one is made, so that many who ask at once wait for one making.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The kinds that the hashes are of.
    kinds: Vec<&'static Kind>,
    tags: BTreeMap<Subject, EntityTag>,
}

impl Hashes {
    /// The tag of a document about these kinds.
    pub(super) async fn tag(&self, subject: Subject, kinds: &[&'static Kind]) -> Result<EntityTag, Status> {
        let mut known = self.known.lock().await;
        if !known.is_of(kinds) {
            *known = Known { kinds: kinds.to_vec(), tags: BTreeMap::new() };
        }
        if let Some(tag) = known.tags.get(&subject) {
            return Ok(tag.clone());
        }
        let kinds = kinds.to_vec();
        // Takes longer than a turn of the runtime should.
        let made = task::spawn_blocking(move || make(subject, &kinds)).await;
        let tag = made.map_err(|error| Status::internal(format!("no document could be made: {error}")))?;
        known.tags.insert(subject, tag.clone());
        Ok(tag)
    }
}

impl Known {
    fn is_of(&self, kinds: &[&'static Kind]) -> bool {
        self.kinds.len() == kinds.len()
            && self.kinds.iter().zip(kinds).all(|(one, other)| ptr::eq(*one, *other))
    }
}

fn make(subject: Subject, kinds: &[&'static Kind]) -> EntityTag {
    entity_tag(match subject {
        Subject::Topic(topic) => Document::v3(&topic, kinds, GIT_VERSION, descriptions()),
        Subject::Version2 => Document::v2(kinds, GIT_VERSION, descriptions()),
    })
}

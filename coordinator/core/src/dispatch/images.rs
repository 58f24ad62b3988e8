//! What image names mean now, and which pods name them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dunlin_link::{Digest, Revision, pod::PodAssignment};

use serde::Deserialize;

use super::state::distinct;
use crate::{
    ObjectKey,
    image::{NameError, Wanted},
};

#[derive(Debug, Default)]
pub(super) struct Images {
    /// Modules by full name, as the store's keys have it: what it means, and since which revision.
    modules: HashMap<String, (Digest, Revision)>,
    /// Manifests, likewise. A name means its module where there is one.
    manifests: HashMap<String, (Digest, Revision)>,
    /// By full name.
    users: HashMap<String, BTreeSet<ObjectKey>>,
}

impl Images {
    /// Sets the module that a name means; answers the pods that name it. A record that cannot be read makes it mean none.
    pub(super) fn set_module(
        &mut self,
        name: &str,
        record: Option<&[u8]>,
        revision: Revision,
    ) -> (Vec<ObjectKey>, Result<(), serde_json::Error>) {
        let record = record.map(serde_json::from_slice::<NameRecord>).transpose();
        match &record {
            Ok(Some(record)) => {
                self.modules.insert(name.to_owned(), (record.digest, revision));
            }
            Ok(None) | Err(_) => {
                self.modules.remove(name);
            }
        }
        (distinct(self.users.get(name)), record.map(drop))
    }

    /// Sets the manifest that a name means, likewise.
    pub(super) fn set_manifest(
        &mut self,
        name: &str,
        record: Option<&[u8]>,
        revision: Revision,
    ) -> Vec<ObjectKey> {
        let digest = record.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        match digest {
            Some(digest) => drop(self.manifests.insert(name.to_owned(), (digest, revision))),
            None => drop(self.manifests.remove(name)),
        }
        distinct(self.users.get(name))
    }

    /// The digest for an image of a pod whose containers already run `pinned`.
    pub(super) fn resolve(&self, image: &str, pinned: &BTreeMap<String, Digest>) -> Result<Digest, String> {
        match (self.lookup(image), pinned.get(image)) {
            // What is in another registry is the node's to know, which remembers it by itself.
            (Err(error @ NameError::OtherRegistry { .. }), _) => Err(error.to_string()),
            (_, Some(pinned)) => Ok(*pinned),
            (found, None) => found.map_err(|error| error.to_string()),
        }
    }

    /// Since when an assignment's images mean what they do in it, as far as names decide that.
    pub(super) fn since(&self, assignment: &PodAssignment) -> Revision {
        let revisions = assignment.images().filter_map(|(reference, named)| {
            let (digest, revision) = self.meaning(&name_of(reference)?)?;
            (named == Some(digest)).then_some(revision)
        });
        revisions.max().unwrap_or_default()
    }

    /// Resolves the images of an assignment again.
    pub(super) fn fill(&self, assignment: &mut PodAssignment, pinned: &BTreeMap<String, Digest>) {
        for image in &mut assignment.volume_images.volumes {
            let volumes = assignment.linux.iter().flat_map(|linux| &linux.images);
            let Some(volume) = volumes.into_iter().find(|volume| volume.name == image.volume) else {
                continue;
            };
            (image.digest, image.unresolved) = self.resolved(&volume.reference, pinned);
        }
        let spec = &mut assignment.spec;
        let added = assignment.ephemeral.containers.iter_mut().map(|added| &mut added.container);
        for container in spec.init_containers.iter_mut().chain(&mut spec.containers).chain(added) {
            let image = &mut container.image;
            (image.digest, image.unresolved) = self.resolved(&image.reference, pinned);
        }
    }

    /// The digest for an image, or why there is none.
    fn resolved(&self, image: &str, pinned: &BTreeMap<String, Digest>) -> (Option<Digest>, String) {
        match self.resolve(image, pinned) {
            Ok(digest) => (Some(digest), String::new()),
            Err(why) => (None, why),
        }
    }

    /// Counts a pod's images in and out.
    pub(super) fn replace(
        &mut self,
        pod: &ObjectKey,
        before: Option<&PodAssignment>,
        after: Option<&PodAssignment>,
    ) {
        for name in before.map(names_of).unwrap_or_default() {
            if let Some(users) = self.users.get_mut(&name) {
                users.remove(pod);
                if users.is_empty() {
                    self.users.remove(&name);
                }
            }
        }
        for name in after.map(names_of).unwrap_or_default() {
            self.users.entry(name).or_default().insert(pod.clone());
        }
    }

    fn lookup(&self, image: &str) -> Result<Digest, NameError> {
        match Wanted::parse(image)? {
            // What no module is recorded for is a module itself, or a manifest of something else.
            Wanted::Digest { digest, pinned } => {
                Ok(self.modules.get(&pinned).map_or(digest, |(module, _)| *module))
            }
            Wanted::Name(name) => {
                let known = self.meaning(&name.to_string());
                known.map(|(digest, _)| digest).ok_or(NameError::Unknown { name })
            }
        }
    }

    fn meaning(&self, name: &str) -> Option<(Digest, Revision)> {
        self.modules.get(name).or_else(|| self.manifests.get(name)).copied()
    }
}

/// What of a name's record the sets need.
#[derive(Deserialize)]
struct NameRecord {
    #[serde(deserialize_with = "from_text")]
    digest: Digest,
}

fn from_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Full names of the images, with a tag or a digest.
fn names_of(assignment: &PodAssignment) -> BTreeSet<String> {
    assignment.images().filter_map(|(reference, _)| name_of(reference)).collect()
}

fn name_of(reference: &str) -> Option<String> {
    match Wanted::parse(reference) {
        Ok(Wanted::Name(name)) => Some(name.to_string()),
        Ok(Wanted::Digest { pinned, .. }) => Some(pinned),
        Err(_) => None,
    }
}

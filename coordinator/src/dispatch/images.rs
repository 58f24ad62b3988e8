//! What image names mean now, and which pods name them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dunlin_coordinator_core::ObjectKey;
use dunlin_link::{
    Digest,
    pod::{Container, PodAssignment},
};

use super::state::distinct;
use crate::artifacts::{self, LOCAL_REGISTRY, ModuleName, Reference, ResolveError};

#[derive(Default)]
pub(super) struct Images {
    /// By full name, as the store's keys have it.
    digests: HashMap<String, Digest>,
    /// By full name.
    users: HashMap<String, BTreeSet<ObjectKey>>,
}

impl Images {
    /// Sets what a name means; answers the pods that name it.
    pub(super) fn set(&mut self, name: &str, value: Option<&[u8]>) -> Vec<ObjectKey> {
        match value.map(|value| artifacts::named_module(name, value)) {
            Some(Ok(module)) => {
                self.digests.insert(name.to_owned(), module.digest);
            }
            Some(Err(error)) => {
                tracing::error!(name, %error, "an image name's record is malformed");
                self.digests.remove(name);
            }
            None => {
                self.digests.remove(name);
            }
        }
        distinct(self.users.get(name))
    }

    /// The digest for an image of a pod whose containers already run `pinned`.
    pub(super) fn resolve(&self, image: &str, pinned: &BTreeMap<String, Digest>) -> Result<Digest, String> {
        if let Some(digest) = pinned.get(image) {
            return Ok(*digest);
        }
        self.lookup(image).map_err(|error| error.to_string())
    }

    /// Resolves the images of an assignment again.
    pub(super) fn fill(&self, assignment: &mut PodAssignment, pinned: &BTreeMap<String, Digest>) {
        let spec = &mut assignment.spec;
        for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
            let image = &mut container.image;
            match self.resolve(&image.reference, pinned) {
                Ok(digest) => {
                    image.digest = Some(digest);
                    image.unresolved.clear();
                }
                Err(why) => {
                    image.digest = None;
                    image.unresolved = why;
                }
            }
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

    fn lookup(&self, image: &str) -> Result<Digest, ResolveError> {
        let reference: Reference = image
            .parse()
            .map_err(|source| ResolveError::Malformed { reference: image.to_owned(), source })?;
        if reference.registry != LOCAL_REGISTRY {
            let registry = reference.registry;
            return Err(ResolveError::OtherRegistry { reference: image.to_owned(), registry });
        }
        if let Some(digest) = reference.digest {
            return Ok(digest);
        }
        let name = ModuleName::from(reference);
        self.digests.get(&name.to_string()).copied().ok_or(ResolveError::UnknownName { name })
    }
}

/// Full names of the images that are not named by digest.
fn names_of(assignment: &PodAssignment) -> BTreeSet<String> {
    let containers = assignment.spec.init_containers.iter().chain(&assignment.spec.containers);
    containers.filter_map(name_of).collect()
}

fn name_of(container: &Container) -> Option<String> {
    let reference: Reference = container.image.reference.parse().ok()?;
    (reference.registry == LOCAL_REGISTRY && reference.digest.is_none())
        .then(|| ModuleName::from(reference).to_string())
}

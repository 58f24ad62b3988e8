//! What containers run, made present: images of other registries, and what the coordinator has.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, time::Instant};

use dunlin_edge_node_core::{
    node::{Presence, PullKey, PullOrder},
    pod::PulledImage,
    pressure::Level,
};
use dunlin_link::{
    Digest,
    pod::PullPolicy,
    reference::{Reference, Source},
};
use futures_util::FutureExt as _;

use super::Agent;
use crate::{
    images::{Came, Goal, ImageContent, OwnPull, PullEnded},
    modules::{Fetched, arrived},
};

/// How far a fetch from the coordinator has come.
#[derive(Debug)]
pub(super) enum FetchStep {
    /// It is a module that is to be fetched, which has not begun.
    IsModule(Digest),
    /// It has ended.
    Ended(Fetched),
}

impl Agent {
    /// Answers whether what the coordinator names is here: a module, or an image with all that it holds.
    pub(super) fn locate_image(&mut self, digest: Digest) {
        let now = self.clock.now();
        let module = match self.images.content_of(&digest) {
            ImageContent::Module(module) => Some(module).filter(|module| self.modules.has(module)),
            ImageContent::Linux(_) | ImageContent::Guest(_) => None,
        };
        let presence = if let Some(module) = module {
            self.modules.touch(&module, now.wall.0.unsigned_abs());
            Presence::Here
        } else if self.images.has_linux(&digest) || self.images.has_guest(&digest) {
            self.images.touch(&digest);
            Presence::Here
        } else {
            Presence::Missing
        };
        self.core.handle_module(digest, presence, now);
    }

    /// Has the coordinator asked for what it names, which it alone knows what it is.
    pub(super) fn fetch(&mut self, digest: Digest, reference: &str) {
        let Ok(name) = reference.parse::<Reference>() else { return self.fetch_module(digest) };
        let (images, modules, session) = (self.images.clone(), self.modules.files(), self.session.clone());
        self.fetches.spawn(async move {
            let started = Instant::now();
            let pull = AssertUnwindSafe(images.pull_own((&name, digest), &session, &modules));
            let failed = |why: String, wants_free| {
                let (module, pins) = (None, Vec::new());
                FetchStep::Ended(Fetched { digest, result: Err(why), module, wants_free, pins })
            };
            match pull.catch_unwind().await {
                Ok(OwnPull::Module) => FetchStep::IsModule(digest),
                Ok(OwnPull::Here { came: Came { module, pins }, bytes }) => {
                    let result = Ok(arrived(started, bytes));
                    FetchStep::Ended(Fetched { digest, result, module, wants_free: None, pins })
                }
                Ok(OwnPull::Failed { why, wants_free }) => failed(why, wants_free),
                Err(_panic) => failed(PANICKED.to_owned(), None),
            }
        });
    }

    fn fetch_module(&mut self, digest: Digest) {
        self.fetch_code(digest);
        self.fetches.spawn(self.modules.fetch(digest, self.session.clone()).map(FetchStep::Ended));
    }

    pub(super) fn handle_fetch(&mut self, step: FetchStep) {
        let Fetched { digest, result, module, wants_free, pins } = match step {
            FetchStep::IsModule(digest) => return self.fetch_module(digest),
            FetchStep::Ended(fetched) => fetched,
        };
        let now = self.clock.now();
        if let Some((module, bytes)) = module {
            self.modules.insert(module, bytes, now.wall.0.unsigned_abs());
        }
        if result.is_ok() {
            self.images.touch(&digest);
        }
        self.core.handle_fetched(digest, result, now);
        self.make_room(wants_free);
        // Now its pods name it.
        drop(pins);
    }

    /// Answers with what is here, when the pod's policy allows that, or has the registry asked.
    pub(super) fn pull_image(&mut self, order: PullOrder) {
        let now = self.clock.now();
        let image: Reference = match order.key.reference.parse() {
            Ok(image) => image,
            Err(error) => {
                let why = format!("invalid reference format: {error}");
                return self.core.handle_image(&order.key, PulledImage::Failed(why), now);
            }
        };
        let is_here = |content: &ImageContent| match content {
            ImageContent::Module(module) => self.modules.has(module),
            ImageContent::Linux(_) | ImageContent::Guest(_) => true,
        };
        let here = self.images.of(&image).filter(|(_, content)| is_here(content));
        let answer = match (order.policy, here) {
            (PullPolicy::IfNotPresent | PullPolicy::Never, Some((digest, content))) => {
                match content {
                    ImageContent::Module(module) => self.modules.touch(&module, now.wall.0.unsigned_abs()),
                    ImageContent::Linux(_) | ImageContent::Guest(_) => self.images.touch(&digest),
                }
                PulledImage::Present(digest)
            }
            (PullPolicy::Never, None) if image.source != Source::Disk => PulledImage::Absent,
            // A file is here, and what is in it now is what runs.
            (PullPolicy::Always | PullPolicy::IfNotPresent | PullPolicy::Never, _) => PulledImage::Fetching,
        };
        let asks = answer == PulledImage::Fetching;
        self.core.handle_image(&order.key, answer, now);
        if asks {
            let key = order.key.clone();
            self.pulls.spawn(to_an_end(key, self.images.pull(order, image, self.modules.files())));
        }
    }

    pub(super) fn handle_pull_ended(&mut self, ended: PullEnded) {
        let now = self.clock.now();
        let used = now.wall.0.unsigned_abs();
        let PullEnded { key, module, answer, wants_free, pins } = ended;
        if let Some((module, bytes)) = module {
            self.modules.insert(module, bytes, used);
        }
        if let PulledImage::Kept { digest, .. } | PulledImage::Fetched { digest, .. } = &answer {
            self.images.touch(digest);
        }
        self.core.handle_image(&key, answer, now);
        self.make_room(wants_free);
        // Now the pod names it.
        drop(pins);
    }

    /// Removes images that no pod names until so much is free, for an attempt that failed for want of it.
    fn make_room(&self, wants_free: Option<u64>) {
        if let Some(bytes) = wants_free {
            drop(self.images.collect(self.named_images(), Goal::Free(bytes)));
        }
    }

    /// Removes images that no pod names when the disk fills, down to where it is a while until that has to be done again.
    pub(super) fn tend_images(&mut self, disk: Level) {
        if let Some(bytes) = self.image_bounds.wanted_free(disk) {
            drop(self.images.collect(self.named_images(), Goal::Free(bytes)));
        }
    }

    /// Removes modules that no pod names, but for what is worth keeping, and forgets images that are gone.
    pub(super) fn sweep(&mut self, named: &BTreeSet<Digest>) {
        self.modules.sweep(&self.modules_of(named));
        self.images.retain(|module| self.modules.is_there(module));
    }

    /// The same with all of them, and with what came of others.
    pub(super) fn reclaim(&mut self, named: &BTreeSet<Digest>) {
        self.modules.reclaim(&self.modules_of(named));
        drop(self.images.collect(named.union(&self.clerk.volume_images()).copied().collect(), Goal::All));
        self.images.retain(|module| self.modules.is_there(module));
    }

    /// The modules and Linux images that are here with their sizes, by what pods call them; by any of their names where none does.
    pub(super) fn modules_by_name(&self) -> Vec<(Digest, u64)> {
        let named = self.core.named_modules();
        let by_name = self.modules.sizes().flat_map(|(module, bytes)| {
            let names = self.images.names_of(module);
            let mut called: Vec<_> = names.iter().copied().filter(|name| named.contains(name)).collect();
            if called.is_empty() {
                called.extend(names.first());
            }
            called.into_iter().map(move |name| (name, bytes))
        });
        by_name.chain(self.images.file_images()).collect()
    }

    /// What pods name and run, and what is mounted in their containers.
    fn named_images(&self) -> BTreeSet<Digest> {
        self.core.named_modules().into_iter().chain(self.clerk.volume_images()).collect()
    }

    /// The modules that stay: those that pods name, and those that nobody could bring back.
    fn modules_of(&self, named: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let named = named.iter().flat_map(|digest| self.images.modules_of(digest));
        named.chain(self.images.protected_modules()).collect()
    }
}

/// A pull that ends whatever happens: a container that nobody answers would wait for its image for ever.
async fn to_an_end(key: PullKey, pull: impl Future<Output = PullEnded>) -> PullEnded {
    let failed = |_panic| {
        let answer = PulledImage::Failed(PANICKED.to_owned());
        PullEnded { key, module: None, answer, wants_free: None, pins: Vec::new() }
    };
    AssertUnwindSafe(pull).catch_unwind().await.unwrap_or_else(failed)
}

/// Of a pull that panicked.
const PANICKED: &str = "the node failed while it pulled the image";

#[cfg(test)]
mod tests {
    use dunlin_edge_node_core::pod::ContainerIndex;
    use dunlin_link::PodUid;

    use super::*;

    #[tokio::test]
    async fn a_pull_that_panics_is_one_that_failed() {
        let (uid, container) = (PodUid::new("p"), ContainerIndex(0));
        let key = PullKey { uid, container, reference: "a/b".to_owned() };
        let ended = to_an_end(key.clone(), async { panic!("a bug") }).await;
        assert_eq!(ended.key, key);
        assert!(matches!(ended.answer, PulledImage::Failed(_)) && ended.module.is_none());
    }
}

//! Removes images of files that no pod names: those that were not used for longest first, until there is room enough, or all.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::Path,
    sync::atomic::Ordering,
};

use dunlin_link::Digest;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

use super::{Images, guests::remove_gone, meanings::Holds};

/// How much is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Everything that no pod names.
    All,
    /// As much as it takes for so many bytes of the disk to be free.
    Free(u64),
}

impl Images {
    /// Removes in the background what none of `named` is, but what is used from here on. Nothing, while an earlier one is not done.
    pub(crate) fn collect(&self, named: BTreeSet<Digest>, goal: Goal) -> Option<JoinHandle<()>> {
        if self.is_collecting.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (images, used) = (self.clone(), self.known().uses.now());
        Some(spawn_blocking(move || {
            if let Err(error) = images.collect_now(&named, goal, used) {
                warn!(%error, "unused images could not be removed");
            }
            images.is_collecting.store(false, Ordering::Release);
        }))
    }

    /// Takes note that an image is used; those that are used later go later.
    pub(crate) fn touch(&self, image: &Digest) {
        let mut known = self.known();
        match known.meanings.holds(image) {
            Some(Holds::Linux { config, .. }) => known.configs.touch(&config),
            Some(Holds::Guest { .. }) => known.guests.touch(image),
            Some(Holds::Module(_)) | None => return,
        }
        known.uses.touch(*image);
    }

    pub(super) fn collect_now(&self, named: &BTreeSet<Digest>, goal: Goal, until: u64) -> io::Result<()> {
        self.sweep_layers()?;
        for image in self.idle(named) {
            if let Goal::Free(bytes) = goal
                && free_bytes(self.store.folder())? >= bytes
            {
                break;
            }
            if self.forget(&image, until) {
                self.sweep_layers()?;
                info!(%image, "removed an image that no pod needs");
            }
        }
        Ok(())
    }

    /// The images of files that are none of these, the longest unused first.
    pub(super) fn idle(&self, named: &BTreeSet<Digest>) -> Vec<Digest> {
        let known = self.known();
        let files = known.meanings.images().filter(|(_, holds)| !matches!(holds, Holds::Module(_)));
        let mut idle: Vec<_> = files
            .map(|(image, _)| image)
            .filter(|image| !named.contains(image) && !known.protected.contains(image))
            .collect();
        idle.sort_by_key(|image| (known.uses.of(image), *image));
        idle
    }

    /// Forgets an image, unless it was used since `until`.
    fn forget(&self, image: &Digest, until: u64) -> bool {
        let mut known = self.known();
        if known.uses.of(image) > until {
            return false;
        }
        known.forget(image);
        true
    }

    /// Removes the layers that no image has and no pull waits for, and files that no image has any more.
    pub(super) fn sweep_layers(&self) -> io::Result<()> {
        for layer in self.store.layers.list()? {
            let is_named = || self.known().configs.layers().any(|named| *named == layer);
            let retired = self.store.pins.unless_held(&layer, || {
                // Asked while it is not held: who lets go of it has remembered the image before.
                if is_named() {
                    return Ok(None);
                }
                match self.store.layers.retire(&layer) {
                    // Another sweep was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    retired => retired.map(Some),
                }
            });
            if let Some(retired) = retired.transpose()?.flatten() {
                self.store.layers.remove_retired(&retired);
            }
        }
        let guests = self.known().guests.folder().to_owned();
        remove_gone(&guests)?;
        self.store.remove_parts(crate::modules::PART_AGE_MAX)
    }
}

/// When images were last used, in order.
#[derive(Debug, Default)]
pub(super) struct Uses {
    latest: u64,
    by_image: HashMap<Digest, u64>,
}

impl Uses {
    pub(super) const fn now(&self) -> u64 {
        self.latest
    }

    pub(super) fn touch(&mut self, image: Digest) {
        self.latest += 1;
        self.by_image.insert(image, self.latest);
    }

    pub(super) fn of(&self, image: &Digest) -> u64 {
        self.by_image.get(image).copied().unwrap_or_default()
    }

    pub(super) fn retain(&mut self, is_known: impl Fn(&Digest) -> bool) {
        self.by_image.retain(|image, _| is_known(image));
    }
}

/// What the disk of a folder has left for programs.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

//! The first steps of a run: the module is made present, then the container is put together.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{
    ContainerId, Digest,
    linux::ImageVolume,
    pod::{ConfigKind, EnvValue, Image, PullPolicy},
    reference::Reference,
    volumes::{Projection, VolumeSource},
};

use super::{
    Command, ContainerIndex, Fetch, ImagePull, Pod, Pulled, PulledImage, Severity, Stage,
    decide::SHOWN_MS,
    worker::{Create, Pull, Run},
};
use crate::{clock::Now, reasons};

impl Pod {
    /// Makes the images present that are the container's volumes, then its own: the first step of a run.
    pub(super) fn pull(&mut self, index: ContainerIndex, now: Now) {
        self.worker_mut(index).images_here = 0;
        self.pull_next(index, now);
    }

    fn pull_next(&mut self, index: ContainerIndex, now: Now) {
        self.worker_mut(index).run = Run::Pulling(Pull::Asked);
        let image = self.wanted(index);
        let parsed = image.reference.parse::<Reference>();
        let Ok(reference) = parsed else {
            // Who wrote a URL meant a module.
            let hint = parsed.err().filter(|_| image.reference.contains("://"));
            let hint = hint.map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!(
                "Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": invalid reference format{hint}",
                image.reference
            );
            self.push_event(now, index, (Severity::Warning, reasons::INSPECT_FAILED), message.clone());
            self.pull_failed(index, (reasons::INVALID_IMAGE_NAME, message), now);
            return;
        };
        let Some(digest) = image.digest else {
            if reference.is_local() {
                self.pull_answered(index, Pulled::Failed(image.unresolved), now);
            } else {
                let last = match self.wanted_volume(index) {
                    Some(volume) => self.image_volumes.get(&volume.name).copied(),
                    None => self.worker(index).digest,
                };
                self.tell_missing_pull_secrets(now);
                let policy = image.pull_policy;
                let pull = ImagePull { reference: image.reference, policy, last };
                self.commands.push_back(Command::PullImage { container: index, pull });
            }
            return;
        };
        let fetch = if image.pull_policy == PullPolicy::Never { Fetch::Forbidden } else { Fetch::Allowed };
        self.commands.push_back(Command::Pull { container: index, digest, fetch });
    }

    /// Secrets that there are not, and that nothing else than pulls asks for.
    fn missing_pull_secrets(&self) -> Vec<&str> {
        let containers = || self.assignment.containers();
        let whole = containers()
            .flat_map(|container| &container.env_from)
            .filter(|source| source.kind == ConfigKind::Secret)
            .map(|source| &source.name);
        let keys =
            containers().flat_map(|container| &container.env).filter_map(|variable| match &variable.value {
                EnvValue::Key { kind: ConfigKind::Secret, name, .. } => Some(name),
                _ => None,
            });
        let volumes = self.assignment.volumes.volumes.iter().flat_map(|volume| match &volume.source {
            VolumeSource::Projected { sources, .. } => sources.as_slice(),
            VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => &[],
        });
        let files = volumes.filter_map(|source| match source {
            Projection::Config { kind: ConfigKind::Secret, name, .. } => Some(name),
            _ => None,
        });
        let named: BTreeSet<&String> = whole.chain(keys).chain(files).collect();
        let secrets = self.assignment.config.iter().filter(|config| config.kind == ConfigKind::Secret);
        let missing = secrets.filter(|config| config.digest.is_none() && !named.contains(&config.name));
        missing.map(|config| config.name.as_str()).collect()
    }

    fn tell_missing_pull_secrets(&mut self, now: Now) {
        let missing = self.missing_pull_secrets();
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            let reason = reasons::FAILED_TO_RETRIEVE_IMAGE_PULL_SECRET.to_owned();
            self.push_pod_event(now, reason, message);
        }
    }

    /// Takes over how the pull of an image of another registry goes.
    pub(super) fn image_answered(&mut self, index: ContainerIndex, answer: PulledImage, now: Now) {
        if self.worker(index).run != Run::Pulling(Pull::Asked) || self.stage != Stage::Active {
            return;
        }
        let (digest, outcome) = match answer {
            PulledImage::Present(digest) => (Some(digest), Pulled::Present),
            PulledImage::Fetching => (None, Pulled::Fetching),
            PulledImage::Fetched { digest, took_ms, size_bytes } => {
                (Some(digest), Pulled::Fetched { took_ms, size_bytes })
            }
            PulledImage::Kept { digest, why } => {
                let image = self.wanted(index).reference;
                let message =
                    format!("Failed to pull image \"{image}\": {why}; starting what this pod ran before");
                self.push_event(now, index, (Severity::Warning, reasons::FAILED), message);
                (Some(digest), Pulled::Present)
            }
            PulledImage::Absent => (None, Pulled::Absent),
            PulledImage::Failed(why) => (None, Pulled::Failed(why)),
        };
        if let Some(digest) = digest {
            match self.wanted_volume(index).map(|volume| volume.name.clone()) {
                Some(volume) => drop(self.image_volumes.insert(volume, digest)),
                None => self.worker_mut(index).pulled = Some(digest),
            }
        }
        self.pull_answered(index, outcome, now);
    }

    /// What a run of the container is to load: as the coordinator said, else as it was pulled.
    pub fn module(&self, index: ContainerIndex) -> Option<Digest> {
        self.container(index).image.digest.or_else(|| self.worker(index).pulled)
    }

    /// The modules and images that the pod runs or mounts, or is about to.
    pub fn modules(&self) -> impl Iterator<Item = Digest> {
        let of = move |index| self.module(index).into_iter().chain(self.worker(index).digest);
        let own = self.assignment.volume_images.volumes.iter().filter_map(|own| own.digest);
        self.indexes().flat_map(of).chain(self.image_volumes.values().copied()).chain(own)
    }

    /// What the images that are volumes are.
    pub const fn image_volumes(&self) -> &BTreeMap<String, Digest> {
        &self.image_volumes
    }

    /// The image that a container needs next.
    pub(crate) fn wanted(&self, index: ContainerIndex) -> Image {
        match self.wanted_volume(index) {
            Some(ImageVolume { name, reference, pull_policy }) => {
                let own = self.assignment.volume_images.of(name);
                Image {
                    reference: reference.clone(),
                    pull_policy: *pull_policy,
                    digest: own.and_then(|own| own.digest),
                    unresolved: own.map_or_else(|| NOT_TOLD.to_owned(), |own| own.unresolved.clone()),
                }
            }
            None => self.container(index).image.clone(),
        }
    }

    /// The same; `None` where the pod has no such container.
    pub(crate) fn wanted_of(&self, index: ContainerIndex) -> Option<Image> {
        self.has_container(index).then(|| self.wanted(index))
    }

    /// The volume whose image a container needs next.
    fn wanted_volume(&self, index: ContainerIndex) -> Option<&ImageVolume> {
        let linux = self.assignment.linux();
        let mounts = &self.assignment.linux_of(index.0)?.images;
        let is_mounted = |volume: &&ImageVolume| mounts.iter().any(|mount| mount.volume == volume.name);
        linux.images.iter().filter(is_mounted).nth(self.worker(index).images_here)
    }

    /// An image that the container needs is here: goes on with the next, or puts it together.
    fn pulled(&mut self, index: ContainerIndex, now: Now) {
        let Some(volume) = self.wanted_volume(index).map(|volume| volume.name.clone()) else {
            return self.create(index, now);
        };
        if let Some(digest) = self.assignment.volume_images.of(&volume).and_then(|own| own.digest) {
            self.image_volumes.insert(volume, digest);
        }
        self.worker_mut(index).images_here += 1;
        self.pull_next(index, now);
    }

    /// What the pod calls a module.
    pub fn references_of(&self, module: Digest) -> impl Iterator<Item = &str> {
        let of = move |index: &ContainerIndex| {
            self.module(*index) == Some(module) || self.worker(*index).digest == Some(module)
        };
        let of_containers =
            self.indexes().filter(of).map(move |index| self.container(index).image.reference.as_str());
        let is_it = move |volume: &&ImageVolume| {
            let own = self.assignment.volume_images.of(&volume.name);
            self.image_volumes.get(&volume.name) == Some(&module)
                || own.is_some_and(|own| own.digest == Some(module))
        };
        let volumes = self.assignment.linux().images.iter().filter(is_it);
        of_containers.chain(volumes.map(|volume| volume.reference.as_str()))
    }

    /// Takes over the answer to a pull.
    pub(super) fn pull_answered(&mut self, index: ContainerIndex, outcome: Pulled, now: Now) {
        if self.worker(index).run != Run::Pulling(Pull::Asked) || self.stage != Stage::Active {
            return;
        }
        let image = self.wanted(index).reference;
        let normal = |reason| (Severity::Normal, reason);
        match outcome {
            Pulled::Fetching => {
                self.push_event(now, index, normal(reasons::PULLING), format!("Pulling image \"{image}\""))
            }
            Pulled::Present => {
                let message = format!(
                    "Container image \"{image}\" already present on machine and can be accessed by the pod"
                );
                self.push_event(now, index, normal(reasons::PULLED), message);
                self.pulled(index, now);
            }
            Pulled::Fetched { took_ms, size_bytes } => {
                let took = if took_ms < 1000 {
                    format!("{took_ms}ms")
                } else {
                    format!("{}.{:03}s", took_ms / 1000, took_ms % 1000)
                };
                let message = format!(
                    "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size_bytes} bytes."
                );
                self.push_event(now, index, normal(reasons::PULLED), message);
                self.pulled(index, now);
            }
            Pulled::Absent => {
                let message = format!("Container image \"{image}\" is not present with pull policy of Never");
                self.push_event(
                    now,
                    index,
                    (Severity::Warning, reasons::ERR_IMAGE_NEVER_PULL),
                    message.clone(),
                );
                self.pull_failed(index, (reasons::ERR_IMAGE_NEVER_PULL, message), now);
            }
            Pulled::Failed(error) => {
                let message = format!("Failed to pull image \"{image}\": {error}");
                self.push_event(now, index, (Severity::Warning, reasons::FAILED), message);
                self.pull_failed(index, (reasons::ERR_IMAGE_PULL, error), now);
            }
        }
    }

    /// The module is here, and nothing that could run of it.
    pub(super) fn code_missing(&mut self, index: ContainerIndex, message: String, now: Now) {
        if self.worker(index).run == Run::Creating(Create::Asked) {
            let image = &self.container(index).image.reference;
            let told = format!("Failed to pull image \"{image}\": {message}");
            self.push_event(now, index, (Severity::Warning, reasons::FAILED), told);
            self.pull_failed(index, (reasons::ERR_IMAGE_PULL, message), now);
        }
    }

    fn pull_failed(&mut self, index: ContainerIndex, (reason, message): (&'static str, String), now: Now) {
        self.push_event(now, index, (Severity::Warning, reasons::FAILED), format!("Error: {reason}"));
        let worker = self.worker_mut(index);
        let retry_at = (reason == reasons::ERR_IMAGE_PULL).then(|| {
            worker.pulls.grow(now.mono, now.mono);
            now.mono.plus_millis(worker.pulls.delay_after(now.mono).unwrap_or(0))
        });
        let shown_until = now.mono.plus_millis(SHOWN_MS);
        worker.run = Run::Pulling(Pull::Failed { reason, message, shown_until, retry_at });
    }

    /// Unique for ever: no two agents of a node share an incarnation, and no two runs of a container an attempt within one.
    pub(super) fn container_id(&self, index: ContainerIndex, attempt: u32) -> ContainerId {
        let (uid, incarnation) = (&self.assignment.uid, self.place.incarnation);
        ContainerId::new(Digest::of(format!("{uid}/{}/{attempt}/{incarnation}", index.0).as_bytes()).hex())
    }
}

/// Of a volume whose image is in the coordinator's own registry.
const NOT_TOLD: &str = "the coordinator is of a release that tells nodes only of images that containers run, not of those that are volumes";

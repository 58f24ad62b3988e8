//! The first steps of a run: the module is made present, then the container is put together.

use dunlin_link::{ContainerId, Digest, pod::PullPolicy, reference::Reference};

use super::{
    Command, ContainerIndex, Fetch, ImagePull, Pod, Pulled, PulledImage, Severity, Stage,
    decide::SHOWN_MS,
    worker::{Create, Pull, Run},
};
use crate::{clock::Now, reasons};

impl Pod {
    /// Makes the container's module present, the first step of a run.
    pub(super) fn pull(&mut self, index: ContainerIndex, now: Now) {
        self.worker_mut(index).run = Run::Pulling(Pull::Asked);
        let image = self.container(index).image.clone();
        let Ok(reference) = image.reference.parse::<Reference>() else {
            let message = format!(
                "Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": invalid reference format",
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
                let (last, policy) = (self.worker(index).digest, image.pull_policy);
                let pull = ImagePull { reference: image.reference, policy, last };
                self.commands.push_back(Command::PullImage { container: index, pull });
            }
            return;
        };
        let fetch = if image.pull_policy == PullPolicy::Never { Fetch::Forbidden } else { Fetch::Allowed };
        self.commands.push_back(Command::Pull { container: index, digest, fetch });
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
                let image = &self.container(index).image.reference;
                let message =
                    format!("Failed to pull image \"{image}\": {why}; starting what this pod ran before");
                self.push_event(now, index, (Severity::Warning, reasons::FAILED), message);
                (Some(digest), Pulled::Present)
            }
            PulledImage::Absent => (None, Pulled::Absent),
            PulledImage::Failed(why) => (None, Pulled::Failed(why)),
        };
        if digest.is_some() {
            self.worker_mut(index).pulled = digest;
        }
        self.pull_answered(index, outcome, now);
    }

    /// What a run of the container is to load: as the coordinator said, else as it was pulled.
    pub fn module(&self, index: ContainerIndex) -> Option<Digest> {
        self.container(index).image.digest.or_else(|| self.worker(index).pulled)
    }

    /// The modules that the pod runs, or is about to.
    pub fn modules(&self) -> impl Iterator<Item = Digest> {
        self.indexes().flat_map(move |index| self.module(index).into_iter().chain(self.worker(index).digest))
    }

    /// What the pod calls a module.
    pub fn references_of(&self, module: Digest) -> impl Iterator<Item = &str> {
        let of = move |index: &ContainerIndex| {
            self.module(*index) == Some(module) || self.worker(*index).digest == Some(module)
        };
        self.indexes().filter(of).map(move |index| self.container(index).image.reference.as_str())
    }

    /// Takes over the answer to a pull.
    pub(super) fn pull_answered(&mut self, index: ContainerIndex, outcome: Pulled, now: Now) {
        if self.worker(index).run != Run::Pulling(Pull::Asked) || self.stage != Stage::Active {
            return;
        }
        let image = self.container(index).image.reference.clone();
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
                self.create(index, now);
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
                self.create(index, now);
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

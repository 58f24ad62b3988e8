//! Images of other registries than the coordinator: pulled for each run, remembered, and started when nobody can be asked.

use std::sync::Arc;

use dunlin_link::{
    Digest,
    linux::{ContainerLinux, ImageMount, ImageVolume, PodLinux},
    pod::{ConfigKind, ConfigRef, EnvFrom, PodAssignment, PullPolicy},
    volume_images::{PodVolumeImages, VolumeImage},
    volumes::VolumePart,
};

use super::bench::Bench;
use crate::{
    pod::{
        ContainerIndex, ImagePull, PulledImage,
        fixture::{container, pod},
    },
    sandbox::ExitCause,
};

fn elsewhere(policy: PullPolicy) -> PodAssignment {
    let mut assignment = pod(vec![container("c")]);
    let image = &mut assignment.spec.containers[0].image;
    image.reference = "ghcr.io/team/c:1".to_owned();
    image.pull_policy = policy;
    image.digest = None;
    image.unresolved = "only the nodes pull from there".to_owned();
    assignment
}

fn digest() -> Digest {
    Digest::of(b"image")
}

impl Bench {
    fn image(&mut self, answer: PulledImage) {
        self.pod.handle_image(ContainerIndex(0), "ghcr.io/team/c:1", answer, self.now());
        self.turn();
    }

    fn shown_digest(&self) -> Option<Digest> {
        self.report.as_ref().unwrap().containers[0].image_digest
    }
}

#[test]
fn the_registry_is_asked_for_each_run_and_its_digest_is_shown() {
    let mut bench = Bench::new(elsewhere(PullPolicy::Always));
    let asked =
        |last| ImagePull { reference: "ghcr.io/team/c:1".to_owned(), policy: PullPolicy::Always, last };
    assert_eq!(std::mem::take(&mut bench.images), [asked(None)]);
    bench.image(PulledImage::Fetching);
    bench.image(PulledImage::Fetched { digest: digest(), took_ms: 1234, size_bytes: 7 });
    bench.running("c");
    assert_eq!(
        bench.events(),
        [
            "Normal Pulling: Pulling image \"ghcr.io/team/c:1\"",
            "Normal Pulled: Successfully pulled image \"ghcr.io/team/c:1\" in 1.234s (1.234s including waiting). Image size: 7 bytes.",
            "Normal Created: Container created",
            "Normal Started: Container started",
        ]
    );
    assert_eq!((bench.shown_digest(), bench.status()), (Some(digest()), "Running c+Running/0".to_owned()));
    assert_eq!(bench.pod.modules().collect::<Vec<_>>(), [digest(), digest()]);

    // The next run asks again; nobody is there, and what ran before serves.
    bench.exited("c", ExitCause::Code(1));
    bench.pass(10_000);
    assert_eq!(bench.images, [asked(Some(digest()))]);
    bench.image(PulledImage::Kept { digest: digest(), why: "dial tcp".to_owned() });
    bench.running("c");
    assert!(bench.events().iter().any(|event| {
        event.contains("dial tcp; starting what this pod ran before") && event.starts_with("Warning Failed")
    }));

    // Another agent knows what it runs, and what to start without a registry.
    let mut after = Bench::unsynced(elsewhere(PullPolicy::Always), bench.memory.clone(), bench.now_ms + 1);
    assert_eq!(after.pod.modules().collect::<Vec<_>>(), [digest()]);
    after.pod.handle_sandbox_lost(after.now());
    after.turn();
    assert_eq!(after.images, [asked(Some(digest()))]);
}

#[test]
fn a_missing_secret_to_pull_with_is_told() {
    let mut assignment = elsewhere(PullPolicy::Always);
    let secret = |name: &str, digest| ConfigRef { kind: ConfigKind::Secret, name: name.into(), digest };
    assignment.config = vec![secret("gone", None), secret("here", Some(digest())), secret("of-env", None)];
    let (name, optional) = ("of-env".to_owned(), true);
    let source = EnvFrom { prefix: String::new(), kind: ConfigKind::Secret, name, optional };
    assignment.spec.containers[0].env_from = vec![source];
    let mut bench = Bench::new(assignment);
    let expected = "Warning FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (gone); \
                    attempting to pull the image may not succeed.";
    assert_eq!(bench.events(), [expected]);
}

#[test]
fn images_that_are_volumes_come_first_and_are_needed() {
    let mut assignment = elsewhere(PullPolicy::IfNotPresent);
    let volume = |name: &str, reference: &str| ImageVolume {
        name: name.to_owned(),
        reference: reference.to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
    };
    let images = vec![volume("unmounted", "r.io/u:1"), volume("model", "r.io/m:1")];
    let mount = ImageMount { volume: "model".into(), path: "/m".into(), part: VolumePart::Whole };
    let container = ContainerLinux { images: vec![mount], ..ContainerLinux::default() };
    let linux = PodLinux { images, containers: vec![container], ..PodLinux::default() };
    assignment.linux = Some(Box::new(linux));

    let mut bench = Bench::new(assignment);
    let answer = |bench: &mut Bench, reference: &str, answer| {
        bench.pod.handle_image(ContainerIndex(0), reference, answer, bench.now());
        bench.turn();
    };
    let asked = |bench: &mut Bench| -> Vec<_> {
        std::mem::take(&mut bench.images).into_iter().map(|pull| (pull.reference, pull.last)).collect()
    };
    assert_eq!(asked(&mut bench), [("r.io/m:1".to_owned(), None)]);
    // The container's own is not asked for yet.
    bench.image(PulledImage::Present(digest()));
    assert_eq!(asked(&mut bench), []);
    answer(&mut bench, "r.io/m:1", PulledImage::Failed("r.io/m:1: not found".to_owned()));
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
    assert!(bench.events().iter().any(|event| event.contains("Failed to pull image \"r.io/m:1\"")));
    bench.pass(12_000);
    assert_eq!(asked(&mut bench), [("r.io/m:1".to_owned(), None)]);
    let model = Digest::of(b"model");
    answer(&mut bench, "r.io/m:1", PulledImage::Present(model));
    assert_eq!(asked(&mut bench), [("ghcr.io/team/c:1".to_owned(), None)]);
    assert_eq!(bench.pod.modules().collect::<Vec<_>>(), [model]);
    bench.image(PulledImage::Present(digest()));
    bench.running("c");
    assert_eq!(bench.pod.image_volumes().get("model"), Some(&model));
    let names: Vec<_> = bench.pod.references_of(model).collect();
    assert_eq!(names, ["r.io/m:1"]);

    // The next run asks for all of them again, and remembers what it had.
    bench.exited("c", ExitCause::Code(1));
    bench.pass(10_000);
    assert_eq!(asked(&mut bench), [("r.io/m:1".to_owned(), Some(model))]);
}

#[test]
fn volumes_of_the_coordinators_images_come_with_their_digests() {
    let mut assignment = pod(vec![container("c")]);
    let volume = ImageVolume {
        name: "own".to_owned(),
        reference: "dunlin.local/m:1".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
    };
    let mount = ImageMount { volume: "own".into(), path: "/m".into(), part: VolumePart::Whole };
    let linux = ContainerLinux { images: vec![mount], ..ContainerLinux::default() };
    let linux = PodLinux { images: vec![volume], containers: vec![linux], ..PodLinux::default() };
    assignment.linux = Some(Box::new(linux));
    let mut silent = Bench::new(assignment.clone());
    assert_eq!(silent.status(), "Pending c-ErrImagePull/0");
    assert!(silent.events().iter().any(|event| event.contains("coordinator is of a release")));

    let told = |assignment: &mut PodAssignment, digest: Option<Digest>, unresolved: &str| {
        let unresolved = unresolved.to_owned();
        let image = VolumeImage { volume: "own".to_owned(), digest, unresolved };
        assignment.volume_images = PodVolumeImages { volumes: vec![image] };
    };
    told(&mut assignment, None, "nothing was pushed");
    silent.pod.handle_assignment(Arc::new(assignment.clone()), silent.now());
    silent.turn();
    assert!(silent.events().iter().any(|event| event.ends_with("nothing was pushed")));

    // It is pushed, and pulled at once.
    let own = Digest::of(b"own");
    told(&mut assignment, Some(own), "");
    silent.pod.handle_assignment(Arc::new(assignment.clone()), silent.now());
    silent.turn();
    silent.running("c");
    assert_eq!(silent.pod.image_volumes().get("own"), Some(&own));
    assert!(silent.events().iter().any(|event| event.contains("\"dunlin.local/m:1\" already present")));
    assert!(silent.pod.modules().any(|named| named == own));
    assert_eq!(silent.pod.references_of(own).collect::<Vec<_>>(), ["dunlin.local/m:1"]);

    // The tag moves: what runs goes on, and the next run has the new one.
    let next = Digest::of(b"next");
    told(&mut assignment, Some(next), "");
    silent.pod.handle_assignment(Arc::new(assignment), silent.now());
    silent.turn();
    assert_eq!((silent.status(), silent.pod.image_volumes()["own"]), ("Running c+Running/0".to_owned(), own));
    assert!([own, next].iter().all(|digest| silent.pod.modules().any(|named| named == *digest)));
    silent.exited("c", ExitCause::Code(1));
    silent.pass(10_000);
    silent.running("c");
    assert_eq!(silent.pod.image_volumes()["own"], next);
}

#[test]
fn failures_back_off_and_stale_answers_are_dropped() {
    let mut bench = Bench::new(elsewhere(PullPolicy::IfNotPresent));
    let other = PulledImage::Present(digest());
    bench.pod.handle_image(ContainerIndex(0), "ghcr.io/team/c:2", other, bench.now());
    bench.turn();
    assert_eq!(bench.status(), "Pending c-ContainerCreating/0");
    bench.image(PulledImage::Failed("ghcr.io/team/c:1: not found".to_owned()));
    assert_eq!(bench.status(), "Pending c-ErrImagePull/0");
    bench.pass(2_000);
    assert_eq!(bench.status(), "Pending c-ImagePullBackOff/0");
    bench.images.clear();
    bench.pass(10_000);
    assert_eq!(bench.images.len(), 1);
    bench.image(PulledImage::Absent);
    assert_eq!(bench.status(), "Pending c-ErrImageNeverPull/0");
}

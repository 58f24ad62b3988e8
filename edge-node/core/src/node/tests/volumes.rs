//! Volumes that wait for their content, follow it, and are held to their bounds.

use std::sync::Arc;

use dunlin_link::{
    Bytes, Digest,
    pod::{ConfigKind, ConfigObject, ConfigRef, PodAssignment},
    sealed::Content,
    status::ContainerState,
    volumes::{Medium, PodVolumes, Projection, Volume, VolumeSource},
};

use super::{
    super::{Look, VolumeUsage},
    harness::{Node, assignment, uid},
};
use crate::{pressure::Signals, volumes::SourceSetup};

/// Pod `p` with a volume of this source.
fn pod(source: VolumeSource) -> PodAssignment {
    let mut pod = assignment("p");
    let volumes = vec![Volume { name: "v".to_owned(), source }];
    pod.volumes = PodVolumes { volumes, containers: Vec::new() };
    pod
}

/// The same with a ConfigMap that has this value, or is not there.
fn projecting(value: Option<&str>) -> (PodAssignment, Vec<(Digest, Content)>) {
    let (kind, name) = (ConfigKind::ConfigMap, "map".to_owned());
    let source = Projection::Config { kind, name: name.clone(), items: Vec::new(), optional: false };
    let mut pod = pod(VolumeSource::Projected { default_mode: 0o644, sources: vec![source] });
    let digest = value.map(|value| Digest::of(value.as_bytes()));
    pod.config = vec![ConfigRef { kind, name, digest }];
    let object = value.map(|value| ConfigObject { kind, data: vec![("k".to_owned(), value.into())] });
    (pod, digest.zip(object).map(|(id, object)| (id, Content::Clear(Arc::new(object)))).into_iter().collect())
}

impl Node {
    fn assign_projecting(&mut self, value: Option<&str>) {
        let (pod, objects) = projecting(value);
        self.make(|change| change.assign_pod(pod).bring(objects));
    }

    fn waiting(&self) -> String {
        match &self.report("p").unwrap().containers[0].state {
            ContainerState::Waiting { reason, .. } => reason.clone(),
            other => format!("{other:?}"),
        }
    }

    fn failed_mounts(&self) -> usize {
        self.events.iter().filter(|event| event.reason == "FailedMount").count()
    }
}

#[test]
fn a_pod_waits_for_what_its_volume_is_made_of() {
    let mut node = Node::new();
    node.assign_projecting(None);
    assert!(node.running().is_empty());
    assert_eq!((node.waiting().as_str(), node.failed_mounts()), ("ContainerCreating", 1));
    let pulled = |node: &Node| node.events.iter().filter(|event| event.reason == "Pulled").count();
    assert_eq!(pulled(&node), 1);
    let message = &node.events.iter().find(|event| event.reason == "FailedMount").unwrap().message;
    assert_eq!(message, "MountVolume.SetUp failed for volume \"v\" : configmap \"map\" not found");
    // After 0.5 s, 1 s, 2 s and so on, and no longer than two minutes and a bit apart.
    node.settle_for(499);
    assert_eq!(node.failed_mounts(), 1);
    node.settle_for(3_100);
    assert_eq!((node.failed_mounts(), pulled(&node)), (4, 1), "the image is here");
    node.settle_for(600_000);
    let slow = node.failed_mounts();
    assert!((12..20).contains(&slow), "{slow}");
    node.assign_projecting(Some("one"));
    assert_eq!(node.running(), ["p"]);
    node.crash();
    assert_eq!(node.running(), ["p"]);
}

#[test]
fn files_follow_what_they_are_made_of_while_the_pod_is_there() {
    let mut node = Node::new();
    node.assign_projecting(Some("one"));
    assert!(node.projected.is_empty(), "what was put in place a moment ago");
    node.assign_projecting(Some("two"));
    let projected = node.projected.pop().unwrap();
    let SourceSetup::Files { files, .. } = &projected.volumes[0].source else { panic!("{projected:?}") };
    assert_eq!((files[0].path.as_str(), &*files[0].data), ("k", &b"two"[..]));
    // What is missing now stays as it was.
    node.assign_projecting(None);
    assert!(node.projected.is_empty() && node.running() == ["p"]);
    node.make(|change| change.bury("p"));
    node.settle_for(40_000);
    assert!(node.running().is_empty());
    assert_eq!(node.unmounted, ["p"]);
}

#[test]
fn a_pod_whose_volume_takes_more_than_it_may_is_evicted() {
    let mut node = Node::new();
    let source = VolumeSource::EmptyDir { medium: Medium::Memory, size_limit: Some(Bytes(1 << 20)) };
    node.make(|change| change.assign_pod(pod(source)).assign("q"));
    let now = node.now;
    assert!(node.core.wants_usages(&Signals::default(), now));
    let mut look = |volume: &str, bytes| {
        let used =
            |pod| VolumeUsage { uid: uid(pod), volume: volume.to_owned(), medium: Medium::Memory, bytes };
        let volumes = vec![used("p"), used("q")];
        node.core.handle_look(Look { volumes, ..Look::default() }, node.now);
        node.carry();
        node.settle_for(1_500);
        node.running().len()
    };
    assert_eq!((look("v", 1 << 20), look("other", 2 << 20), look("v", (1 << 20) + 1)), (2, 2, 1));
    let report = node.report("p").unwrap();
    assert_eq!(report.reason, "Evicted");
    assert_eq!(report.message, "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
    assert!(!node.core.wants_usages(&Signals::default(), node.now));
}

//! A pod for the tests of this crate, with nothing in it.

use dunlin_link::{
    Bytes, Digest, PodUid,
    care::PodCare,
    ephemeral::{EphemeralContainer, PodEphemeral},
    linux::ContainerLinux,
    pod::{Container, Image, PodAssignment, PodSpec, PullPolicy, Resources, RestartPolicy},
    resources::{HugeVolume, PodResources},
    tokens::{PodTokens, TokenClaim, TokenProjection},
    volume_images::{PodVolumeImages, VolumeImage},
    volumes::{ContainerFiles, PodVolumes},
};

/// The pod `u`, `ns/p`.
pub(crate) fn pod() -> PodAssignment {
    PodAssignment {
        uid: PodUid::new("u"),
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
        generation: 1,
        spec: PodSpec {
            labels: Vec::new(),
            annotations: Vec::new(),
            restart_policy: RestartPolicy::Always,
            termination_grace_seconds: 30,
            active_deadline_seconds: None,
            init_containers: Vec::new(),
            containers: Vec::new(),
            host_network: false,
            hostname: "p".to_owned(),
            service_account_name: String::new(),
        },
        config: Vec::new(),
        care: PodCare::default(),
        volumes: PodVolumes::default(),
        linux: None,
        tokens: Default::default(),
        volume_images: Default::default(),
        ephemeral: Default::default(),
        resources: Default::default(),
    }
}

/// A token that a pod may want.
pub(crate) fn tokens() -> PodTokens {
    let claim = TokenClaim { audience: "a".to_owned(), expiration_seconds: 600 };
    PodTokens {
        projections: vec![TokenProjection { volume: "v".to_owned(), after: 0, path: "t".to_owned(), claim }],
    }
}

/// An image that is a volume.
pub(crate) fn volume_images() -> PodVolumeImages {
    let image =
        VolumeImage { volume: "v".to_owned(), digest: Some(Digest::of(b"i")), unresolved: String::new() };
    PodVolumeImages { volumes: vec![image] }
}

/// A container that was added.
pub(crate) fn ephemeral() -> PodEphemeral {
    let image = Image {
        reference: "i".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
        digest: None,
        unresolved: String::new(),
    };
    let container = Container {
        name: "e".to_owned(),
        image,
        command: Vec::new(),
        args: Vec::new(),
        working_dir: None,
        env_from: Vec::new(),
        env: Vec::new(),
        ports: Vec::new(),
        resources: Resources::default(),
        sidecar: false,
        termination_message_from_logs: false,
        refused_fields: Vec::new(),
    };
    let (files, linux) = (ContainerFiles::default(), ContainerLinux::default());
    PodEphemeral { containers: vec![EphemeralContainer { container, target: "c".to_owned(), files, linux }] }
}

/// What a pod may say of resources.
pub(crate) fn resources() -> PodResources {
    let volume = HugeVolume { volume: "v".to_owned(), page: Some(Bytes(2 << 20)) };
    PodResources { huge_volumes: vec![volume], ..PodResources::default() }
}

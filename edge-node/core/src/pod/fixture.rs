//! Pods to test with.

use dunlin_link::{
    Digest, PodUid,
    care::PodCare,
    pod::{Container, Image, PodAssignment, PodSpec, PullPolicy, Resources, RestartPolicy},
    volumes::PodVolumes,
};

/// A container of a known image.
pub(crate) fn container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: Image {
            reference: format!("dunlin.local/{name}:v1"),
            pull_policy: PullPolicy::IfNotPresent,
            digest: Some(Digest::of(name.as_bytes())),
            unresolved: String::new(),
        },
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
    }
}

/// Pod `p` of namespace `ns` with these containers.
pub(crate) fn pod(containers: Vec<Container>) -> PodAssignment {
    PodAssignment {
        uid: PodUid::new("u1"),
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
        generation: 1,
        spec: PodSpec {
            labels: vec![("app".to_owned(), "web".to_owned())],
            annotations: Vec::new(),
            restart_policy: RestartPolicy::Always,
            termination_grace_seconds: 30,
            active_deadline_seconds: None,
            init_containers: Vec::new(),
            containers,
            host_network: false,
            hostname: "p".to_owned(),
            service_account_name: "default".to_owned(),
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

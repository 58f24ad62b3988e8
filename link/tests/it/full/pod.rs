//! Pods with every field filled.

use dunlin_link::{
    Bytes, Digest, MilliCpu, PodUid, Revision,
    care::PodCare,
    pod::{
        ConfigKind, ConfigRef, Container, ContainerPort, EnvFrom, EnvValue, EnvVar, Image, PodAssignment,
        PodSpec, Protocol, PullPolicy, Resources, RestartPolicy,
    },
    volumes::PodVolumes,
};

/// A pod for each policy of restarts.
pub(crate) fn pods() -> Vec<(Revision, PodAssignment)> {
    let policies = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
    (1..).map(Revision).zip(policies.map(pod)).collect()
}

fn pod(restart_policy: RestartPolicy) -> PodAssignment {
    let config = |kind, name: &str, digest| ConfigRef { kind, name: name.into(), digest };
    PodAssignment {
        uid: PodUid::new("uid-1"),
        namespace: "ns".into(),
        name: "p".into(),
        generation: 300,
        spec: PodSpec {
            labels: vec![("app".into(), "a".into()), ("tier".into(), String::new())],
            annotations: vec![("dunlin.dev/x".into(), "y".into())],
            restart_policy,
            termination_grace_seconds: 130,
            active_deadline_seconds: Some(70_000),
            init_containers: vec![sidecar()],
            containers: vec![container()],
            host_network: true,
            hostname: "h".into(),
            service_account_name: "sa".into(),
        },
        care: PodCare::default(),
        volumes: PodVolumes::default(),
        linux: None,
        tokens: Default::default(),
        volume_images: Default::default(),
        ephemeral: Default::default(),
        resources: Default::default(),
        config: vec![
            config(ConfigKind::ConfigMap, "m", Some(Digest::from_bytes([6; 32]))),
            config(ConfigKind::Secret, "s", None),
        ],
    }
}

pub(super) fn container() -> Container {
    let port = |name: &str, container_port, host_port, protocol| ContainerPort {
        name: name.into(),
        container_port,
        host_port,
        protocol,
    };
    Container {
        name: "main".into(),
        image: Image {
            reference: "hello:1".into(),
            pull_policy: PullPolicy::Always,
            digest: Some(Digest::from_bytes([7; 32])),
            unresolved: String::new(),
        },
        command: vec!["run".into(), "it".into()],
        args: vec!["$(LITERAL)".into()],
        working_dir: Some("/w".into()),
        env_from: vec![env_from("P_", ConfigKind::ConfigMap, "m"), env_from("", ConfigKind::Secret, "s")],
        env: env(),
        ports: vec![
            port("web", 8080, Some(80), Protocol::Tcp),
            port("dns", 53, None, Protocol::Udp),
            port("", 65_535, Some(65_535), Protocol::Sctp),
        ],
        resources: Resources {
            cpu_request: Some(MilliCpu(100)),
            memory_request: Some(Bytes(1 << 20)),
            cpu_limit: Some(MilliCpu(2_000)),
            memory_limit: Some(Bytes(1 << 40)),
        },
        sidecar: false,
        termination_message_from_logs: true,
        refused_fields: vec!["securityContext.privileged".into()],
    }
}

/// A container that nobody could find the image of.
pub(super) fn sidecar() -> Container {
    Container {
        name: "side".into(),
        image: Image {
            reference: "nowhere/side".into(),
            pull_policy: PullPolicy::Never,
            digest: None,
            unresolved: "no such image".into(),
        },
        command: vec![],
        args: vec![],
        working_dir: None,
        env_from: vec![],
        env: vec![],
        ports: vec![],
        resources: Resources::default(),
        sidecar: true,
        termination_message_from_logs: false,
        refused_fields: vec![],
    }
}

fn env_from(prefix: &str, kind: ConfigKind, name: &str) -> EnvFrom {
    EnvFrom { prefix: prefix.into(), kind, name: name.into(), optional: kind == ConfigKind::Secret }
}

/// A variable from each source.
fn env() -> Vec<EnvVar> {
    let key = |kind, optional| EnvValue::Key { kind, name: "o".into(), key: "k".into(), optional };
    let values = [
        ("LITERAL", EnvValue::Literal("a $(B)".into())),
        ("CONFIG", key(ConfigKind::ConfigMap, true)),
        ("SECRET", key(ConfigKind::Secret, false)),
        ("FIELD", EnvValue::Field("metadata.labels['app']".into())),
        (
            "RESOURCE",
            EnvValue::Resource {
                container: "side".into(),
                resource: "limits.memory".into(),
                divisor_milli: 1_048_576_000,
            },
        ),
    ];
    values.map(|(name, value)| EnvVar { name: name.into(), value }).into()
}

//! Values that several tests need.

use dunlin_link::{
    Bytes, Digest, MilliCpu, PodUid, UnixMillis,
    assignment::Tombstone,
    care::PodCare,
    pod::{
        ConfigKind, ConfigObject, ConfigRef, Container, Image, PodAssignment, PodSpec, PullPolicy, Resources,
        RestartPolicy,
    },
    status::{NodeFacts, NodeResources, PodPhase, PodStatusReport},
    volumes::PodVolumes,
};

pub(crate) fn uid(number: u32) -> PodUid {
    PodUid::new(format!("uid-{number}"))
}

pub(crate) fn pod(uid: &PodUid, generation: i64, config: Option<Digest>) -> PodAssignment {
    PodAssignment {
        uid: uid.clone(),
        namespace: "default".into(),
        name: format!("pod-{uid}"),
        generation,
        spec: PodSpec {
            labels: vec![("app".into(), "a".into())],
            annotations: Vec::new(),
            restart_policy: RestartPolicy::Always,
            termination_grace_seconds: 30,
            active_deadline_seconds: None,
            init_containers: Vec::new(),
            containers: vec![container()],
            host_network: false,
            hostname: "pod".into(),
            service_account_name: "default".into(),
        },
        care: PodCare::default(),
        volumes: PodVolumes::default(),
        linux: None,
        tokens: Default::default(),
        volume_images: Default::default(),
        ephemeral: Default::default(),
        resources: Default::default(),
        config: config
            .map(|digest| ConfigRef { kind: ConfigKind::ConfigMap, name: "c".into(), digest: Some(digest) })
            .into_iter()
            .collect(),
    }
}

fn container() -> Container {
    Container {
        name: "main".into(),
        image: Image {
            reference: "hello".into(),
            pull_policy: PullPolicy::IfNotPresent,
            digest: Some(Digest::from_bytes([7; 32])),
            unresolved: String::new(),
        },
        command: vec!["run".into()],
        args: Vec::new(),
        working_dir: None,
        env_from: Vec::new(),
        env: Vec::new(),
        ports: Vec::new(),
        resources: Resources {
            cpu_request: Some(MilliCpu(100)),
            memory_limit: Some(Bytes(1 << 20)),
            ..Resources::default()
        },
        sidecar: false,
        termination_message_from_logs: false,
        refused_fields: Vec::new(),
    }
}

pub(crate) fn config(text: &str) -> ConfigObject {
    ConfigObject { kind: ConfigKind::ConfigMap, data: vec![("key".into(), text.into())] }
}

pub(crate) fn tombstone(uid: &PodUid) -> Tombstone {
    Tombstone {
        uid: uid.clone(),
        namespace: "default".into(),
        name: format!("pod-{uid}"),
        grace_seconds: 30,
        requested_at: UnixMillis(1_000),
    }
}

pub(crate) fn report(uid: &PodUid, sequence: u64) -> PodStatusReport {
    PodStatusReport {
        uid: uid.clone(),
        namespace: "default".into(),
        name: format!("pod-{uid}"),
        sequence,
        observed_generation: 1,
        phase: PodPhase::Running,
        reason: String::new(),
        message: String::new(),
        conditions: Vec::new(),
        host_ip: "10.0.0.1".into(),
        pod_ip: String::new(),
        start_time: Some(UnixMillis(5)),
        init_containers: Vec::new(),
        containers: Vec::new(),
        stopped: false,
        local_endpoints: Vec::new(),
    }
}

pub(crate) fn facts() -> NodeFacts {
    NodeFacts {
        architecture: "arm64".into(),
        operating_system: "linux".into(),
        kernel_version: "6.1".into(),
        os_image: "os".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        version: "0.0.0".into(),
        runtime_version: "wasmtime://48.0.8".into(),
        hostname: "n1".into(),
        addresses: vec!["10.0.0.1".into()],
        capacity: NodeResources {
            cpu: MilliCpu(4000),
            memory: Bytes(1 << 30),
            ephemeral_storage: Bytes(1 << 33),
            pods: 1000,
        },
        allocatable: NodeResources::default(),
        labels: Vec::new(),
        taints: Vec::new(),
        containers: None,
        huge_pages: Vec::new(),
    }
}

//! Messages with every field filled, which together hold every variant of every enum.

mod care;
mod ephemeral;
mod linux;
mod pod;
mod resources;
mod status;
mod tokens;
mod volume_images;
mod volumes;

use dunlin_link::{
    BootId, Bytes, Digest, MilliCpu, NodeName, PodUid, Revision, UnixMillis,
    bandwidth::BytesPerSecond,
    codec,
    container_support::ContainerSupport,
    health::{DiskWrites, Health, HeldPods, OutboxState, Sealing},
    huge_pages,
    logs::LogRequest,
    message::{Attempt, Epoch, Events, Extension, Hello, TOLD_BY_TAG, Tunables, Welcome},
    node_network::NodeNetwork,
    node_state::{NodeImage, NodeState},
    restore::{RestoreRecord, SignedRestore},
    rpc::{Method, RequestHead},
    sealed::{SEALING_KEY_TAG, SealingPublicKey},
    status::{EventPod, NodeEvent, NodeFacts, NodeResources},
};

pub(crate) use care::care;
pub(crate) use ephemeral::ephemeral;
pub(crate) use linux::linux;
pub(crate) use pod::pods;
pub(crate) use resources::resources;
pub(crate) use status::reports;
pub(crate) use tokens::{claim, tokens};
pub(crate) use volume_images::volume_images;
pub(crate) use volumes::volumes;

pub(crate) fn node_state() -> NodeState {
    NodeState {
        memory_pressure: true,
        disk_pressure: true,
        pid_pressure: true,
        shutting_down: true,
        images: vec![NodeImage { names: vec!["hello@sha256:00".into(), "hello:1".into()], size: Bytes(300) }],
    }
}

pub(crate) fn node_networks() -> [NodeNetwork; 2] {
    let limits = "no host ports".into();
    [NodeNetwork::Works { limits }, NodeNetwork::Lacks { message: "no rights".into() }]
}

pub(crate) fn events() -> Events {
    let pod = EventPod {
        uid: PodUid::new("uid-1"),
        namespace: "ns".into(),
        name: "p".into(),
        container: "main".into(),
    };
    let event = NodeEvent {
        pod: Some(pod),
        warning: false,
        reason: "Started".into(),
        message: "m".into(),
        at: UnixMillis(1),
    };
    Events { sent_at: UnixMillis(7), events: vec![event], dropped: 1 << 40 }
}

pub(crate) fn facts() -> NodeFacts {
    let resources = |pods| NodeResources {
        cpu: MilliCpu(4_000),
        memory: Bytes(1 << 30),
        ephemeral_storage: Bytes(1 << 33),
        pods,
    };
    NodeFacts {
        architecture: "amd64".into(),
        operating_system: "linux".into(),
        kernel_version: "6.1".into(),
        os_image: "os".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        version: "0.0.0".into(),
        runtime_version: "wasmtime://48.0.8".into(),
        hostname: "n1".into(),
        addresses: vec!["10.0.0.1".into(), "fd00::1".into()],
        capacity: resources(1_000),
        allocatable: resources(900),
        labels: vec![("zone".into(), "z".into())],
        taints: vec![("key".into(), "value".into(), "NoSchedule".into())],
        containers: None,
        huge_pages: Vec::new(),
    }
}

/// With the key that Secrets are to be sealed to.
pub(crate) fn hello() -> Hello {
    let key = SealingPublicKey::from_bytes(&[3; 32]).unwrap();
    Hello {
        node: NodeName::new("n1"),
        boot_id: BootId([9; 16]),
        attempt: Attempt { agent: 1 << 63, counter: 1 },
        protocol: (1, 2),
        restore_generation: 4,
        last_applied_revision: Revision(300),
        state_digest: Digest::from_bytes([5; 32]),
        sent_at: UnixMillis(1_800_000_000_000),
        facts: facts(),
        extensions: vec![Extension { tag: SEALING_KEY_TAG, bytes: key.as_bytes().to_vec() }],
    }
}

/// With what a node lacks, and with what another has.
pub(crate) fn hellos_of_version_six() -> [Hello; 2] {
    let lacks = ContainerSupport::Lacks { reason: "NoRuntime".into(), message: "m".into() };
    let runs =
        ContainerSupport::Runs { runtime: "crun".into(), version: "1".into(), recursive_read_only: true };
    [lacks, runs].map(|support| Hello {
        protocol: (1, 6),
        extensions: vec![support.to_extension()],
        ..hello()
    })
}

/// With the large pages of its machine.
pub(crate) fn hello_of_version_eight() -> Hello {
    let pages = [(Bytes(2 << 20), Bytes(64 << 20)), (Bytes(1 << 30), Bytes(0))];
    Hello { protocol: (1, 8), extensions: vec![huge_pages::to_extension(&pages)], ..hello() }
}

/// With the version by which its set was told.
pub(crate) fn hello_of_version_four() -> Hello {
    let extensions = vec![Extension { tag: TOLD_BY_TAG, bytes: codec::encode(&4_u16) }];
    Hello { protocol: (1, 4), extensions, ..hello() }
}

/// With the record of a restore and a cap.
pub(crate) fn welcome() -> Welcome {
    let record = RestoreRecord {
        cluster_id: "c".into(),
        generation: 200,
        revision: Revision(1 << 40),
        restored_at: UnixMillis(1_800_000_000_000),
    };
    let restore = SignedRestore { record, signature: vec![0x30, 0x45, 0x02, 0x21] };
    let cap = BytesPerSecond::new(32_000).unwrap();
    Welcome {
        epoch: Epoch { term: 6, counter: 2 },
        protocol: 2,
        server_time: UnixMillis(1_800_000_000_000),
        cluster_id: "c".into(),
        restore_generation: 200,
        tunables: Tunables { keep_alive_ms: 25_000, idle_timeout_ms: 80_000, reconnect_ms_max: 60_000 },
        extensions: vec![restore.to_extension(), cap.to_extension()],
    }
}

pub(crate) fn health() -> Health {
    Health {
        sampled_at: UnixMillis(1_800_000_000_000),
        uptime_ms: 90_000,
        disk_total: Bytes(1 << 35),
        disk_free: Bytes(1 << 34),
        agent_writes: Some(DiskWrites { bytes: 4096, span_ms: 80_000 }),
        runner_writes: Some(DiskWrites { bytes: 1, span_ms: 2 }),
        clock_offset_ms: Some(1 << 40),
        clock_synchronized: true,
        temperature_milli: Some(-10_000),
        throttled: Some(true),
        pods: HeldPods { assigned: 20, fixed: 1, held: 2, buried: 3 },
        outbox: OutboxState { reports: 4, events: 5, events_dropped: 6 },
        sealing: Sealing::Unsealed,
    }
}

pub(crate) fn log_request() -> LogRequest {
    LogRequest {
        uid: PodUid::new("uid-1"),
        container: "main".into(),
        follow: true,
        previous: true,
        since: Some(UnixMillis(5)),
        tail_lines: Some(10),
        timestamps: true,
        limit_bytes: Some(1 << 20),
    }
}

/// A request of each method.
pub(crate) fn request_heads() -> Vec<RequestHead> {
    let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];
    let head = |method| RequestHead {
        method,
        path: "/api/v1/nodes/n1".into(),
        query: vec![("watch".into(), "1".into())],
        content_type: "application/json".into(),
        accept: "application/json".into(),
        user_agent: "t".into(),
    };
    methods.map(head).into()
}

//! What pods say of resources, with every field filled.

use dunlin_link::{
    Bytes, MilliCpu, PodUid,
    pod::Resources,
    resources::{AssignmentResources, DiskResources, HugeVolume, PodResources},
};

/// Those of two pods.
pub(crate) fn resources() -> AssignmentResources {
    let full = PodResources {
        pod: Resources {
            cpu_request: Some(MilliCpu(500)),
            memory_request: Some(Bytes(1 << 28)),
            cpu_limit: Some(MilliCpu(2000)),
            memory_limit: Some(Bytes(1 << 30)),
        },
        huge_pages: vec![(Bytes(2 << 20), Bytes(64 << 20))],
        huge_volumes: vec![
            HugeVolume { volume: "fast".into(), page: Some(Bytes(1 << 30)) },
            HugeVolume { volume: "any".into(), page: None },
        ],
        disk: vec![
            DiskResources { request: Some(Bytes(1 << 20)), limit: Some(Bytes(1 << 21)) },
            DiskResources::default(),
        ],
    };
    let silent = PodResources { disk: vec![DiskResources::default()], ..PodResources::default() };
    AssignmentResources { resources: vec![(PodUid::new("uid-1"), full), (PodUid::new("uid-2"), silent)] }
}

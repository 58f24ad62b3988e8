//! Statuses with every field filled.

use dunlin_link::{
    ContainerId, Digest, PodUid, UnixMillis,
    status::{
        ContainerState, ContainerStatus, LocalEndpoint, PodCondition, PodConditionKind, PodPhase,
        PodStatusReport, Terminated,
    },
};

/// A report for each phase.
pub(crate) fn reports() -> Vec<PodStatusReport> {
    let phases = [PodPhase::Pending, PodPhase::Running, PodPhase::Succeeded, PodPhase::Failed];
    (1 << 40..).zip(phases).map(|(sequence, phase)| report(sequence, phase)).collect()
}

fn report(sequence: u64, phase: PodPhase) -> PodStatusReport {
    let endpoint = |container_port, address: &str| LocalEndpoint { container_port, address: address.into() };
    PodStatusReport {
        uid: PodUid::new("uid-1"),
        namespace: "ns".into(),
        name: "p".into(),
        sequence,
        observed_generation: -300,
        phase,
        reason: "Evicted".into(),
        message: "why \u{2014} for a person".into(),
        conditions: conditions(),
        host_ip: "10.0.0.1".into(),
        pod_ip: "10.42.0.5".into(),
        start_time: Some(UnixMillis(1_800_000_000_000)),
        init_containers: vec![status("side", ContainerState::Terminated(ended(0)))],
        containers: vec![
            status("a", ContainerState::Waiting { reason: "CrashLoopBackOff".into(), message: "m".into() }),
            status("b", ContainerState::Running { started_at: UnixMillis(-1) }),
            status("c", ContainerState::Terminated(ended(-1))),
        ],
        stopped: true,
        local_endpoints: vec![endpoint(8080, "127.42.0.5:8080"), endpoint(53, "127.42.0.5:53")],
    }
}

fn conditions() -> Vec<PodCondition> {
    use PodConditionKind::{ContainersReady, FieldsIgnored, Initialized, PodReadyToStartContainers, Ready};
    let kinds = [PodReadyToStartContainers, Initialized, ContainersReady, Ready, FieldsIgnored];
    let condition = |(at, kind)| PodCondition {
        kind,
        status: kind != Ready,
        reason: "R".into(),
        message: "m".into(),
        last_transition: UnixMillis(at),
    };
    (64..).zip(kinds).map(condition).collect()
}

fn status(name: &str, state: ContainerState) -> ContainerStatus {
    ContainerStatus {
        name: name.into(),
        image: "hello:1".into(),
        image_digest: Some(Digest::from_bytes([7; 32])),
        container_id: Some(ContainerId::new("id")),
        ready: matches!(state, ContainerState::Running { .. }),
        started: true,
        restart_count: 129,
        state,
        last_state: Some(ended(137)),
    }
}

fn ended(exit_code: i32) -> Terminated {
    Terminated {
        container_id: Some(ContainerId::new("id-0")),
        exit_code,
        reason: "Error".into(),
        message: "trap".into(),
        started_at: UnixMillis(63),
        finished_at: UnixMillis(64),
    }
}

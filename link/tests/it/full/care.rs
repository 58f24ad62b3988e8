//! How pods are looked after, with every field filled and every variant held.

use dunlin_link::{
    PodUid,
    care::{Action, ContainerCare, ContainerProbe, HttpGet, PodCare, PortName, RestartRule, Scheme},
    message::AssignmentCare,
    pod::RestartPolicy,
};

/// Care for two pods.
pub(crate) fn care() -> AssignmentCare {
    let http = |scheme| {
        Action::HttpGet(HttpGet {
            scheme,
            host: "h".into(),
            port: PortName::Name("web".into()),
            path: "/ok?a=b".into(),
            headers: vec![("X-A".into(), "b".into())],
        })
    };
    let tcp = Action::TcpSocket { host: "127.0.0.1".into(), port: PortName::Number(8080) };
    let grpc = Action::Grpc { port: 300, service: "s".into() };
    let containers = vec![
        ContainerCare {
            startup: Some(probe(http(Scheme::Http))),
            liveness: Some(probe(http(Scheme::Https))),
            readiness: Some(probe(tcp)),
            post_start: Some(Box::new(Action::Sleep { seconds: 3 })),
            pre_stop: Some(Box::new(Action::Exec { command: vec!["a".into(), "b".into()] })),
            restart_policy: Some(RestartPolicy::Never),
            restart_rules: vec![RestartRule { negated: true, exit_codes: vec![42, -1] }],
        },
        ContainerCare { liveness: Some(probe(grpc)), ..ContainerCare::default() },
    ];
    AssignmentCare {
        care: vec![
            (PodUid::new("uid-1"), PodCare { priority: -5, tolerates_memory_pressure: true, containers }),
            (PodUid::new("uid-2"), PodCare { priority: 2_000_000_000, ..PodCare::default() }),
        ],
    }
}

fn probe(action: Action) -> Box<ContainerProbe> {
    Box::new(ContainerProbe {
        action,
        initial_delay_seconds: 300,
        period_seconds: 10,
        timeout_seconds: 1,
        success_threshold: 2,
        failure_threshold: 3,
        termination_grace_seconds: Some(7),
    })
}

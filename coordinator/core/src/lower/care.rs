//! How containers are looked after while they run: probes, hooks, rules of restart.

use dunlin_link::{
    care::{Action, ContainerCare, ContainerProbe, HttpGet, PodCare, PortName, RestartRule, Scheme},
    pod::RestartPolicy,
};
use k8s_openapi::{api::core::v1, apimachinery::pkg::util::intstr::IntOrString};

use super::{restart_policy, seconds};

/// Of a pod; the default where nothing is asked for.
pub(super) fn pod_care(spec: &v1::PodSpec) -> PodCare {
    let init = spec.init_containers.iter().flatten().map(|container| container_care(container, Place::Init));
    let main = spec.containers.iter().map(|container| container_care(container, Place::Main));
    let mut containers: Vec<ContainerCare> = init.chain(main).collect();
    if containers.iter().all(|care| *care == ContainerCare::default()) {
        containers.clear();
    }
    PodCare {
        priority: spec.priority.unwrap_or(0),
        tolerates_memory_pressure: spec.tolerations.iter().flatten().any(tolerates_memory_pressure),
        containers,
    }
}

/// Whether the taint of nodes that are short of memory does not keep the pod away.
fn tolerates_memory_pressure(toleration: &v1::Toleration) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().unwrap_or("Equal");
    let value = toleration.value.as_deref().unwrap_or_default();
    (key == MEMORY_PRESSURE && (operator == "Exists" || value.is_empty())
        || key.is_empty() && operator == "Exists")
        && (effect.is_empty() || effect == "NoSchedule")
}

/// Where a container stands in its pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Init,
    Main,
}

fn container_care(container: &v1::Container, place: Place) -> ContainerCare {
    let lifecycle = container.lifecycle.as_ref();
    let own = container.restart_policy.as_deref();
    // An init container with `Always` is a sidecar, which is told apart.
    let own = own.filter(|policy| place == Place::Main || *policy != "Always");
    ContainerCare {
        startup: container.startup_probe.as_ref().and_then(probe).map(Box::new),
        liveness: container.liveness_probe.as_ref().and_then(probe).map(Box::new),
        readiness: container.readiness_probe.as_ref().and_then(probe).map(Box::new),
        post_start: lifecycle.and_then(|hooks| hook(hooks.post_start.as_ref()?)).map(Box::new),
        pre_stop: lifecycle.and_then(|hooks| hook(hooks.pre_stop.as_ref()?)).map(Box::new),
        restart_policy: own.map(|policy| -> RestartPolicy { restart_policy(Some(policy)) }),
        restart_rules: container.restart_policy_rules.iter().flatten().filter_map(rule).collect(),
    }
}

/// `None` for a probe without an action, which no API server lets through.
fn probe(probe: &v1::Probe) -> Option<ContainerProbe> {
    let action = if let Some(exec) = &probe.exec {
        Action::Exec { command: exec.command.clone().unwrap_or_default() }
    } else if let Some(get) = &probe.http_get {
        Action::HttpGet(http_get(get))
    } else if let Some(socket) = &probe.tcp_socket {
        tcp_socket(socket)
    } else {
        let grpc = probe.grpc.as_ref()?;
        let port = u16::try_from(grpc.port).unwrap_or(0);
        Action::Grpc { port, service: grpc.service.clone().unwrap_or_default() }
    };
    let count = |count: Option<i32>, default: u32| {
        count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0).unwrap_or(default)
    };
    Some(ContainerProbe {
        action,
        initial_delay_seconds: count(probe.initial_delay_seconds, 0),
        period_seconds: count(probe.period_seconds, PERIOD_SECONDS_DEFAULT),
        timeout_seconds: count(probe.timeout_seconds, 1),
        success_threshold: count(probe.success_threshold, 1),
        failure_threshold: count(probe.failure_threshold, FAILURE_THRESHOLD_DEFAULT),
        termination_grace_seconds: probe.termination_grace_period_seconds.map(seconds),
    })
}

fn hook(handler: &v1::LifecycleHandler) -> Option<Action> {
    if let Some(exec) = &handler.exec {
        Some(Action::Exec { command: exec.command.clone().unwrap_or_default() })
    } else if let Some(get) = &handler.http_get {
        Some(Action::HttpGet(http_get(get)))
    } else if let Some(sleep) = &handler.sleep {
        Some(Action::Sleep { seconds: seconds(sleep.seconds) })
    } else {
        handler.tcp_socket.as_ref().map(tcp_socket)
    }
}

fn http_get(get: &v1::HTTPGetAction) -> HttpGet {
    let headers = get.http_headers.iter().flatten();
    HttpGet {
        scheme: if get.scheme.as_deref() == Some("HTTPS") { Scheme::Https } else { Scheme::Http },
        host: get.host.clone().unwrap_or_default(),
        port: port_name(&get.port),
        path: get.path.clone().unwrap_or_default(),
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
    }
}

fn tcp_socket(socket: &v1::TCPSocketAction) -> Action {
    Action::TcpSocket { host: socket.host.clone().unwrap_or_default(), port: port_name(&socket.port) }
}

/// A name that is a number counts as one, as for kubelet.
fn port_name(port: &IntOrString) -> PortName {
    match port {
        IntOrString::Int(number) => PortName::Number(u16::try_from(*number).unwrap_or(0)),
        IntOrString::String(name) => match name.parse() {
            Ok(number) => PortName::Number(number),
            Err(_) => PortName::Name(name.clone()),
        },
    }
}

fn rule(rule: &v1::ContainerRestartRule) -> Option<RestartRule> {
    let codes = rule.exit_codes.as_ref()?;
    let exit_codes = codes.values.clone().unwrap_or_default();
    Some(RestartRule { negated: codes.operator == "NotIn", exit_codes })
}

/// Taint of nodes that are short of memory.
const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";

/// Kubernetes' default of `periodSeconds`.
const PERIOD_SECONDS_DEFAULT: u32 = 10;

/// Kubernetes' default of `failureThreshold`.
const FAILURE_THRESHOLD_DEFAULT: u32 = 3;

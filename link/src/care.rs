//! How a node looks after the containers of a pod while they run: probes, hooks, rules of restart. Since version 4.
//!
//! It is the part of a [`crate::pod::PodAssignment`] that travels in a frame of its own, because a released struct never changes. A peer of
//! an older version is not told of it, and runs the pod without.

use serde::{Deserialize, Serialize};

use crate::pod::RestartPolicy;

/// Of one pod. The default asks for nothing, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCare {
    /// `spec.priority`.
    pub priority: i32,
    /// Whether it tolerates `node.kubernetes.io/memory-pressure`: a node that is short of memory takes it all the same.
    pub tolerates_memory_pressure: bool,
    /// Init containers, then containers, each in the order of the spec; empty when none asks for anything.
    pub containers: Vec<ContainerCare>,
}

/// Of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCare {
    /// `startupProbe`.
    pub startup: Option<Box<ContainerProbe>>,
    /// `livenessProbe`.
    pub liveness: Option<Box<ContainerProbe>>,
    /// `readinessProbe`.
    pub readiness: Option<Box<ContainerProbe>>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Box<Action>>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Box<Action>>,
    /// `restartPolicy` of the container itself. A sidecar's is told by [`crate::pod::Container::sidecar`].
    pub restart_policy: Option<RestartPolicy>,
    /// `restartPolicyRules`, the first that fits counts.
    pub restart_rules: Vec<RestartRule>,
}

/// A question that is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerProbe {
    /// What is asked.
    pub action: Action,
    /// `initialDelaySeconds`, from the start of the run.
    pub initial_delay_seconds: u32,
    /// `periodSeconds`.
    pub period_seconds: u32,
    /// `timeoutSeconds`.
    pub timeout_seconds: u32,
    /// `successThreshold`.
    pub success_threshold: u32,
    /// `failureThreshold`.
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds` of the probe: replaces the pod's when this probe ends the run.
    pub termination_grace_seconds: Option<u32>,
}

/// What a probe or a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// `httpGet`.
    HttpGet(HttpGet),
    /// `tcpSocket`.
    TcpSocket {
        /// Or empty for the pod itself.
        host: String,
        /// Where.
        port: PortName,
    },
    /// `grpc`: the health protocol of gRPC.
    Grpc {
        /// Where.
        port: u16,
        /// Which service, or empty.
        service: String,
    },
    /// `exec`.
    Exec {
        /// With its arguments.
        command: Vec<String>,
    },
    /// `sleep`, of hooks only.
    Sleep {
        /// For how long.
        seconds: u32,
    },
}

/// A request by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGet {
    /// `http` or, without a look at the certificate, `https`.
    pub scheme: Scheme,
    /// Or empty for the pod itself.
    pub host: String,
    /// Where.
    pub port: PortName,
    /// With its query.
    pub path: String,
    /// `httpHeaders`, names as written.
    pub headers: Vec<(String, String)>,
}

/// `scheme` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// In clear.
    Http,
    /// By TLS.
    Https,
}

/// A port of the container by number, or by the name that it declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortName {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

/// Ends after which a container runs again, whatever its policy says: `action: Restart`, the only one there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// `exitCodes.operator` is `NotIn` rather than `In`.
    pub negated: bool,
    /// `exitCodes.values`.
    pub exit_codes: Vec<i32>,
}

impl PodCare {
    /// That of the container at a place, init containers first; `None` when nothing is asked for it.
    pub fn of(&self, index: usize) -> Option<&ContainerCare> {
        self.containers.get(index)
    }

    /// Whether nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl RestartRule {
    /// Whether the rule is about an end with this code.
    pub fn fits(&self, exit_code: i32) -> bool {
        self.exit_codes.contains(&exit_code) != self.negated
    }
}

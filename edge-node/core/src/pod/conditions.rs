//! The conditions that a node owns, with the kubelet's reasons and messages, and when each last changed.

use dunlin_link::{
    UnixMillis,
    pod::Protocol,
    status::{ContainerState, ContainerStatus, PodCondition, PodConditionKind, PodPhase},
};

use super::{Pod, Stage};
use crate::{clock::Now, reasons};

/// When each condition last changed its status.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    changed: Vec<(PodConditionKind, Verdict, UnixMillis)>,
}

impl Conditions {
    fn transition(&mut self, kind: PodConditionKind, verdict: Verdict, now: UnixMillis) -> UnixMillis {
        match self.changed.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, known, at)) => {
                if *known != verdict {
                    (*known, *at) = (verdict, now);
                }
                *at
            }
            None => {
                self.changed.push((kind, verdict, now));
                now
            }
        }
    }
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    True,
    False,
}

/// Status, reason and message of one condition.
struct Finding {
    verdict: Verdict,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn yes() -> Self {
        Self { verdict: Verdict::True, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { verdict: Verdict::False, reason, message }
    }
}

/// The statuses that conditions are drawn from.
pub(super) struct Seen<'a> {
    pub(super) phase: PodPhase,
    pub(super) init: &'a [ContainerStatus],
    pub(super) containers: &'a [ContainerStatus],
}

impl Pod {
    /// All conditions, with their transition times brought up to now.
    pub(super) fn conditions(&mut self, seen: &Seen<'_>, now: Now) -> Vec<PodCondition> {
        let ready = self.ready(seen);
        let mut findings = vec![
            (PodConditionKind::PodReadyToStartContainers, self.sandbox_ready()),
            (PodConditionKind::Initialized, self.initialized(seen)),
            (PodConditionKind::Ready, self.ready(seen)),
            (PodConditionKind::ContainersReady, ready),
        ];
        let ignored = self.ignored_fields();
        if !ignored.is_empty() {
            let finding = Finding {
                verdict: Verdict::True,
                reason: reasons::UNSUPPORTED_PROTOCOL,
                message: ignored.join(", "),
            };
            findings.push((PodConditionKind::FieldsIgnored, finding));
        }
        findings
            .into_iter()
            .map(|(kind, Finding { verdict, reason, message })| PodCondition {
                kind,
                status: verdict == Verdict::True,
                reason: reason.to_owned(),
                message,
                last_transition: self.conditions.transition(kind, verdict, now.wall),
            })
            .collect()
    }

    fn sandbox_ready(&self) -> Finding {
        match self.stage {
            Stage::Active | Stage::Ending { .. } => Finding::yes(),
            Stage::Ended(_) | Stage::Refused { .. } => Finding::no("", String::new()),
        }
    }

    fn initialized(&self, seen: &Seen<'_>) -> Finding {
        if seen.phase == PodPhase::Succeeded {
            return Finding { reason: reasons::POD_COMPLETED, ..Finding::yes() };
        }
        let began = seen.containers.iter().any(|status| {
            status.last_state.is_some() || !matches!(status.state, ContainerState::Waiting { .. })
        });
        let incomplete: Vec<_> = seen
            .init
            .iter()
            .zip(&self.assignment.spec.init_containers)
            .filter(|(status, container)| if container.sidecar { !status.started } else { !status.ready })
            .map(|(status, _)| status.name.as_str())
            .collect();
        if began || incomplete.is_empty() {
            return Finding::yes();
        }
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        Finding::no(reasons::CONTAINERS_NOT_INITIALIZED, message)
    }

    /// `Ready` and `ContainersReady` agree here: readiness gates are the coordinator's affair.
    fn ready(&self, seen: &Seen<'_>) -> Finding {
        match seen.phase {
            PodPhase::Succeeded => return Finding::no(reasons::POD_COMPLETED, String::new()),
            PodPhase::Failed => return Finding::no(reasons::POD_FAILED, String::new()),
            PodPhase::Pending | PodPhase::Running => {}
        }
        let sidecars = seen.init.iter().zip(&self.assignment.spec.init_containers);
        let sidecars = sidecars.filter(|(_, container)| container.sidecar).map(|(status, _)| status);
        let unready: Vec<_> = sidecars
            .chain(seen.containers)
            .filter(|status| !status.ready)
            .map(|status| status.name.as_str())
            .collect();
        if unready.is_empty() {
            return Finding::yes();
        }
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        Finding::no(reasons::CONTAINERS_NOT_READY, message)
    }

    /// Ports of protocols that nothing serves yet.
    fn ignored_fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        for (index, container) in self.assignment.spec.containers.iter().enumerate() {
            for (port_index, port) in container.ports.iter().enumerate() {
                if port.protocol == Protocol::Sctp {
                    fields.push(format!("spec.containers[{index}].ports[{port_index}].protocol"));
                }
            }
        }
        fields
    }
}

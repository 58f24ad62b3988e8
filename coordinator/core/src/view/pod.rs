//! What the view holds of a pod itself, beside the template that it shares.

use std::{net::IpAddr, sync::Arc, time::Duration};

use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;

use super::{
    Affiliation, JobPod, PodTemplate,
    decode::{DecodeError, PodShape, PodSpecShape, PodStatusShape},
};
use crate::{pod_status::REASON_NODE_LOST, times};

/// The parts of a pod that differ between pods of one template.
#[derive(Clone, Debug, PartialEq)]
pub struct PodInfo {
    /// `metadata.uid`.
    pub uid: PodUid,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// What its deletion costs beside others, by the annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    /// How often its containers were restarted.
    pub restarts: u32,
    /// Set once the pod is being deleted.
    pub deletion: Option<Deletion>,
    /// `spec.nodeName`, or the node that the scheduler chose and whose binding is under way.
    pub node: Option<NodeName>,
    /// Whether `node` is not stored yet.
    pub assumed: bool,
    /// The node on which pods are ended for this one's sake: `status.nominatedNodeName`, or what the scheduler just decided.
    pub nominated: Option<NodeName>,
    /// `status.nominatedNodeName` as stored.
    pub nominated_stored: Option<NodeName>,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// Whether the condition `DisruptionTarget` says that the scheduler ends it for another.
    pub preempted: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// `status` of the condition `Ready` and its reason.
    pub ready: Option<(bool, String)>,
    /// When the status of the condition `Ready` last changed.
    pub ready_changed_at: Option<Timestamp>,
    /// Since when the condition `Ready` is true; never later than when that was seen first.
    pub ready_since: Option<Timestamp>,
    /// What keeps it from being ready, in one word: why a container waits, or that no node fits.
    pub trouble: Option<Arc<str>>,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// Its own name within the Service that `spec.subdomain` names, if it has both.
    pub host_name: Option<Box<HostName>>,
    /// Whether the condition `ContainersReady` is true.
    pub containers_ready: bool,
    /// Whether `PodScheduled` already says that scheduling gates hold the pod.
    pub marked_gated: bool,
    /// Whether `spec.schedulingGates` holds the pod back.
    pub gated: bool,
    /// Labels and controller.
    pub affiliation: Arc<Affiliation>,
    /// What a Job looks at, of a pod of one.
    pub job: Option<Arc<JobPod>>,
    /// The rest.
    pub template: Arc<PodTemplate>,
}

/// The name of a pod within a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// `spec.hostname`.
    pub name: String,
    /// `spec.subdomain`: the Service.
    pub service: String,
}

/// A pod's deletion, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`: when the grace period ends.
    pub at: Timestamp,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace_seconds: i64,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started, or the pod is not bound.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

impl PodInfo {
    pub(crate) fn decode(json: &[u8]) -> Result<Self, DecodeError> {
        let mut shape: PodShape = serde_json::from_slice(json)?;
        let job = JobPod::of(&shape);
        let affiliation = Arc::new(Affiliation::of(&mut shape.metadata));
        let condition = |kind: &str| shape.status.conditions.iter().find(|condition| condition.kind == kind);
        let ready = condition("Ready");
        let restarts = shape.status.container_statuses.iter().chain(&shape.status.init_container_statuses);
        let deletion_cost =
            shape.metadata.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0);
        let named = |name: &str| (!name.is_empty()).then(|| NodeName::new(name));
        let nominated = named(&shape.status.nominated_node_name);
        let preempted = condition("DisruptionTarget").is_some_and(|target| {
            target.status == "True" && target.reason == crate::scheduler::REASON_PREEMPTED
        });
        let grace_seconds = shape.metadata.deletion_grace_period_seconds.unwrap_or(0);
        Ok(Self {
            uid: PodUid::new(shape.metadata.uid),
            created: shape.metadata.creation_timestamp.unwrap_or_default(),
            deletion_cost,
            restarts: restarts.map(|container| container.restart_count).fold(0, u32::saturating_add),
            deletion: shape.metadata.deletion_timestamp.map(|at| Deletion { at, grace_seconds }),
            node: named(&shape.spec.node_name),
            assumed: false,
            nominated: nominated.clone(),
            nominated_stored: nominated,
            started: shape.status.start_time,
            preempted,
            phase: Phase::parse(shape.status.phase.as_deref()),
            ready: ready.map(|ready| (ready.status == "True", ready.reason.clone())),
            ready_changed_at: ready.and_then(|ready| ready.last_transition_time),
            ready_since: ready
                .filter(|ready| ready.status == "True")
                .map(|ready| ready.last_transition_time.unwrap_or_default()),
            trouble: trouble(&shape.status),
            addresses: shape.status.addresses(),
            host_name: HostName::of(&shape.spec),
            containers_ready: condition("ContainersReady").is_some_and(|ready| ready.status == "True"),
            marked_gated: condition("PodScheduled")
                .is_some_and(|scheduled| scheduled.reason == crate::scheduler::REASON_GATED),
            gated: !shape.spec.scheduling_gates.is_empty(),
            affiliation,
            job,
            template: Arc::new(PodTemplate::of(shape.spec)),
        })
    }

    /// Whether it may still run and nobody has asked for its end.
    pub fn is_active(&self) -> bool {
        !self.phase.finished() && self.deletion.is_none()
    }

    /// Whether it is not ready for no other reason than that its node was not heard of. Once the node is, that is taken back a moment later.
    pub fn is_lost(&self) -> bool {
        self.ready.as_ref().is_some_and(|(ready, reason)| !ready && reason == REASON_NODE_LOST)
    }

    /// Whether it serves: the condition `Ready` is true.
    pub const fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// When it has been ready for `min_ready`, if it stays so.
    pub fn available_at(&self, min_ready: Duration) -> Option<Timestamp> {
        self.ready_since.map(|since| times::after(since, min_ready))
    }

    /// Whether it has been ready for `min_ready`.
    pub fn is_available(&self, min_ready: Duration, now: Timestamp) -> bool {
        self.available_at(min_ready).is_some_and(|at| min_ready.is_zero() || at <= now)
    }

    /// Whether one of our profiles has to find a node for the pod.
    pub fn awaits_scheduling(&self) -> bool {
        self.node.is_none()
            && self.deletion.is_none()
            && !self.phase.finished()
            && crate::scheduler::is_ours(&self.template.scheduler_name)
    }
}

impl HostName {
    fn of(spec: &PodSpecShape) -> Option<Box<Self>> {
        let is_named = !spec.hostname.is_empty() && !spec.subdomain.is_empty();
        is_named.then(|| Box::new(Self { name: spec.hostname.clone(), service: spec.subdomain.clone() }))
    }
}

impl Phase {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Running") => Self::Running,
            Some("Succeeded") => Self::Succeeded,
            Some("Failed") => Self::Failed,
            _ => Self::Pending,
        }
    }

    /// Whether no container of the pod will ever run again.
    pub const fn finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

fn trouble(status: &PodStatusShape) -> Option<Arc<str>> {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    let waiting = containers.filter_map(|container| container.state.waiting.as_ref());
    let mut reasons = waiting.map(|waiting| waiting.reason.as_str());
    let unscheduled = || {
        let conditions = &mut status.conditions.iter();
        let found =
            conditions.find(|condition| condition.kind == "PodScheduled" && condition.status == "False");
        found.map(|condition| condition.reason.as_str())
    };
    let reason = reasons.find(|reason| !UNDER_WAY.contains(reason)).or_else(unscheduled);
    reason.filter(|reason| !reason.is_empty()).map(Into::into)
}

/// Why containers wait while all is well.
const UNDER_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Pods with less of it are deleted first when a ReplicaSet shrinks.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

//! What the view holds of a pod only because a Job made it.

use std::sync::Arc;

use jiff::Timestamp;

use super::decode::{ContainerStatusShape, PodShape};

/// How a pod of a Job ended, and what of it the Job has not taken note of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPod {
    /// Whether the finalizer is there that keeps the pod until the Job has counted it.
    pub is_held: bool,
    /// Which of the Job's indexes it is.
    pub index: Option<u32>,
    /// How often its index had failed before it.
    pub failures_before: i64,
    /// When its last container ended.
    pub finished_at: Option<Timestamp>,
    /// Exit codes of containers that ended.
    pub exits: Vec<Exit>,
    /// Type and status of its conditions.
    pub conditions: Vec<(String, String)>,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its name.
    pub container: String,
    /// Its exit code.
    pub code: i64,
}

impl JobPod {
    pub(super) fn of(shape: &PodShape) -> Option<Arc<Self>> {
        let is_held = shape.metadata.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if !is_held && !shape.metadata.labels.contains_key(NAME_LABEL) {
            return None;
        }
        let annotation = |name: &str| shape.metadata.annotations.get(name);
        let ended = || {
            let containers =
                shape.status.init_container_statuses.iter().chain(&shape.status.container_statuses);
            containers.filter_map(|container| Some((container, container.state.terminated.as_ref()?)))
        };
        let exit = |(container, ended): (&ContainerStatusShape, &super::decode::TerminatedShape)| Exit {
            container: container.name.clone(),
            code: ended.exit_code,
        };
        Some(Arc::new(Self {
            is_held,
            index: annotation(INDEX).and_then(|index| index.parse().ok()),
            failures_before: annotation(FAILURES).and_then(|count| count.parse().ok()).unwrap_or(0),
            finished_at: ended().filter_map(|(_, ended)| ended.finished_at).max(),
            exits: ended().map(exit).collect(),
            conditions: shape
                .status
                .conditions
                .iter()
                .map(|condition| (condition.kind.clone(), condition.status.clone()))
                .collect(),
        }))
    }
}

/// Keeps a pod until its Job has counted it.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// Names the Job.
pub const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// Which index of an Indexed Job a pod is, as annotation and as label.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How often the index had failed before.
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

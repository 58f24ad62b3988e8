//! Profiles: schedulers by name, as one process runs them. They differ in how nodes are scored.

/// How the nodes that can take a pod are scored.
#[derive(Debug)]
pub(crate) struct Profile {
    /// `spec.schedulerName` of its pods.
    pub(crate) name: &'static str,
    /// What NodeResourcesFit likes.
    pub(crate) resources: Resources,
    /// Weights of the plugins.
    pub(crate) weights: Weights,
}

/// What NodeResourcesFit likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resources {
    /// Nodes on which much is left, so that load is spread.
    LeastAllocated,
    /// Nodes on which little is left, so that others stay empty.
    MostAllocated,
}

/// By how much the score of each plugin counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    pub(crate) taints: i64,
    pub(crate) node_affinity: i64,
    pub(crate) spread: i64,
    pub(crate) pod_affinity: i64,
    pub(crate) fit: i64,
    pub(crate) balance: i64,
    pub(crate) images: i64,
    pub(crate) artifacts: i64,
}

/// The profile of a `spec.schedulerName`; `None` when the pod is for another scheduler.
pub(crate) fn of(scheduler_name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == scheduler_name)
}

/// Kubernetes' default weights, and that of artifacts, which Kubernetes does not have.
const WEIGHTS: Weights = Weights {
    taints: 3,
    node_affinity: 2,
    spread: 2,
    pod_affinity: 2,
    fit: 1,
    balance: 1,
    images: 1,
    artifacts: 1,
};

/// The profile for a pod that is looked at although it is for another scheduler.
pub(crate) const DEFAULT: Profile =
    Profile { name: super::NAME, resources: Resources::LeastAllocated, weights: WEIGHTS };

const PROFILES: &[Profile] = &[
    DEFAULT,
    Profile {
        name: "dunlin-binpack",
        resources: Resources::MostAllocated,
        // Fullness decides, so that it outweighs a balance that an emptier node may have.
        weights: Weights { fit: 5, ..WEIGHTS },
    },
];

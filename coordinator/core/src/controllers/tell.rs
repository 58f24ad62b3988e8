//! Who speaks: the component that an event names and the user that a controller writes as.

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Of Deployments.
    Deployment,
    /// Of ReplicaSets.
    ReplicaSet,
    /// Of ReplicationControllers.
    ReplicationController,
    /// Of Jobs.
    Job,
    /// Of CronJobs.
    CronJob,
    /// Of DaemonSets.
    DaemonSet,
    /// Of StatefulSets.
    StatefulSet,
    /// Of workloads that go back to an earlier revision: those of StatefulSets and DaemonSets may not change them.
    Rollback,
    /// Of what is removed some time after it has ended.
    TtlAfterFinished,
    /// Of EndpointSlices of pods.
    EndpointSlice,
    /// Of EndpointSlices of Endpoints.
    EndpointSliceMirroring,
    /// Of Endpoints.
    Endpoints,
    /// Of HorizontalPodAutoscalers.
    HorizontalPodAutoscaler,
    /// Of claims and their volumes.
    VolumeBinder,
    /// Of claims that are kept while pods use them.
    PvcProtection,
    /// Of volumes that are kept while claims have them.
    PvProtection,
    /// Of how long nodes may keep what they read.
    Ttl,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Component {
    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DaemonSet => "daemonset-controller",
            Self::Deployment => "deployment-controller",
            Self::ReplicaSet => "replicaset-controller",
            Self::ReplicationController => "replication-controller",
            Self::Job => "job-controller",
            Self::CronJob => "cronjob-controller",
            Self::StatefulSet => "statefulset-controller",
            Self::Rollback => "rollback-controller",
            Self::TtlAfterFinished => "ttl-after-finished-controller",
            Self::EndpointSlice => "endpoint-slice-controller",
            Self::EndpointSliceMirroring => "endpoint-slice-mirroring-controller",
            Self::Endpoints => "endpoint-controller",
            Self::HorizontalPodAutoscaler => "horizontal-pod-autoscaler",
            Self::VolumeBinder => "persistentvolume-controller",
            Self::PvcProtection => "pvc-protection-controller",
            Self::PvProtection => "pv-protection-controller",
            Self::Ttl => "ttl-controller",
        }
    }

    /// The service account in `kube-system` whose rights it has.
    pub const fn account(self) -> &'static str {
        match self {
            Self::EndpointSlice => "endpointslice-controller",
            Self::EndpointSliceMirroring => "endpointslicemirroring-controller",
            Self::DaemonSet => "daemon-set-controller",
            Self::VolumeBinder => "persistent-volume-binder",
            other => other.name(),
        }
    }
}

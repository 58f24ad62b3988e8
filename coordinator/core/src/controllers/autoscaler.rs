//! HorizontalPodAutoscalers: how many pods a workload should have for what they use.
//!
//! As `pkg/controller/podautoscaler` of Kubernetes. Every 15 s the scale of the target and the use of its pods are asked for; the answer
//! comes back as [`Measured`], and what follows from it is decided here. What was recommended and done lately is remembered in
//! [`Memory`], and lost with the process, as there.

mod memory;
mod metrics;
mod normalize;
mod status;
mod usage;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

pub use self::{
    memory::Memory,
    status::{Outcome, Rescale},
};
use self::{
    metrics::Pods,
    status::{Holds, Report},
};
use super::{Plan, tell::Component};
use crate::view::{Autoscaler, ObjectId, ObjectKey, Resource, View};

/// What was found out about a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its scale, or why there is none.
    pub scale: Result<Scale, String>,
    /// What its pods use, by name, or why that is not known.
    pub used: Result<HashMap<Arc<str>, PodUse>, String>,
}

/// The subresource `scale` of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.selector`.
    pub selector: String,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUse {
    /// Until when it was measured.
    pub at: Timestamp,
    /// For how long.
    pub window: Duration,
    /// By container.
    pub containers: Vec<ContainerUse>,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUse {
    /// Its name.
    pub name: String,
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
}

/// What to do after the target of an autoscaler was measured.
pub(crate) fn reconcile(
    view: &View,
    (key, autoscaler): (&ObjectKey, &Autoscaler),
    memory: &mut Memory,
    measured: Measured,
    now: Timestamp,
) -> Plan {
    let mut report = Report::new(key, autoscaler, now);
    let scale = match measured.scale {
        Ok(scale) => scale,
        Err(why) => {
            report.able(
                Holds::No,
                "FailedGetScale",
                format!("the HPA controller was unable to get the target's current scale: {why}"),
            );
            report.tell("FailedGetScale", why);
            return report.finish();
        }
    };
    report.able(
        Holds::Yes,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale".to_owned(),
    );
    let current = scale.replicas;
    memory.begin(autoscaler, current, now);
    report.status.current_replicas = current;
    report.status.current_metrics = Value::Null;
    let (least, most) = (autoscaler.least(), autoscaler.most());
    let decided = if current == 0 && least != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        report.active(Holds::No, "ScalingDisabled", message.to_owned());
        None
    } else if current > most {
        Some((most, "Current number of replicas above Spec.MaxReplicas".to_owned()))
    } else if current < least {
        Some((least, "Current number of replicas below Spec.MinReplicas".to_owned()))
    } else {
        let pods = Pods::new(view, &key.namespace, &scale, measured.used);
        let proposal = match metrics::propose(&mut report, &pods, current) {
            Ok(proposal) => proposal,
            Err(why) => {
                report.status.desired_replicas = autoscaler.status.desired_replicas;
                report.tell("FailedComputeMetricsReplicas", why);
                return report.finish();
            }
        };
        let reason = if proposal.replicas > current {
            format!("{} above target", proposal.metric)
        } else {
            "All metrics below target".to_owned()
        };
        let desired = normalize::normalize(&mut report, memory, current, proposal.replicas);
        (desired != current).then_some((desired, reason))
    };
    let Some((desired, reason)) = decided else {
        report.status.desired_replicas = current;
        return report.finish();
    };
    memory.asked(current, desired, now);
    report.rescale(desired, reason)
}

/// How often a target is measured.
pub(crate) const PERIOD: Duration = Duration::from_secs(15);

/// Names an autoscaler.
pub(crate) fn id(key: &ObjectKey) -> ObjectId {
    ObjectId { resource: HORIZONTAL_POD_AUTOSCALERS, key: key.clone() }
}

/// HorizontalPodAutoscalers.
pub const HORIZONTAL_POD_AUTOSCALERS: Resource =
    Resource { group: "autoscaling", plural: "horizontalpodautoscalers" };

const BY: Component = Component::HorizontalPodAutoscaler;

#[cfg(test)]
mod tests;

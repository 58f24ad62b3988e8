//! The scheduler: which node a pod goes to, or how many nodes each filter refused.
//!
//! [`place`] is a function of the view and a pod. Nodes are filtered in Kubernetes' order, the first filter that refuses a node
//! names the reason; those left are scored with Kubernetes' weights. Equal scores go to the node with fewer pods, then by name,
//! where Kubernetes draws lots. The order of pods and when to try one again is the [`Queue`]'s.

mod affinity;
mod eligibility;
mod explain;
mod filter;
mod queue;
mod score;

use dunlin_link::NodeName;

pub(crate) use eligibility::{Eligibility, eligibility, target};
pub use explain::{GATED_MESSAGE, Reason, Unschedulable};
pub use queue::{Hint, Queue};

use crate::view::{NodeInfo, PodInfo, Usage, View};

/// `spec.schedulerName` of the pods that this scheduler places.
pub const NAME: &str = "default-scheduler";

/// Reason of the condition `PodScheduled` while no node fits.
pub const REASON_UNSCHEDULABLE: &str = "Unschedulable";

/// Reason of the condition `PodScheduled` while scheduling gates hold a pod.
pub const REASON_GATED: &str = "SchedulingGated";

/// A node that new pods may be considered for, with what its pods hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) node: &'a NodeInfo,
    pub(crate) usage: &'a Usage,
}

/// Chooses a node for `pod`.
///
/// # Errors
/// When no node fits, with the number of nodes for each reason.
pub fn place(view: &View, pod: &PodInfo) -> Result<NodeName, Unschedulable> {
    let mut total = 0;
    let mut fitting = Vec::new();
    let mut refused = Unschedulable::new(&pod.template);
    let named = affinity::named_nodes(&pod.template);
    for (name, entry) in view.nodes() {
        let Some(node) = &entry.info else { continue };
        total += 1;
        let candidate = Candidate { node, usage: &entry.usage };
        if named.as_ref().is_some_and(|names| !names.contains(name.as_str())) {
            refused.count(&[Reason::NotNamed], explain::Remedy::None);
            continue;
        }
        match filter::check(&pod.template, candidate) {
            Ok(()) => fitting.push(candidate),
            Err(refusal) => {
                let remedy = explain::remedy(&refusal, pod, view, &entry.pods);
                refused.count(&refusal.reasons, remedy);
            }
        }
    }
    refused.nodes = total;
    score::best(&pod.template, &fitting).map(|node| node.name.clone()).ok_or(refused)
}

#[cfg(test)]
mod tests;
